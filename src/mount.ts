import { BlockCache, type BlockCacheStatistics } from './cache/block-cache.ts';
import type { Content } from './cache/block-key.ts';
import { fillFromFiles } from './cache/fill-from-files.ts';
import { itemContent } from './cache/item-content.ts';
import { systemClock } from './clock.ts';
import type { Config } from './config.ts';
import { type BucketStore, openBucketStore } from './ecs/bucket-store.ts';
import { itemKey, REGISTRATION_PREFIX } from './ecs/dtool/keys.ts';
import { type QueueDepth, RequestLimiter } from './ecs/limiting-object-store.ts';
import { type StoreCounts, StoreCounters } from './ecs/store-counters.ts';
import { UserError, messageOf } from './errors.ts';
import { ThreadedFileHasher } from './freeze/file-hasher.ts';
import type { FrozenDataset } from './freeze/freeze.ts';
import { freezeUserOf } from './freeze/freeze-user.ts';
import { StagedBuckets, type StagedStatus, type UnfinishedFreeze } from './freeze/staged-buckets.ts';
import { StagedFreezes } from './freeze/staged-freezes.ts';
import { type Session, startSession } from './fuse/session.ts';
import type { Transport } from './fuse/transport/transport.ts';
import { type Ownership, timestampOfMilliseconds } from './fuse/tree/attributes.ts';
import { BucketRoot } from './fuse/tree/bucket-root.ts';
import { BucketContext } from './fuse/tree/context.ts';
import { mountTree } from './fuse/tree/mount-root.ts';
import { Problems, type ReportedProblem } from './fuse/tree/problems.ts';
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
  readonly readOnly: boolean;
  readonly refreshSeconds: number;
  readonly cacheMemoryBytes: number;
}

/** What `status` tells of a mount; plain data that survives JSON. */
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
  const cache = new BlockCache(options.cacheMemoryBytes);
  const problems = new Problems(log);
  const stores = await openStores(options.buckets, { config, clock, log, limiter, counters }, problems);

  const environment = {
    cache,
    ownership: options.ownership,
    problems,
    clock,
    lifetime: ending.signal,
    refreshMs: options.refreshSeconds * 1000,
  };
  const time = timestampOfMilliseconds(startedAt);
  const roots = new Map(
    stores.map(({ store, config: { bucket, prefix } }) => [
      bucket,
      new BucketRoot(new BucketContext(store, environment), {
        isMountRoot: !options.bucketDirectories,
        time,
        likelyPrefix: prefix,
      }),
    ]),
  );
  const hasher = new ThreadedFileHasher();
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
          onFrozen: async (dataset) => fillFromFiles(cache, contentsOf(bucket, dataset)),
          onLanded: async () => roots.get(bucket)?.refresh(),
        });
        return [bucket, { freezes, folders: () => [] }];
      }),
    ),
    journals,
  );
  const tree = mountTree(roots, !options.bucketDirectories, {
    ownership: options.ownership,
    time,
    clock,
    lifetime: ending.signal,
  });
  const closeStores = (): void => {
    ending.abort();
    for (const store of stores) store.close();
  };

  let session: Session;
  try {
    session = await startSession(options.mountpoint, tree, options.transport, {
      source: [...roots.keys()].join('+'),
      allowOther: options.allowOther,
      allowNonEmpty: options.allowNonEmpty,
      readOnly: options.readOnly,
      refreshSeconds: options.refreshSeconds,
      log,
    });
  } catch (error) {
    closeStores();
    throw error;
  }
  log.info({ mountpoint: options.mountpoint, buckets: [...roots.keys()] }, 'mounted');
  const ended = async (): Promise<void> => {
    await session.closed;
    await staged.stop();
    await hasher.close();
    closeStores();
    log.info({ mountpoint: options.mountpoint }, 'unmounted');
  };

  return {
    closed: ended(),
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
      problems: problems.all,
      ...(await staged.status()),
    }),
    refresh: async () => {
      await Promise.all(Array.from(roots.values(), (root) => root.refresh()));
    },
    unmount: () => session.unmount(),
  };
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

/** Opens the buckets; of several, those that can't be used are reported and left out. */
async function openStores(
  buckets: readonly string[],
  environment: Parameters<typeof openBucketStore>[1],
  problems: Problems,
): Promise<readonly BucketStore[]> {
  const opened = await Promise.allSettled(
    buckets.map(async (bucket) => {
      const store = openBucketStore(bucket, environment);
      try {
        await store.check(REGISTRATION_PREFIX);
        return store;
      } catch (error) {
        store.close();
        throw error;
      }
    }),
  );
  const failures = opened.filter((result) => result.status === 'rejected');
  const [first] = failures;
  if (first && failures.length === buckets.length) {
    if (buckets.length === 1) throw first.reason;
    throw new UserError(
      `none of the buckets can be used: ${failures.map(({ reason }) => messageOf(reason)).join('; ')}`,
    );
  }
  opened.forEach((result, index) => {
    const bucket = buckets[index];
    if (result.status === 'rejected' && bucket !== undefined) {
      problems.report({ bucket, key: '', reason: messageOf(result.reason) });
    }
  });
  return opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}
