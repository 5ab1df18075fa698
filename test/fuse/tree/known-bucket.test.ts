import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KnownBucket } from '../../../src/cache/known-bucket.ts';
import { MetadataCache } from '../../../src/cache/metadata-cache.ts';
import { MiB, RECHECKS_MAX, REFRESH_WAIT_MS } from '../../../src/limits.ts';
import { silentLogger } from '../../../src/log.ts';
import { datasetOf, uuidOf } from '../../support/datasets.ts';
import { MemoryObjectStore } from '../../support/memory-object-store.ts';
import { REFRESH_MS, namesIn, nodeAt, seedDataset, settle, textAt, treeOf } from '../../support/tree.ts';

let directory: string;
let cache: MetadataCache;
let store: MemoryObjectStore;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'known-'));
  cache = new MetadataCache(directory, 64 * MiB, silentLogger, 0);
  store = new MemoryObjectStore();
});
afterEach(async () => {
  await cache.close();
  await rm(directory, { recursive: true, force: true });
});

/** A mount of the bucket, which knows what those before it have found. */
async function mounted() {
  // What the mount before has found is on disk.
  await cache.close();
  const tree = treeOf(store, '', new KnownBucket(cache, 'http://store', store.bucket));
  await tree.bucket.restore();
  return tree;
}

const rename = (uuid: string, name: string): void =>
  seedDataset(store, datasetOf(name, {}, { uuid: uuidOf(uuid) }));

describe('a bucket that was mounted before', () => {
  test('costs the pages of its list, and nothing for the datasets and items that are known', async () => {
    for (let index = 0; index < 1_500; index += 1) seedDataset(store, datasetOf(`d${index}`, { a: 'a' }));
    const first = await mounted();
    const names = await namesIn(first.root);
    expect(await namesIn(first.root, 'd7/data')).toEqual(['a']);
    await settle();

    const before = store.requestCount;
    const { root } = await mounted();
    expect(await namesIn(root)).toEqual(names);
    expect(await namesIn(root, 'd7/data')).toEqual(['a']);
    expect(await nodeAt(root, 'd8')).toBeDefined();
    expect(store.requestCount - before).toBe(2);
  });

  test('shows what is new and what is gone at once, and what is frozen by now', async () => {
    for (const name of ['kept', 'gone']) seedDataset(store, datasetOf(name, {}));
    seedDataset(store, datasetOf('proto', {}, { frozenAt: null }));
    await namesIn((await mounted()).root);
    seedDataset(store, datasetOf('new', {}));
    seedDataset(store, datasetOf('proto', {}));
    store.remove(`dtool-${uuidOf('gone')}`);
    expect(await namesIn((await mounted()).root)).toEqual(['.proto', '.uuid', 'kept', 'new', 'proto']);
  });

  test('shows new names of frozen datasets after the refresh time, or when one is looked into', async () => {
    for (const name of ['one', 'two']) seedDataset(store, datasetOf(name, {}));
    await namesIn((await mounted()).root);
    rename('one', 'one-renamed');
    rename('two', 'two-renamed');
    const { root, clock } = await mounted();
    expect(await namesIn(root)).toEqual(['.proto', '.uuid', 'one', 'two']);
    await namesIn(root, 'one');
    expect(await namesIn(root)).toContain('one-renamed');
    clock.advance(REFRESH_MS);
    expect(await namesIn(root)).toEqual(['.proto', '.uuid', 'one-renamed', 'two-renamed']);
  });

  test('shows new names at once when it is told to look', async () => {
    seedDataset(store, datasetOf('old', {}));
    await namesIn((await mounted()).root);
    rename('old', 'new');
    const { root, bucket } = await mounted();
    await bucket.refresh();
    expect(await namesIn(root)).toContain('new');
  });

  test('of many datasets is looked at bit by bit', async () => {
    for (let index = 0; index < RECHECKS_MAX + 10; index += 1) seedDataset(store, datasetOf(`d${index}`, {}));
    const { root, clock } = await mounted();
    await namesIn(root);
    for (let index = 0; index < RECHECKS_MAX + 10; index += 1) rename(`d${index}`, `new-${index}`);
    const counts: number[] = [];
    for (let refresh = 0; refresh < 2; refresh += 1) {
      clock.advance(REFRESH_MS);
      const before = store.requestCount;
      await namesIn(root);
      counts.push(store.requestCount - before);
    }
    expect(counts).toEqual([RECHECKS_MAX + 1, RECHECKS_MAX + 1]);
    expect((await namesIn(root)).filter((name) => name.startsWith('d'))).toEqual([]);
  });

  test('is shown while its store is away, items included, and told to be old', async () => {
    seedDataset(store, datasetOf('known', { 'd/a': 'text' }));
    const first = await mounted();
    expect(await namesIn(first.root, 'known/data/d')).toEqual(['a']);
    const { root, clock, problems } = await mounted();
    for (const operation of ['listPage', 'get'] as const)
      store.failNext(operation, store.error('unreachable'), 100);
    const gate = store.hold('listPage');
    const listing = namesIn(root);
    await gate.reached(1);
    clock.advance(REFRESH_WAIT_MS);
    expect(await listing).toEqual(['.proto', '.uuid', 'known']);
    gate.release();
    await settle();
    expect(await namesIn(root, 'known/data/d')).toEqual(['a']);
    expect(await textAt(root, 'known/data/d/a')).toBe('text');
    expect(problems.all.some(({ reason }) => /older content/.test(reason))).toBe(true);
  });

  test('under another endpoint is another bucket', async () => {
    seedDataset(store, datasetOf('one', {}));
    await namesIn((await mounted()).root);
    await cache.close();
    expect(await new KnownBucket(cache, 'http://other', store.bucket).registry()).toBeUndefined();
  });

  test('whose dataset was made anew with another freeze has other items', async () => {
    seedDataset(store, datasetOf('one', { old: '' }));
    expect(await namesIn((await mounted()).root, 'one/data')).toEqual(['old']);
    const spec = datasetOf('one', { new: '' });
    seedDataset(store, { ...spec, frozenAt: spec.createdAt + 1_000 });
    const { root, bucket } = await mounted();
    await bucket.refresh();
    expect(await namesIn(root, 'one/data')).toEqual(['new']);
  });
});
