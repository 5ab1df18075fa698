import { BlockCache, type BlockCacheStatistics } from './cache/block-cache.ts';
import { BlockSource } from './cache/block-source.ts';
import { type DiskCacheChoice, openDiskStore } from './cache/open-disk-store.ts';
import type { Content } from './cache/block-key.ts';
import { fillFromFiles } from './cache/fill-from-files.ts';
import { itemContent } from './cache/item-content.ts';
import { systemClock } from './clock.ts';
import { KnownBucket } from './cache/known-bucket.ts';
import { MetadataCache } from './cache/metadata-cache.ts';
import type { BucketConfig, Config } from './config.ts';
import type { BucketStore } from './ecs/bucket-store.ts';
import { itemKey } from './ecs/dtool/keys.ts';
import { openStores } from './ecs/dtool/open-stores.ts';
import { type QueueDepth, RequestLimiter } from './ecs/limiting-object-store.ts';
import { type StoreCounts, StoreCounters } from './ecs/store-counters.ts';
import { FsError, UserError, messageOf } from './errors.ts';
import { ThreadedFileHasher } from './freeze/file-hasher.ts';
import type { FrozenDataset } from './freeze/freeze.ts';
import { freezeUserOf } from './freeze/freeze-user.ts';
import { RememberingFileHasher } from './freeze/remembering-hasher.ts';
import { StagedBuckets, type StagedStatus, type UnfinishedFreeze } from './freeze/staged-buckets.ts';
import { StagedFreezes } from './freeze/staged-freezes.ts';
import { Area } from './fuse/staging/area.ts';
import type { RequestCounts } from './fuse/request-counters.ts';
import { clearDeadMount } from './fuse/mountpoint.ts';
import { type Session, startSession } from './fuse/session.ts';
import type { Transport } from './fuse/transport/transport.ts';
import { type Ownership, timestampOfMilliseconds } from './fuse/tree/attributes.ts';
import { BucketRoot } from './fuse/tree/bucket-root.ts';
import { BucketContext } from './fuse/tree/context.ts';
import { InvalidationRelay } from './fuse/tree/invalidation.ts';
import { ItemsMemory } from './fuse/tree/items-memory.ts';
import { mountTree } from './fuse/tree/mount-root.ts';
import { Problems, type ReportedProblem } from './fuse/tree/problems.ts';
import { STAGING } from './fuse/tree/dataset-names.ts';
import type { StagedFolder } from './fuse/tree/staging-folder.ts';
import { StagingRoot } from './fuse/tree/staging-root.ts';
import { LATENCY_BOUNDS_MS } from './latency-histogram.ts';
import { ITEMS_CACHE_PARTS, METADATA_CACHE_MAX_BYTES } from './limits.ts';
import type { Logger } from './log.ts';
import { journalDirectory } from './state-directory.ts';
import { VERSION } from './version.ts';

export interface MountOptions {
  /** At least one. */
  readonly buckets: readonly string[];
  /** Whether each bucket gets a directory of its own, even a single one. */
  readonly bucketDirectories: boolean;
  /** Absolute path. */
  readonly mountpoint: string;
  readonly transport: Transport;
  readonly ownership: Ownership;
  readonly allowOther: boolean;
  readonly allowNonEmpty: boolean;
  /** Whether the mount goes when the process dies, however it does. */
  readonly autoUnmount: boolean;
  /** Without a staging area. */
  readonly readOnly: boolean;
  /** Absolute path of the directory of all staging areas. */
  readonly stagingDirectory: string;
  readonly refreshSeconds: number;
  /** Of one request to a store, the first included. */
  readonly tries: number;
  /** For blocks, and what has their memory for a while: manifests and freezes. */
  readonly cacheMemoryBytes: number;
  /** Where it is kept what is known of buckets; undefined: nowhere. */
  readonly metadataDirectory: string | undefined;
  /** Undefined: none. */
  readonly diskCache: DiskCacheChoice | undefined;
}

/**
 * What `status` tells of a mount; plain data that survives JSON. From version to version something may be added to it,
 * nothing is taken away and nothing changes its meaning.
 */
export interface MountStatus {
  readonly mountpoint: string;
  readonly buckets: readonly BucketStatus[];
  /** Whether the buckets are directories of the mount, or the mount is the bucket. */
  readonly bucketDirectories: boolean;
  readonly pid: number;
  readonly version: string;
  readonly transport: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly openHandles: number;
  readonly cache: BlockCacheStatistics;
  readonly store: StoreCounts;
  readonly queue: QueueDepth;
  /** The kernel's requests; names and pages that it keeps itself are not asked for. */
  readonly kernel: RequestCounts;
  /** The bounds of all latencies here; see `LatencyCounts`. */
  readonly latencyBoundsMs: readonly number[];
  /** Where Prometheus finds the numbers; absent without `--metrics-port`. */
  readonly metrics?: string | undefined;
  readonly problems: readonly ReportedProblem[];
  readonly staging: readonly StagedStatus[];
  readonly unfinished: readonly UnfinishedFreeze[];
}

export interface BucketStatus {
  readonly bucket: string;
  readonly endpoint: string;
  /** Undefined before anybody looked into the bucket. */
  readonly datasets?: number | undefined;
  readonly protoDatasets?: number | undefined;
}

export interface RunningMount {
  /** Resolves when the mount is gone, whoever ended it, and everything is closed. */
  readonly closed: Promise<void>;
  /** What the user should know though it is mounted, a sentence each. */
  readonly warnings: readonly string[];
  /** What can be asked of the staging area. */
  readonly staged: StagedBuckets;
  status(): Promise<MountStatus>;
  /** Looks at the buckets again now. */
  refresh(): Promise<void>;
  unmount(): Promise<void>;
}

/**
 * Puts everything together and mounts: stores → cache → tree → session.
 *
 * @throws UserError when a bucket can't be used (of several, when none can) or the mountpoint can't; nothing is left
 *   mounted then
 */
export async function startMount(config: Config, options: MountOptions, log: Logger): Promise<RunningMount> {
  const clock = systemClock;
  const startedAt = clock.now();
  const ending = new AbortController();
  const limiter = new RequestLimiter();
  const counters = new StoreCounters();
  const problems = new Problems(log);
  // It may still have the staging area.
  await clearDeadMount(options.mountpoint);
  const { metadataDirectory, diskCache: choice, cacheMemoryBytes: memoryBytes } = options;
  const disk = choice && (await openDiskStore({ choice, memoryBytes, clock, log }));
  const metadata = metadataDirectory
    ? new MetadataCache(metadataDirectory, METADATA_CACHE_MAX_BYTES, log)
    : undefined;
  const knownOf = ({ bucket, endpoint }: BucketConfig): KnownBucket | undefined =>
    metadata && new KnownBucket(metadata, endpoint, bucket);
  const warnings: string[] = [];
  const stores = await openStores(
    options.buckets,
    { config, clock, log, limiter, counters, tries: options.tries },
    {
      problems,
      isKnown: async (bucket) => (await knownOf(bucket)?.registry()) !== undefined,
      onAway: (warning) => {
        log.warn(warning);
        warnings.push(warning);
      },
    },
  );
  const source = new BlockSource({
    ...(disk && { disk }),
    originOf: (bucket) => stores.find((store) => store.config.bucket === bucket)?.config.endpoint ?? '',
    onDamaged: (bucket, key, reason) => problems.report({ bucket, key, reason }),
  });
  const cache = new BlockCache(memoryBytes, source);
  const lend = (bytes: number): (() => void) => cache.lend(bytes);

  const invalidations = new InvalidationRelay();
  const environment = {
    cache,
    itemsMemory: new ItemsMemory(memoryBytes / ITEMS_CACHE_PARTS, lend),
    ownership: options.ownership,
    problems,
    clock,
    lifetime: ending.signal,
    refreshMs: options.refreshSeconds * 1000,
    invalidation: invalidations,
  };
  const time = timestampOfMilliseconds(startedAt);
  const hasher = new RememberingFileHasher(new ThreadedFileHasher(), clock);
  const freezesOf = new Map<string, StagedFreezes>();
  const stagings: ReadonlyMap<string, Staging> = options.readOnly
    ? new Map<string, Staging>()
    : await openStagings(stores, {
        options,
        problems,
        log,
        freeze: async (bucket, folder, name) => freezeByRename(freezesOf.get(bucket), folder, name),
        onMoved: (bucket, name) => {
          const root = roots.get(bucket)?.directory;
          if (root) invalidations.invalidateEntry(root, name);
        },
        onRemoved: (bucket, folder) => {
          const root = stagings.get(bucket)?.root;
          if (root) invalidations.deleteEntry(root, folder.name, folder.directory);
        },
        onSettled: (path) => hasher.prepare(path),
      });
  const roots = new Map(
    stores.map(({ store, config: bucketConfig }) => [
      bucketConfig.bucket,
      new BucketRoot(new BucketContext(store, environment, knownOf(bucketConfig)), {
        isMountRoot: !options.bucketDirectories,
        time,
        likelyPrefix: bucketConfig.prefix,
        ...(!options.readOnly && { staging: stagings.get(bucketConfig.bucket)?.root ?? 'taken' }),
      }),
    ]),
  );
  await Promise.all(Array.from(roots.values(), async (root) => root.restore()));
  const user = freezeUserOf(config);
  const journals = journalDirectory();
  const staged = new StagedBuckets(
    new Map(
      stores.map(({ store, config: { bucket, endpoint, writePrefix } }) => {
        const freezes = new StagedFreezes({
          store,
          endpoint,
          writePrefix,
          journals,
          user,
          hasher,
          clock,
          log,
          onFrozen: async (dataset) => fillFromFiles(cache, { bucket }, contentsOf(bucket, dataset)),
          onLanded: async () => roots.get(bucket)?.lookForNew(),
          lend,
        });
        freezesOf.set(bucket, freezes);
        const staging = stagings.get(bucket);
        return [bucket, { freezes, area: staging?.area.path, folders: () => staging?.root.folders ?? [] }];
      }),
    ),
    journals,
  );
  const tree = mountTree(roots, !options.bucketDirectories, {
    ownership: options.ownership,
    time,
    room: async () => stagings.values().next().value?.area.room(),
    invalidations,
  });
  const closeAll = async (): Promise<void> => {
    // First of all: a freeze that has committed waits for the list that its dataset is in.
    ending.abort();
    await staged.stop();
    await hasher.close();
    for (const store of stores) store.close();
    await metadata?.close();
    await disk?.close();
    await Promise.all(
      Array.from(stagings.values(), async ({ area, root }) => {
        await root.closed();
        await area.close();
      }),
    );
  };

  let session: Session;
  try {
    await staged.recover();
    session = await startSession(options.mountpoint, tree, options.transport, {
      source: [...roots.keys()].join('+'),
      allowOther: options.allowOther,
      allowNonEmpty: options.allowNonEmpty,
      autoUnmount: options.autoUnmount,
      readOnly: options.readOnly,
      refreshSeconds: options.refreshSeconds,
      log,
    });
  } catch (error) {
    await closeAll();
    throw error;
  }
  log.info({ mountpoint: options.mountpoint, buckets: [...roots.keys()] }, 'mounted');
  const ended = async (): Promise<void> => {
    await session.closed;
    await closeAll();
    log.info({ mountpoint: options.mountpoint }, 'unmounted');
  };

  return {
    closed: ended(),
    warnings,
    staged,
    status: async () => ({
      mountpoint: options.mountpoint,
      buckets: stores.map(({ config: { bucket, endpoint } }) => ({
        bucket,
        endpoint,
        ...roots.get(bucket)?.counts,
      })),
      bucketDirectories: options.bucketDirectories,
      pid: process.pid,
      version: VERSION,
      transport: options.transport.name,
      startedAt: new Date(startedAt).toISOString(),
      openHandles: session.openHandles,
      cache: cache.statistics,
      store: counters.snapshot(),
      queue: limiter.depth,
      kernel: session.requests,
      latencyBoundsMs: LATENCY_BOUNDS_MS,
      problems: problems.all,
      ...(await staged.status()),
    }),
    refresh: async () => {
      source.forgive();
      await Promise.all(Array.from(roots.values(), (root) => root.refresh()));
    },
    unmount: () => session.unmount(),
  };
}

/** The staging area of one bucket, open. */
interface Staging {
  readonly area: Area;
  readonly root: StagingRoot;
}

interface StagingEnvironment {
  readonly options: MountOptions;
  readonly problems: Problems;
  readonly log: Logger;
  readonly freeze: (bucket: string, folder: StagedFolder, name: string) => Promise<void>;
  readonly onRemoved: (bucket: string, folder: StagedFolder) => void;
  readonly onMoved: (bucket: string, name: string) => void;
  readonly onSettled: (path: string) => void;
}

/** Opens the staging areas of all buckets; those that can't be had are reported and left out. */
async function openStagings(
  stores: readonly BucketStore[],
  { options, problems, log, freeze, onRemoved, onMoved, onSettled }: StagingEnvironment,
): Promise<ReadonlyMap<string, Staging>> {
  const opened = new Map<string, Staging>();
  for (const { config } of stores) {
    const { bucket, endpoint } = config;
    try {
      const { mountpoint, ownership, stagingDirectory } = options;
      const area = await Area.open(stagingDirectory, { bucket, endpoint, mountpoint, log });
      const root = await StagingRoot.open(area, {
        bucket,
        ownership,
        clock: systemClock,
        log,
        freeze: async (folder, name) => freeze(bucket, folder, name),
        onRemoved: (folder) => onRemoved(bucket, folder),
        onMoved: (name) => onMoved(bucket, name),
        onSettled,
      });
      opened.set(bucket, { area, root });
    } catch (error) {
      const advice = error instanceof UserError && error.advice !== undefined ? ` ${error.advice}` : '';
      const reason = `nothing can be staged: ${messageOf(error)}.${advice}`;
      problems.report({ bucket, key: `${STAGING}/`, reason });
    }
  }
  return opened;
}

/** Freezes a folder that was renamed onto the bucket's root. */
async function freezeByRename(
  freezes: StagedFreezes | undefined,
  folder: StagedFolder,
  name: string,
): Promise<void> {
  const result = await freezes?.freeze(folder, { name });
  // Not EINVAL, which mv takes for a move of a directory into itself.
  if (result?.outcome === 'refused') throw new FsError('EPERM', result.message);
}

/** The items of a dataset as the cache knows them, with the files that have the same content. */
function* contentsOf(
  bucket: string,
  { uuid, keyPrefix, items }: FrozenDataset,
): Generator<{ readonly content: Content; readonly path: string }, void, undefined> {
  for (const { path, ...item } of items) {
    const content = itemContent({ bucket, uuid }, item, itemKey(keyPrefix, item.identifier), true);
    yield { content, path };
  }
}
