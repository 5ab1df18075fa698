/**
 * How datasets of many items and buckets of many datasets grow, through the mounts of the compiled program:
 * `npm run bench:scale`, or with the numbers to try: `npm run bench:scale -- --items 1000,1000000 --datasets 10000`.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { identifierOf } from '../../src/ecs/dtool/identifier.ts';
import type { ManifestItem } from '../../src/ecs/dtool/item-table.ts';
import { MANIFEST } from '../../src/ecs/dtool/keys.ts';
import { renderManifest } from '../../src/ecs/dtool/manifest.ts';
import { CREATED_AT, datasetOf, uuidOf } from '../../test/support/datasets.ts';
import { type Mounted, mount } from '../../test/support/mounted.ts';
import { type TestBucket, createEmbeddedBucket } from '../../test/support/test-bucket.ts';

const PROBE_INTERVAL_MS = 20;
const MiB = 1024 * 1024;

const { values } = parseArgs({
  options: {
    items: { type: 'string', default: '1000,10000,100000,1000000' },
    datasets: { type: 'string', default: '1000,10000' },
  },
});
const numbersOf = (list: string): readonly number[] => (list === '' ? [] : list.split(',').map(Number));

function* itemsOf(count: number): Generator<ManifestItem, void, undefined> {
  const items = Array.from({ length: count }, (_, index) => {
    const relpath = `run-${index % 100}/batch-${index % 10}/sample-${index}.csv`;
    return { identifier: identifierOf(relpath), relpath, index };
  });
  items.sort((a, b) => (a.identifier < b.identifier ? -1 : 1));
  for (const { identifier, relpath, index } of items) {
    const hash = createHash('md5').update(relpath).digest('hex');
    yield { identifier, relpath, size: index, hash, timestamp: CREATED_AT + 0.5 };
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
}

/** The longest that stat(2) of another dataset takes while work goes on. */
async function longestWait(path: string, work: Promise<unknown>): Promise<number> {
  const state = { done: false, longest: 0 };
  const probing = (async () => {
    while (!state.done) {
      state.longest = Math.max(state.longest, await timed(async () => stat(path)));
      await new Promise((resolve) => {
        setTimeout(resolve, PROBE_INTERVAL_MS);
      });
    }
  })();
  await work;
  state.done = true;
  await probing;
  return state.longest;
}

async function requestsOf(mounted: Mounted): Promise<number> {
  const { store } = await mounted.status();
  return Object.values(store.requests).reduce((sum, count) => sum + count, 0);
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

async function manyItems(bucket: TestBucket, count: number): Promise<Record<string, string | number>> {
  const name = `items-${count}`;
  await bucket.putDataset(datasetOf(name, {}));
  await bucket.put(`${uuidOf(name)}/${MANIFEST}`, [...renderManifest('3.19.0', itemsOf(count))].join(''));
  const mounted = await mount(bucket.env, [bucket.bucket], '--refresh', '86400');
  try {
    await mounted.sh('ls small/data');
    const before = { rss: await residentBytes(mounted.pid), requests: await requestsOf(mounted) };
    const listing = timed(async () => mounted.sh(`ls ${name}/data`));
    // A name that the kernel does not keep, so that the mount is asked each time.
    const waited = await longestWait(`${mounted.path}/small/data/.`, listing);
    const open = await listing;
    const opened = { rss: await residentBytes(mounted.pid), requests: await requestsOf(mounted) };
    const find = await timed(async () => mounted.sh(`find ${name}/data -type f -size -1 | wc -l`));
    const walked = await residentBytes(mounted.pid);
    return {
      items: count,
      'first ls': seconds(open),
      'other dataset waits': `${waited.toFixed(0)} ms`,
      requests: opened.requests - before.requests,
      'RSS before': `${(before.rss / MiB).toFixed(0)} MiB`,
      'RSS opened': `${(opened.rss / MiB).toFixed(0)} MiB`,
      find: seconds(find),
      'RSS after find': `${(walked / MiB).toFixed(0)} MiB`,
    };
  } finally {
    await mounted.close();
  }
}

async function manyDatasets(count: number): Promise<Record<string, string | number>> {
  const bucket = await createEmbeddedBucket();
  const cache = await mkdtemp(join(tmpdir(), 'bench-scale-'));
  const env = { ...bucket.env, DTOOL_CACHE_DIRECTORY: cache };
  try {
    for (let index = 0; index < count; index++) await bucket.putDataset(datasetOf(`dataset-${index}`, {}));
    const row: Record<string, string | number> = { datasets: count };
    for (const which of ['cold', 'known']) {
      const mounted = await mount(env, [bucket.bucket], '--refresh', '86400');
      try {
        row[`${which}: ls`] = seconds(await timed(async () => mounted.sh('ls')));
        row[`${which}: requests`] = await requestsOf(mounted);
        row[`${which}: RSS`] = `${((await residentBytes(mounted.pid)) / MiB).toFixed(0)} MiB`;
      } finally {
        await mounted.close();
      }
    }
    return row;
  } finally {
    await rm(cache, { recursive: true, force: true });
    await bucket.close();
  }
}

const bucket = await createEmbeddedBucket();
try {
  await bucket.putDataset(datasetOf('small', { a: 'a' }));
  const rows: Record<string, string | number>[] = [];
  for (const count of numbersOf(values.items)) rows.push(await manyItems(bucket, count));
  if (rows.length > 0) console.table(rows);
} finally {
  await bucket.close();
}
const rows: Record<string, string | number>[] = [];
for (const count of numbersOf(values.datasets)) rows.push(await manyDatasets(count));
if (rows.length > 0) console.table(rows);
