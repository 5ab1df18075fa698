import type { MountStatus } from '../mount.ts';
import { runningMounts } from './running-mounts.ts';
import { formatBytes, print, printJson, printable, styled } from './terminal.ts';

/** Tells of every running mount of this user. */
export async function statusCommand(options: { readonly json: boolean }): Promise<void> {
  const mounts = await runningMounts();
  if (options.json) printJson(mounts);
  else if (mounts.length === 0) print('Nothing is mounted.');
  else print(mounts.map(describe).join('\n\n'));
}

function describe(mount: MountStatus): string {
  const { cache, store, problems } = mount;
  const requests = Object.values(store.requests).reduce((sum, count) => sum + count, 0);
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
    row('open', `${mount.openHandles} files and directories`),
    row('cache', `${formatBytes(cache.bytes)} of ${formatBytes(cache.maxBytes)}, hits ${hitRate}`),
    row(
      'requests',
      `${requests}, ${errors} failed, ${store.retries} retries, ${formatBytes(store.bytesRead)} read`,
    ),
    row('problems', String(problems.length)),
    ...problems.map(
      ({ bucket, key, reason }) =>
        `    ${styled('yellow', printable(`${bucket}/${key}`))}: ${printable(reason)}`,
    ),
  ].join('\n');
}

function row(title: string, text: string): string {
  return `  ${title.padEnd(9)} ${printable(text)}`;
}
