import type { Content } from '../cache/block-key.ts';
import { BlockSource } from '../cache/block-source.ts';
import type { DiskStore } from '../cache/disk-store.ts';
import { itemContent } from '../cache/item-content.ts';
import { openDiskStore } from '../cache/open-disk-store.ts';
import { systemClock } from '../clock.ts';
import { Config } from '../config.ts';
import type { BucketStore } from '../ecs/bucket-store.ts';
import { DatasetReader } from '../ecs/dtool/dataset-reader.ts';
import type { ManifestItem } from '../ecs/dtool/item-table.ts';
import { REGISTRATION_PREFIX } from '../ecs/dtool/keys.ts';
import { HASH_FUNCTION } from '../ecs/dtool/manifest.ts';
import { type DatasetEntry, readRegistry } from '../ecs/dtool/registry.ts';
import { UserError } from '../errors.ts';
import { BLOCK_BYTES, CACHE_COMMAND_MEMORY_BYTES, CACHE_COMMAND_RUN_BYTES } from '../limits.ts';
import { silentLogger } from '../log.ts';
import { openCommandBucket } from './command-bucket.ts';
import { diskCacheOf } from './disk-cache.ts';
import { findDataset } from './find-dataset.ts';
import { type Target, parseTarget } from './target.ts';
import { printProblems } from './terminal.ts';

export interface CacheOptions {
  readonly cacheDir?: string;
  readonly cacheSize: number | 'none';
}

/** Frozen datasets, and the cache on disk as a mount with the same options has it. */
export interface CachedDatasets {
  /** Reads from the disk cache and fills it. */
  readonly source: BlockSource;
  /** Reads from the bucket, and never from a cache. */
  readonly storeSource: BlockSource;
  /** Undefined with `--cache-size none`, and where it can't be used and need not be. */
  readonly disk: DiskStore | undefined;
  /** Bytes; 0 without a disk cache. */
  readonly maxBytes: number;
  readonly datasets: readonly CachedDataset[];
}

/** What is meant of one dataset. */
export interface CachedDataset {
  readonly bucket: BucketStore;
  readonly name: string;
  readonly uuid: string;
  /** Items that are meant, and their bytes. */
  readonly items: number;
  readonly bytes: number;
  /** Makes them anew at each call: of a million items there need not be as many objects. */
  contents(): Generator<CachedItem, void, undefined>;
}

export interface CachedItem {
  readonly relpath: string;
  readonly identifier: string;
  readonly content: Content;
}

/**
 * Finds what is meant and does something with it.
 *
 * @param texts see {@link parseTarget}; a path in a mount may be that of a directory or file below `data`, and a bucket
 *   stands for all its frozen datasets
 * @param options `cacheIsRequired`: whether a cache directory that can't be used is an error. Default: true
 * @throws UserError for what is not there or not frozen
 */
export async function withCachedDatasets<T>(
  texts: readonly string[],
  options: CacheOptions & { readonly cacheIsRequired?: boolean },
  act: (cached: CachedDatasets) => Promise<T>,
): Promise<T> {
  const config = await Config.load();
  const choice = diskCacheOf(config, options);
  const disk =
    choice &&
    (await openDiskStore({
      choice: { ...choice, isRequired: options.cacheIsRequired ?? true },
      memoryBytes: CACHE_COMMAND_MEMORY_BYTES,
      clock: systemClock,
      log: silentLogger,
    }));
  const buckets = new Map<string, BucketStore>();
  const bucketOf = (bucket: string): BucketStore => {
    const found = buckets.get(bucket);
    if (found) return found;
    const opened = openCommandBucket(bucket, config);
    buckets.set(bucket, opened);
    return opened;
  };
  try {
    const datasets: CachedDataset[] = [];
    for (const text of texts) {
      const target = await parseTarget(text);
      const bucket = bucketOf(target.bucket);
      await bucket.check(REGISTRATION_PREFIX);
      for (const entry of await entriesOf(bucket, target))
        datasets.push(await openDataset(bucket, entry, target.path));
    }
    const source = new BlockSource({
      ...(disk && { disk }),
      isEager: true,
      originOf: (bucket) => bucketOf(bucket).config.endpoint,
    });
    const storeSource = new BlockSource();
    return await act({ source, storeSource, disk, maxBytes: choice?.maxBytes ?? 0, datasets });
  } finally {
    for (const bucket of buckets.values()) bucket.close();
    await disk?.close();
  }
}

/** The blocks of a content, in runs of {@link CACHE_COMMAND_RUN_BYTES}. */
export function* runsOf({ size }: { readonly size: number }): Generator<readonly number[], void, undefined> {
  const blocks = Math.ceil(size / BLOCK_BYTES);
  const most = CACHE_COMMAND_RUN_BYTES / BLOCK_BYTES;
  for (let first = 0; first < blocks; first += most)
    yield Array.from({ length: Math.min(most, blocks - first) }, (_, index) => first + index);
}

async function entriesOf(bucket: BucketStore, target: Target): Promise<readonly DatasetEntry[]> {
  if (target.dataset !== undefined) {
    const entry = await findDataset(bucket, target.dataset);
    if (entry.admin.type === 'dataset') return [entry];
    throw new UserError(`${bucket.store.bucket}/${target.dataset} is not frozen, so it may change any time`);
  }
  const { datasets, problems } = await readRegistry(bucket.store, { likelyPrefix: bucket.config.prefix });
  printProblems(bucket.store.bucket, problems);
  return datasets.filter(({ admin }) => admin.type === 'dataset');
}

async function openDataset(bucket: BucketStore, entry: DatasetEntry, path = 'data'): Promise<CachedDataset> {
  if (!/^data(\/|$)/.test(path))
    throw new UserError(`${path} of a dataset is metadata`, 'Only what is below data can be given.');
  const wanted = path.slice('data/'.length);
  const isMeant = (relpath: string): boolean =>
    wanted === '' || relpath === wanted || relpath.startsWith(`${wanted}/`);
  const reader = new DatasetReader(bucket.store, entry);
  const { items: table, hashFunction } = await reader.manifest();
  if (hashFunction !== HASH_FUNCTION) {
    throw new UserError(
      `${bucket.store.bucket}/${entry.admin.name} has no MD5 of its items (hash function ${hashFunction ?? 'unknown'})`,
    );
  }
  const dataset = { bucket: bucket.store.bucket, uuid: entry.uuid };
  function* meant(): Generator<ManifestItem, void, undefined> {
    for (const item of table) if (isMeant(item.relpath)) yield item;
  }
  let items = 0;
  let bytes = 0;
  for (const { size } of meant()) {
    items += 1;
    bytes += size;
  }
  if (items === 0 && wanted !== '') throw new UserError(`${entry.admin.name} has no items at ${path}`);
  return {
    bucket,
    name: entry.admin.name,
    uuid: entry.uuid,
    items,
    bytes,
    *contents() {
      for (const item of meant()) {
        const content = itemContent(dataset, item, reader.itemKey(item.identifier), true);
        yield { relpath: item.relpath, identifier: item.identifier, content };
      }
    },
  };
}
