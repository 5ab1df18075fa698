import { createHash } from 'node:crypto';
import type { Content } from '../cache/block-key.ts';
import { BlockMemory } from '../cache/block-memory.ts';
import type { BlockSource } from '../cache/block-source.ts';
import type { DiskStore } from '../cache/disk-store.ts';
import { systemClock } from '../clock.ts';
import { type ObjectStore, StoreError } from '../ecs/object-store.ts';
import { FsError, UserError } from '../errors.ts';
import { forEachBounded } from '../for-each-bounded.ts';
import { VERIFY_ITEMS_MAX, VERIFY_RUNS_AHEAD } from '../limits.ts';
import {
  type CacheOptions,
  type CachedDataset,
  type CachedDatasets,
  type CachedItem,
  runsOf,
  withCachedDatasets,
} from './cached-datasets.ts';
import { showProgress } from './freeze-progress.ts';
import { formatBytes, print, printJson, printable } from './terminal.ts';

interface Mismatch {
  readonly bucket: string;
  readonly dataset: string;
  readonly relpath: string;
  readonly identifier: string;
  readonly reason: string;
  /** Whether the disk cache has the item whole, with the MD5 of the manifest. */
  readonly cacheHasIt: boolean;
}

/** The outcome for one item. */
type Finding =
  | { readonly verdict: 'good' }
  /** Only with `--cached`: the cache has not all of it, or has damaged blocks. */
  | { readonly verdict: 'not-cached' }
  | { readonly verdict: 'mismatch'; readonly reason: string; readonly cacheHasIt: boolean };

/**
 * Reads every item of datasets from the bucket and verifies it against the manifest. With `cached` it reads the disk cache
 * instead, and says nothing about the bucket.
 *
 * @param texts see {@link withCachedDatasets}
 * @throws UserError when an item is not what the manifest says; StoreError when the store can't be asked
 */
export async function verifyCommand(
  texts: readonly string[],
  options: CacheOptions & { readonly cached: boolean; readonly json: boolean },
): Promise<void> {
  await withCachedDatasets(texts, { ...options, cacheIsRequired: options.cached }, async (cached) => {
    const { datasets, disk } = cached;
    if (options.cached && !disk)
      throw new UserError('without a disk cache nothing is cached', 'Leave out --cache-size none.');
    const totalItems = datasets.reduce((sum, dataset) => sum + dataset.items, 0);
    const totalBytes = datasets.reduce((sum, dataset) => sum + dataset.bytes, 0);
    const mismatches: Mismatch[] = [];
    const progress = showProgress(systemClock);
    let items = 0;
    let bytes = 0;
    let notCached = 0;
    const tell = (): void => progress.update({ phase: 'verifying', items, totalItems, bytes, totalBytes });
    const onBytes = (length: number): void => {
      bytes += length;
      tell();
    };
    function* all(): Generator<{ dataset: CachedDataset; item: CachedItem }, void, undefined> {
      for (const dataset of datasets) for (const item of dataset.contents()) yield { dataset, item };
    }
    try {
      tell();
      await forEachBounded(all(), VERIFY_ITEMS_MAX, async ({ dataset, item }, signal) => {
        const finding =
          options.cached && disk
            ? await findInCache(cached, disk, dataset, item)
            : await findInBucket(cached, dataset, item, signal, onBytes);
        if (options.cached) bytes += item.content.size;
        items += 1;
        tell();
        if (finding.verdict === 'not-cached') notCached += 1;
        if (finding.verdict !== 'mismatch') return;
        const { bucket, name } = dataset;
        const { relpath, identifier } = item;
        const { reason, cacheHasIt } = finding;
        mismatches.push({
          bucket: bucket.store.bucket,
          dataset: name,
          relpath,
          identifier,
          reason,
          cacheHasIt,
        });
      });
    } finally {
      progress.end();
    }
    if (options.json) {
      const read = options.cached ? 'cache' : 'bucket';
      printJson({ read, items: totalItems, bytes: totalBytes, notCached, mismatches });
    } else {
      for (const { bucket, dataset, relpath, reason, cacheHasIt } of mismatches) {
        const rescue = cacheHasIt ? '; the disk cache has the right content, read it through a mount' : '';
        print(printable(`${bucket}/${dataset}: ${relpath}: ${reason}${rescue}`));
      }
    }
    if (mismatches.length > 0)
      throw new UserError(`${mismatches.length} of ${totalItems} items are not what the manifest says`);
    if (options.json) return;
    if (!options.cached) {
      print(`${totalItems} items, ${formatBytes(totalBytes)}: all as the manifest says.`);
      return;
    }
    const good = totalItems - notCached;
    print(
      `${good} of ${totalItems} items are in the cache, all as the manifest says; the bucket was not read.`,
    );
  });
}

async function findInCache(
  { source }: CachedDatasets,
  disk: DiskStore,
  { bucket: { store } }: CachedDataset,
  { content }: CachedItem,
): Promise<Finding> {
  const found = await disk.verify(source.nameOf(store, content), true);
  if (found.verdict === 'verified') return { verdict: 'good' };
  if (found.verdict === 'incomplete') return { verdict: 'not-cached' };
  const reason = `the cached content had MD5 ${found.md5} and should have ${content.md5}, and was dropped`;
  return { verdict: 'mismatch', reason, cacheHasIt: false };
}

async function findInBucket(
  cached: CachedDatasets,
  dataset: CachedDataset,
  { content }: CachedItem,
  signal: AbortSignal,
  onBytes: (length: number) => void,
): Promise<Finding> {
  const { store } = dataset.bucket;
  const reason = await flawInBucket(cached.storeSource, store, content, signal, onBytes);
  if (reason === undefined) return { verdict: 'good' };
  // The cache may have the object's wrong bytes as well, or the only right ones that are left.
  const name = cached.source.nameOf(store, content);
  const found = content.size > 0 ? await cached.disk?.verify(name, true) : undefined;
  return { verdict: 'mismatch', reason, cacheHasIt: found?.verdict === 'verified' };
}

/** The fault of an item's object; undefined when there is none. */
async function flawInBucket(
  source: BlockSource,
  store: ObjectStore,
  content: Content,
  signal: AbortSignal,
  onBytes: (length: number) => void,
): Promise<string | undefined> {
  const hash = createHash('md5');
  const memory = new BlockMemory();
  const runs = runsOf(content);
  const loading: Promise<readonly Uint8Array[]>[] = [];
  const loadRun = async (run: readonly number[]): Promise<readonly Uint8Array[]> => {
    const blocks: Uint8Array[] = [];
    const [first = 0] = run;
    await source.load(store, content, run, {
      signal,
      priority: 'background',
      memory,
      onBlock: (number, block) => {
        blocks[number - first] = block;
      },
    });
    return blocks;
  };
  const loadNext = (): void => {
    const { value: run } = runs.next();
    if (!run) return;
    const load = loadRun(run);
    // Whoever comes to it hears of what it failed with.
    load.catch(() => {});
    loading.push(load);
  };
  try {
    if (content.size === 0) {
      const { size } = await store.head(content.key, { signal });
      if (size !== 0) return `the object has ${size} bytes and should have none`;
    }
    for (let ahead = 0; ahead < VERIFY_RUNS_AHEAD; ahead += 1) loadNext();
    for (let load = loading.shift(); load; load = loading.shift()) {
      const blocks = await load;
      loadNext();
      for (const block of blocks) {
        hash.update(block);
        onBytes(block.length);
      }
    }
  } catch (error) {
    const isTheStore = error instanceof StoreError && error.reason !== 'no-such-key';
    if (!(error instanceof FsError) || isTheStore) throw error;
    return error.message;
  }
  const md5 = hash.digest('hex');
  if (md5 === content.md5) return undefined;
  return `the content has MD5 ${md5} and should have ${content.md5}`;
}
