import type { DiskStoreStatistics } from '../cache/disk-store.ts';
import type { StagedStatus } from '../freeze/staged-buckets.ts';
import { type LatencyCounts, latencyQuantileMs, sumOfLatencies } from '../latency-histogram.ts';
import type { MountStatus } from '../mount.ts';
import { journalDirectory } from '../state-directory.ts';
import { runningMounts } from './running-mounts.ts';
import { formatBytes, formatLatency, print, printError, printJson, printable, styled } from './terminal.ts';

/** Tells of every running mount of this user, and in words of the freezes without a mount that were not finished. */
export async function statusCommand(options: { readonly json: boolean }): Promise<void> {
  let silent = 0;
  const mounts = await runningMounts((error) => {
    silent += 1;
    printError(error);
  });
  if (options.json) return printJson(mounts);
  const { readJournals } = await import('../freeze/journal.ts');
  const told = new Set(
    mounts.flatMap(({ staging, unfinished }) => [...staging, ...unfinished].flatMap(uuidOf)),
  );
  const others = (await readJournals(journalDirectory(), printError)).filter(
    ({ state, uuid }) => state !== 'frozen' && uuid !== undefined && !told.has(uuid),
  );
  if (mounts.length > 0) print(mounts.map(describe).join('\n\n'));
  else if (silent === 0) print('Nothing is mounted.');
  const { hiddenAreas } = await import('./hidden-areas.ts');
  const { describeFolders } = await import('../fuse/staging/known-areas.ts');
  const hidden = await hiddenAreas(mounts);
  if (hidden.length > 0) print(`\n${styled('bold', 'Staged folders that no mount shows')}`);
  for (const area of hidden) print(row(area.bucket, describeFolders(area)));
  if (others.length > 0) print(`\n${styled('bold', 'Freezes that were not finished')}`);
  for (const { bucket, directory, uuid = '-', reason = 'it was interrupted' } of others)
    print(row(bucket, `${uuid}, of ${directory}: ${reason}`));
}

const uuidOf = (known: { readonly uuid?: string | undefined } | { readonly state: 'open' }): string[] =>
  'uuid' in known && known.uuid !== undefined ? [known.uuid] : [];

function describe(mount: MountStatus): string {
  const { cache, store, problems } = mount;
  const requests = Object.values(store.requests).reduce((sum, count) => sum + count, 0);
  const { running, waiting } = mount.queue;
  const inQueue = waiting.read + waiting.metadata + waiting.background;
  const latency = sumOfLatencies(store.operations.map((operation) => operation.latency));
  const kernel = sumOfLatencies(Object.values(mount.kernel));
  const { fetchedBytes, usedBytes, wastedBytes } = cache.readAhead;
  const errors = Object.values(store.errors).reduce((sum, count) => sum + count, 0);
  const lookups = cache.hits + cache.misses;
  const hitRate = lookups === 0 ? '-' : `${((100 * cache.hits) / lookups).toFixed(1)} %`;
  return [
    styled('bold', printable(mount.mountpoint)),
    ...mount.buckets.map(({ bucket, endpoint, datasets, protoDatasets }) =>
      row(
        'bucket',
        `${bucket} at ${endpoint}` +
          (datasets === undefined ? '' : `: ${datasets} datasets, ${protoDatasets ?? 0} not frozen`),
      ),
    ),
    row('process', `${mount.pid}, since ${mount.startedAt}, ${mount.transport}, version ${mount.version}`),
    ...(mount.metrics === undefined ? [] : [row('metrics', mount.metrics)]),
    row('open', `${mount.openHandles} files and directories`),
    row('cache', `${formatBytes(cache.bytes)} of ${formatBytes(cache.maxBytes)}, hits ${hitRate}`),
    row(
      'read-ahead',
      `${formatBytes(fetchedBytes)}, of which ${formatBytes(usedBytes)} were read and ${formatBytes(wastedBytes)} wasted`,
    ),
    ...(cache.disk ? [row('on disk', describeDisk(cache.disk))] : []),
    row(
      'requests',
      `${requests}, ${errors} failed, ${store.retries} retries, ${formatBytes(store.bytesRead)} read, ` +
        `${describeLatency(latency)}; ${running} under way, ${inQueue} waiting`,
    ),
    row('kernel', `${kernel.count} requests, ${describeLatency(kernel)}`),
    ...mount.staging.map((staged) => row('staged', describeStaged(staged))),
    ...mount.unfinished.map(({ bucket, directory, uuid, reason }) =>
      row('unfinished', `${uuid} in ${bucket}, of ${directory}: ${reason}`),
    ),
    ...(mount.log === undefined ? [] : [row('log', `${mount.log.lines} lines lost: ${mount.log.reason}`)]),
    row('problems', String(problems.length)),
    ...problems.map(
      ({ bucket, key, reason }) =>
        `    ${styled('yellow', printable(`${bucket}/${key}`))}: ${printable(reason)}`,
    ),
  ].join('\n');
}

/** Such as `half within 0.4 ms, 99 % within 12 ms`. */
function describeLatency(latency: LatencyCounts): string {
  const within = (part: number): string => formatLatency(latencyQuantileMs(latency, part));
  return `half within ${within(0.5)}, 99 % within ${within(0.99)}`;
}

/** Such as `1.2 GiB of 10.0 GiB in /home/me/.cache/dtool-ecs-mount, hits 93.0 %`. */
function describeDisk(disk: DiskStoreStatistics): string {
  const { bytes = 0, maxBytes, directory, hits, misses, corruptBlocks, droppedBlocks, paused } = disk;
  return [
    `${formatBytes(bytes)} of ${formatBytes(maxBytes)} in ${directory}`,
    `hits ${hits + misses === 0 ? '-' : `${((100 * hits) / (hits + misses)).toFixed(1)} %`}`,
    ...(corruptBlocks > 0 ? [`${corruptBlocks} damaged blocks not served`] : []),
    ...(droppedBlocks > 0 ? [`${droppedBlocks} blocks not kept`] : []),
    ...(paused === undefined ? [] : [`not written to now: ${paused}`]),
  ].join(', ');
}

/** Such as `lab/results: uploading, 12.0 MiB of 1.0 GiB, 3 of 20 items`. */
function describeStaged(staged: StagedStatus): string {
  const what = `${staged.bucket}/${staged.name}: ${staged.state}`;
  if (staged.state === 'open') return what;
  if (staged.state === 'frozen') return `${what} as ${staged.uuid ?? '-'}`;
  if (staged.state === 'failed')
    return `${what}: ${staged.reason}${staged.advice === undefined ? '' : ` (${staged.advice})`}`;
  if (!staged.progress) return what;
  const { bytes, totalBytes, items, totalItems } = staged.progress;
  return `${what}, ${formatBytes(bytes)} of ${formatBytes(totalBytes)}, ${items} of ${totalItems} items`;
}

function row(title: string, text: string): string {
  return `  ${title.padEnd(10)} ${printable(text)}`;
}
