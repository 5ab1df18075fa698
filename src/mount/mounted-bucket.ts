import type { BlockCache } from '../cache/block-cache.ts';
import type { Content } from '../cache/block-key.ts';
import { fillFromFiles } from '../cache/fill-from-files.ts';
import { itemContent } from '../cache/item-content.ts';
import { KnownBucket } from '../cache/known-bucket.ts';
import type { MetadataCache } from '../cache/metadata-cache.ts';
import type { Clock } from '../clock.ts';
import type { BucketConfig } from '../config.ts';
import { openBeneath } from '../contained-directory.ts';
import type { BucketStore } from '../ecs/bucket-store.ts';
import { isDatasetUuid, itemKey, registrationKey } from '../ecs/dtool/keys.ts';
import type { OpenedStore } from '../ecs/dtool/open-stores.ts';
import type { ObjectStore } from '../ecs/object-store.ts';
import { FsError, UserError, messageOf } from '../errors.ts';
import type { FileHasher, OpenableFile } from '../freeze/file-hasher.ts';
import type { FrozenDataset } from '../freeze/freeze.ts';
import type { FreezeUser } from '../freeze/readme.ts';
import type { RememberingFileHasher } from '../freeze/remembering-hasher.ts';
import type { StagedBucket } from '../freeze/staged-buckets.ts';
import { StagedFreezes } from '../freeze/staged-freezes.ts';
import { Area } from '../fuse/staging/area.ts';
import { chooseArea } from '../fuse/staging/choose-area.ts';
import { describeFolders } from '../fuse/staging/known-areas.ts';
import { BucketRoot } from '../fuse/tree/bucket-root.ts';
import { BucketContext, type TreeEnvironment } from '../fuse/tree/context.ts';
import { STAGING } from '../fuse/tree/dataset-names.ts';
import type { Timestamp } from '../fuse/tree/node.ts';
import type { Problems } from '../fuse/tree/problems.ts';
import type { StagedFolder } from '../fuse/tree/staging-folder.ts';
import { StagingRoot, type StagingRootOptions } from '../fuse/tree/staging-root.ts';
import { AREA_LOOK_MS } from '../limits.ts';
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
  /** Whether the staged folders of every bucket of the same name are this bucket's. */
  readonly takeStaging: boolean;
  /** Hears of what the user should know though it stops nothing. */
  readonly onWarning: (warning: string) => void;
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
  static async open(opened: OpenedStore, environment: MountEnvironment): Promise<MountedBucket> {
    const { store, config } = opened.store;
    const { bucket, endpoint, prefix, writePrefix } = config;
    const { tree, cache, stagingDirectory, hasher, user, journals, clock, log } = environment;
    const area =
      stagingDirectory === undefined ? undefined : await openArea(opened, stagingDirectory, environment);
    const freezes = new StagedFreezes({
      journals,
      user,
      hasher,
      clock,
      log,
      store,
      endpoint: area?.endpoint ?? endpoint,
      writePrefix,
      onFrozen: async (dataset) => fillFromFiles(cache, { bucket }, contentsOf(bucket, dataset)),
      onLanded: async () => root.lookForNew(),
      lend: (bytes) => cache.lend(bytes),
    });
    const staging =
      area &&
      (await openStaging(area, environment, {
        bucket,
        ownership: tree.ownership,
        clock,
        log,
        onSettled: (path) => hasher.prepare({ path, open: async () => openBeneath(area.path, path) }),
        freeze: async (folder, name) => freezeByRename(freezes, folder, name),
        onMoved: (name) => tree.invalidation.invalidateEntry(root.directory, name),
        onRemoved: ({ name, directory }) => {
          if (staging) tree.invalidation.deleteEntry(staging, name, directory);
        },
      }));
    const root = new BucketRoot(new BucketContext(store, tree, knownOf(config, environment.metadata)), {
      isMountRoot: !environment.bucketDirectories,
      time: environment.time,
      likelyPrefix: prefix,
      ...(stagingDirectory !== undefined && { staging: staging ?? 'taken' }),
    });
    await root.restore();
    return new MountedBucket(opened.store, root, freezes, area && staging && { area, root: staging });
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
    await this.#staging?.root.closed();
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

/** Opens the staging area of a bucket; undefined, and reported, where it can't be had. */
async function openArea(
  { store: { store, config }, uuids }: OpenedStore,
  directory: string,
  { mountpoint, takeStaging, tree: { problems }, onWarning, log }: MountEnvironment,
): Promise<Area | undefined> {
  const { bucket, endpoint } = config;
  try {
    const { area, hidden } = await chooseArea(directory, {
      bucket,
      endpoint,
      takeAll: takeStaging,
      hasDataset: async (uuid) => hasDataset(store, uuid),
    });
    for (const other of hidden) {
      const reason = `staging/ does not show ${describeFolders(other)}`;
      onWarning(`bucket ${bucket}: ${reason}`);
      problems.report({ bucket, key: other.path, reason });
    }
    return await Area.open(area, { endpoint, datasets: uuids, mountpoint, log });
  } catch (error) {
    reportNoStaging(bucket, error, problems);
    return undefined;
  }
}

/** Shows an area; where it can't be read, that is reported, and another mount may have it. */
async function openStaging(
  area: Area,
  { tree: { problems } }: MountEnvironment,
  options: StagingRootOptions,
): Promise<StagingRoot | undefined> {
  try {
    return await StagingRoot.open(area, options);
  } catch (error) {
    await area.close();
    reportNoStaging(options.bucket, error, problems);
    return undefined;
  }
}

function reportNoStaging(bucket: string, error: unknown, problems: Problems): void {
  const advice = error instanceof UserError && error.advice !== undefined ? ` ${error.advice}` : '';
  const reason = `nothing can be staged: ${messageOf(error)}.${advice}`;
  problems.report({ bucket, key: `${STAGING}/`, reason });
}

/** Whether a dataset is registered; false where the store does not say so in time. */
async function hasDataset(store: ObjectStore, uuid: string): Promise<boolean> {
  if (!isDatasetUuid(uuid)) return false;
  const signal = AbortSignal.timeout(AREA_LOOK_MS);
  return store.head(registrationKey(uuid), { signal }).then(
    () => true,
    () => false,
  );
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
): Generator<{ readonly content: Content; readonly open: OpenableFile['open'] }, void, undefined> {
  for (const { open, ...item } of items) {
    const content = itemContent({ bucket, uuid }, item, itemKey(keyPrefix, item.identifier), true);
    yield { content, open };
  }
}
