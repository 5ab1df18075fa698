import type { BlockCache } from '../cache/block-cache.ts';
import type { Content } from '../cache/block-key.ts';
import { fillFromFiles } from '../cache/fill-from-files.ts';
import { itemContent } from '../cache/item-content.ts';
import { KnownBucket } from '../cache/known-bucket.ts';
import type { MetadataCache } from '../cache/metadata-cache.ts';
import { type Clock, systemClock } from '../clock.ts';
import type { BucketConfig } from '../config.ts';
import type { BucketStore } from '../ecs/bucket-store.ts';
import { itemKey } from '../ecs/dtool/keys.ts';
import { FsError, UserError, messageOf } from '../errors.ts';
import type { FileHasher } from '../freeze/file-hasher.ts';
import type { FrozenDataset } from '../freeze/freeze.ts';
import type { FreezeUser } from '../freeze/readme.ts';
import type { RememberingFileHasher } from '../freeze/remembering-hasher.ts';
import type { StagedBucket } from '../freeze/staged-buckets.ts';
import { StagedFreezes } from '../freeze/staged-freezes.ts';
import { Area } from '../fuse/staging/area.ts';
import { BucketRoot } from '../fuse/tree/bucket-root.ts';
import { BucketContext, type TreeEnvironment } from '../fuse/tree/context.ts';
import { STAGING } from '../fuse/tree/dataset-names.ts';
import type { Timestamp } from '../fuse/tree/node.ts';
import type { StagedFolder } from '../fuse/tree/staging-folder.ts';
import { StagingRoot } from '../fuse/tree/staging-root.ts';
import type { Logger } from '../log.ts';

/** What the buckets of a mount share. */
export interface MountEnvironment {
  readonly tree: TreeEnvironment;
  readonly cache: BlockCache;
  /** Undefined: what is found is kept nowhere. */
  readonly metadata: MetadataCache | undefined;
  readonly hasher: FileHasher & Pick<RememberingFileHasher, 'prepare'>;
  readonly user: FreezeUser;
  /** Directory of the journals. */
  readonly journals: string;
  /** Absolute path of the mount. */
  readonly mountpoint: string;
  /** Whether a bucket is a directory of the mount, and not its root. */
  readonly bucketDirectories: boolean;
  /** Absolute path of the directory of all staging areas; undefined: nothing can be staged. */
  readonly stagingDirectory: string | undefined;
  readonly time: Timestamp;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The staging area of one bucket, open. */
interface Staging {
  readonly area: Area;
  readonly root: StagingRoot;
}

/** One bucket of a mount: its store, its part of the tree, its staging area, and its freezes. */
export class MountedBucket implements StagedBucket {
  readonly config: BucketConfig;
  readonly root: BucketRoot;
  readonly freezes: StagedFreezes;
  readonly #store: BucketStore;
  readonly #staging: Staging | undefined;

  private constructor(
    store: BucketStore,
    root: BucketRoot,
    freezes: StagedFreezes,
    staging: Staging | undefined,
  ) {
    this.config = store.config;
    this.root = root;
    this.#store = store;
    this.freezes = freezes;
    this.#staging = staging;
  }

  /** Puts a bucket together; a staging area that can't be had is reported, and the bucket is there without one. */
  static async open(opened: BucketStore, environment: MountEnvironment): Promise<MountedBucket> {
    const { store, config } = opened;
    const { bucket, endpoint, prefix, writePrefix } = config;
    const { tree, cache, stagingDirectory, hasher, user, journals, clock, log } = environment;
    const freezes = new StagedFreezes({
      journals,
      user,
      hasher,
      clock,
      log,
      store,
      endpoint,
      writePrefix,
      onFrozen: async (dataset) => fillFromFiles(cache, { bucket }, contentsOf(bucket, dataset)),
      onLanded: async () => root.lookForNew(),
      lend: (bytes) => cache.lend(bytes),
    });
    const staging =
      stagingDirectory === undefined
        ? undefined
        : await openStaging(config, stagingDirectory, environment, {
            freeze: async (folder, name) => freezeByRename(freezes, folder, name),
            onMoved: (name) => tree.invalidation.invalidateEntry(root.directory, name),
            onRemoved: ({ name, directory }) => {
              if (staging) tree.invalidation.deleteEntry(staging.root, name, directory);
            },
          });
    const root = new BucketRoot(new BucketContext(store, tree, knownOf(config, environment.metadata)), {
      isMountRoot: !environment.bucketDirectories,
      time: environment.time,
      likelyPrefix: prefix,
      ...(stagingDirectory !== undefined && { staging: staging?.root ?? 'taken' }),
    });
    await root.restore();
    return new MountedBucket(opened, root, freezes, staging);
  }

  get area(): string | undefined {
    return this.#staging?.area.path;
  }

  folders(): readonly StagedFolder[] {
    return this.#staging?.root.folders ?? [];
  }

  /** Undefined where nothing can be staged; else as {@link Area.room}. */
  async room(): Promise<Awaited<ReturnType<Area['room']>> | undefined> {
    return this.#staging?.area.room();
  }

  /** Closes its connections; requests that are under way end. */
  closeStore(): void {
    this.#store.close();
  }

  /** Lets another mount have its staging area. */
  async closeStaging(): Promise<void> {
    await this.#staging?.area.close();
  }
}

/** What earlier mounts have found in a bucket; undefined where nothing is kept. */
export function knownOf(
  { bucket, endpoint }: BucketConfig,
  metadata: MetadataCache | undefined,
): KnownBucket | undefined {
  return metadata && new KnownBucket(metadata, endpoint, bucket);
}

interface StagingCallbacks {
  readonly freeze: (folder: StagedFolder, name: string) => Promise<void>;
  readonly onRemoved: (folder: StagedFolder) => void;
  readonly onMoved: (name: string) => void;
}

async function openStaging(
  { bucket, endpoint }: BucketConfig,
  directory: string,
  { mountpoint, tree: { ownership, problems }, hasher, log }: MountEnvironment,
  callbacks: StagingCallbacks,
): Promise<Staging | undefined> {
  try {
    const area = await Area.open(directory, { bucket, endpoint, mountpoint, log });
    const root = await StagingRoot.open(area, {
      bucket,
      ownership,
      clock: systemClock,
      log,
      onSettled: (path) => hasher.prepare(path),
      ...callbacks,
    });
    return { area, root };
  } catch (error) {
    const advice = error instanceof UserError && error.advice !== undefined ? ` ${error.advice}` : '';
    const reason = `nothing can be staged: ${messageOf(error)}.${advice}`;
    problems.report({ bucket, key: `${STAGING}/`, reason });
    return undefined;
  }
}

/** Freezes a folder that was renamed onto the bucket's root. */
async function freezeByRename(freezes: StagedFreezes, folder: StagedFolder, name: string): Promise<void> {
  const result = await freezes.freeze(folder, { name });
  // Not EINVAL, which mv takes for a move of a directory into itself.
  if (result.outcome === 'refused') throw new FsError('EPERM', result.message);
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
