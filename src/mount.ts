import { abortable } from './abortable.ts';
import { BlockCache, type BlockCacheStatistics } from './cache/block-cache.ts';
import { BlockSource } from './cache/block-source.ts';
import { MetadataCache } from './cache/metadata-cache.ts';
import { type DiskCacheChoice, openDiskStore } from './cache/open-disk-store.ts';
import { systemClock } from './clock.ts';
import type { Config } from './config.ts';
import { openAbsentStore, openStores } from './ecs/dtool/open-stores.ts';
import { type QueueDepth, RequestLimiter } from './ecs/limiting-object-store.ts';
import { type StoreCounts, StoreCounters } from './ecs/store-counters.ts';
import { ThreadedFileHasher } from './freeze/file-hasher.ts';
import { freezeUserOf } from './freeze/freeze-user.ts';
import { RememberingFileHasher } from './freeze/remembering-hasher.ts';
import { StagedBuckets, type StagedStatus, type UnfinishedFreeze } from './freeze/staged-buckets.ts';
import { sourceOf } from './fuse/mount-table.ts';
import { clearDeadMount } from './fuse/mountpoint.ts';
import type { RequestCounts } from './fuse/request-counters.ts';
import { type Session, startSession } from './fuse/session.ts';
import type { Transport } from './fuse/transport/transport.ts';
import { type Ownership, timestampOfMilliseconds } from './fuse/tree/attributes.ts';
import { InvalidationRelay } from './fuse/tree/invalidation.ts';
import { ItemsMemory } from './fuse/tree/items-memory.ts';
import { mountTree } from './fuse/tree/mount-root.ts';
import type { SpaceUsage } from './fuse/tree/node.ts';
import { Problems, type ReportedProblem } from './fuse/tree/problems.ts';
import { LATENCY_BOUNDS_MS } from './latency-histogram.ts';
import { ITEMS_CACHE_PARTS, METADATA_CACHE_MAX_BYTES } from './limits.ts';
import type { LostLines } from './log-stream.ts';
import type { Logger } from './log.ts';
import { AbsentBuckets } from './mount/absent-buckets.ts';
import { knownOf, type MountEnvironment, MountedBucket } from './mount/mounted-bucket.ts';
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
  /** Whether the staged folders of every bucket of the same name are this bucket's, whatever its endpoint was. */
  readonly takeStaging: boolean;
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
  /** Absent where the log has all lines. */
  readonly log?: LostLines | undefined;
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
  /** Absolute path of its staging area on the local disk; absent where nothing can be staged. */
  readonly stagingArea?: string | undefined;
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
 *   mounted then, nor when the signal aborts; its reason
 */
export async function startMount(
  config: Config,
  options: MountOptions,
  log: Logger,
  signal: AbortSignal,
): Promise<RunningMount> {
  const clock = systemClock;
  const startedAt = clock.now();
  const ending = new AbortController();
  const limiter = new RequestLimiter();
  const counters = new StoreCounters();
  const problems = new Problems(log);
  // It may still have the staging area.
  await clearDeadMount(options.mountpoint);
  const { metadataDirectory, diskCache: choice, cacheMemoryBytes: memoryBytes } = options;
  signal.throwIfAborted();
  // Nothing that is left in the middle before it is mounted has to be undone: it ends with the process.
  const disk = choice && (await abortable(openDiskStore({ choice, memoryBytes, clock, log }), signal));
  const metadata = metadataDirectory
    ? new MetadataCache(metadataDirectory, METADATA_CACHE_MAX_BYTES, log)
    : undefined;
  const warnings: string[] = [];
  const onWarning = (warning: string): void => {
    log.warn(warning);
    warnings.push(warning);
  };
  const storeEnvironment = { config, clock, log, limiter, counters, tries: options.tries };
  const opening = openStores(options.buckets, storeEnvironment, {
    isKnown: async (bucket) => (await knownOf(bucket, metadata)?.registry()) !== undefined,
    onAway: onWarning,
  });
  const { stores, absent } = await abortable(opening, signal);
  const reportAbsent = (bucket: string, reason: string): void =>
    problems.report({ bucket, key: '', reason: `${reason}. It appears as soon as it can be used` });
  for (const [bucket, reason] of absent) {
    warnings.push(`bucket ${bucket} is not there yet: ${reason}. It appears as soon as it can be used.`);
    reportAbsent(bucket, reason);
  }
  const buckets = new Map<string, MountedBucket>();
  const source = new BlockSource({
    ...(disk && { disk }),
    clock,
    originOf: (bucket) => buckets.get(bucket)?.config.endpoint ?? '',
    onDamaged: (bucket, key, reason) => problems.report({ bucket, key, reason }),
  });
  const cache = new BlockCache(memoryBytes, source);
  const invalidations = new InvalidationRelay();
  const time = timestampOfMilliseconds(startedAt);
  const hasher = new RememberingFileHasher(new ThreadedFileHasher(), clock);
  const journals = journalDirectory();
  const environment: MountEnvironment = {
    tree: {
      cache,
      itemsMemory: new ItemsMemory(memoryBytes / ITEMS_CACHE_PARTS, (bytes) => cache.lend(bytes)),
      ownership: options.ownership,
      problems,
      clock,
      lifetime: ending.signal,
      refreshMs: options.refreshSeconds * 1000,
      invalidation: invalidations,
    },
    cache,
    metadata,
    hasher,
    user: freezeUserOf(config),
    journals,
    mountpoint: options.mountpoint,
    bucketDirectories: options.bucketDirectories,
    stagingDirectory: options.readOnly ? undefined : options.stagingDirectory,
    takeStaging: options.takeStaging,
    onWarning,
    time,
    clock,
    log,
  };
  for (const opened of stores) {
    const bucket = await abortable(MountedBucket.open(opened, environment), signal);
    buckets.set(bucket.config.bucket, bucket);
  }
  const staged = new StagedBuckets(buckets, journals);
  const tree = mountTree(new Map(Array.from(buckets, ([name, { root }]) => [name, root])), {
    isSingle: !options.bucketDirectories,
    mayGrow: absent.size > 0,
    ownership: options.ownership,
    time,
    room: async () => roomOf(buckets.values()),
    invalidations,
  });
  const absentBuckets = new AbsentBuckets(absent.keys(), {
    open: async (name) => {
      const opened = await openAbsentStore(name, storeEnvironment, ending.signal);
      const bucket = await MountedBucket.open(opened, environment);
      buckets.set(name, bucket);
      try {
        await staged.recover([name]);
      } catch (error) {
        // The next attempt begins anew, with the staging area.
        buckets.delete(name);
        bucket.closeStore();
        await bucket.closeStaging();
        throw error;
      }
      tree.add(name, bucket.root);
      problems.resolve(name, '');
      log.info({ bucket: name }, 'the bucket is there');
    },
    onFailure: reportAbsent,
    clock,
    signal: ending.signal,
  });
  let waiting: Promise<void> | undefined;
  const closeAll = async (): Promise<void> => {
    // First of all: a freeze that has committed waits for the list that its dataset is in.
    ending.abort();
    await waiting;
    await staged.stop();
    await hasher.close();
    for (const bucket of buckets.values()) bucket.closeStore();
    await metadata?.close();
    await disk?.close();
    await Promise.all(Array.from(buckets.values(), async (bucket) => bucket.closeStaging()));
  };

  let session: Session;
  try {
    await abortable(staged.recover(), signal);
    session = await startSession(options.mountpoint, tree, options.transport, {
      source: sourceOf(options.buckets),
      allowOther: options.allowOther,
      allowNonEmpty: options.allowNonEmpty,
      autoUnmount: options.autoUnmount,
      readOnly: options.readOnly,
      refreshSeconds: options.refreshSeconds,
      log,
      signal,
    });
  } catch (error) {
    await closeAll();
    throw error;
  }
  log.info({ mountpoint: options.mountpoint, buckets: [...buckets.keys()] }, 'mounted');
  waiting = absentBuckets.wait();
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
      buckets: Array.from(buckets.values(), ({ config: { bucket, endpoint }, root, area }) => ({
        bucket,
        endpoint,
        ...root.counts,
        stagingArea: area,
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
      const here = Array.from(buckets.values(), async ({ root }) => root.refresh());
      await Promise.all([absentBuckets.tryNow(), ...here]);
    },
    unmount: () => session.unmount(),
  };
}

/** What there is room for in the first staging area; all are on one file system, as far as that is known. */
async function roomOf(buckets: Iterable<MountedBucket>): Promise<SpaceUsage['free']> {
  for (const bucket of buckets) {
    const room = await bucket.room();
    if (room) return room;
  }
  return undefined;
}
