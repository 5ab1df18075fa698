import { randomUUID } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Clock } from '../clock.ts';
import { type DatasetKeyPrefix, datasetKeyPrefix, type DatasetUuid } from '../ecs/dtool/keys.ts';
import type { ManifestItem } from '../ecs/dtool/item-table.ts';
import { listAll, type ObjectStore } from '../ecs/object-store.ts';
import { messageOf, UserError } from '../errors.ts';
import type { FileHasher } from './file-hasher.ts';
import { hashItems } from './item-md5.ts';
import { FreezeJournal, type JournalEntry } from './journal.ts';
import { contentDigest, type FreezePlan, planFreeze } from './plan.ts';
import type { FreezeProblem } from './problems.ts';
import { PresentObjects } from './present-objects.ts';
import { type FreezeProgress, ProgressCounter } from './progress.ts';
import type { FreezeUser } from './readme.ts';
import { alreadyFrozen, findDataset, type RegisteredDataset } from './registration.ts';
import { UnfinishedUploads } from './unfinished-uploads.ts';
import { DEFAULT_PART_SIZES, type PartSizes } from './upload-in-parts.ts';
import { manifestItem, writeDataset } from './write-dataset.ts';

export interface FreezeOptions {
  readonly directory: string;
  /** Default: the one that a dtool dataset has, else `defaultName`. */
  readonly name?: string | undefined;
  /** Default: the directory's. */
  readonly defaultName?: string | undefined;
  /** Says what would be done, and changes nothing, in the bucket or on disk. */
  readonly dryRun?: boolean;
  readonly store: ObjectStore;
  /** URL of the store: buckets of one name on two stores are two. */
  readonly endpoint: string;
  /** What a new registration key says: empty, or ends with a slash. */
  readonly writePrefix: string;
  /** Directory of the journals. */
  readonly journals: string;
  readonly user: FreezeUser;
  readonly hasher: FileHasher;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: FreezeProgress) => void;
  /** Reasons to refuse that the caller knows of; they are told with those that are found here. */
  readonly obstacles?: readonly FreezeProblem[];
  /** For the journal: whether a staged folder stays. Default: the journal has no say. */
  readonly keep?: boolean;
  /** Sees whether an earlier freeze was committed, and uploads nothing. */
  readonly onlyFinish?: boolean;
  /** When files are uploaded in parts, and in which; default {@link DEFAULT_PART_SIZES}. */
  readonly partSizes?: PartSizes;
  /** Hears of the commit, before the freeze resolves. */
  readonly onFrozen?: (dataset: FrozenDataset) => Promise<void>;
}

/** A dataset that was committed a moment ago, with the files that it was made of. */
export interface FrozenDataset {
  readonly uuid: DatasetUuid;
  readonly keyPrefix: DatasetKeyPrefix;
  /** As the manifest has them, with the absolute path of each one's file. */
  readonly items: Iterable<ManifestItem & { readonly path: string }>;
}

export interface FreezeResult {
  /**
   * `already-frozen`: an earlier freeze did it, and the directory is as it was then. `unfinished`: it has still to be
   * frozen.
   */
  readonly outcome: 'frozen' | 'already-frozen' | 'dry-run' | 'unfinished';
  /** Undefined where a dry run does not know it yet. */
  readonly uuid: DatasetUuid | undefined;
  readonly name: string;
  readonly kind: FreezePlan['source']['kind'];
  readonly items: number;
  readonly bytes: number;
  /** Items that this run sent; of a dry run, undefined. */
  readonly uploadedItems: number | undefined;
  /** Whether an earlier freeze had begun the dataset. */
  readonly resumed: boolean;
  readonly warnings: readonly FreezeProblem[];
}

/**
 * Makes a dataset of a directory: plans, uploads and commits. Killed at any point, or ended by an error or the signal,
 * the next call finishes the same dataset and sends again only what is not in the bucket.
 *
 * @throws FreezeRefused when the directory can't be frozen as it is; the bucket is unchanged then
 * @throws WriteRefused when the store does not let the user write, which shows before the first item is sent
 * @throws SourceChangedError when a file changed meanwhile
 * @throws UserError when somebody else freezes the directory, or the dataset's uuid is taken by a frozen dataset
 * @throws what `onFrozen` threw: the dataset is frozen then
 * @throws StoreError, or the signal's reason
 */
export async function freeze(options: FreezeOptions): Promise<FreezeResult> {
  const { store, endpoint, journals, dryRun = false } = options;
  const directory = await realpath(options.directory).catch((cause: unknown) => {
    throw new UserError(`${options.directory} can't be frozen: ${messageOf(cause)}`, undefined, { cause });
  });
  const journal = new FreezeJournal(journals, { directory, endpoint, bucket: store.bucket });
  if (dryRun) return run(options, directory, journal);
  const lock = await journal.lock();
  try {
    return await run(options, directory, journal);
  } finally {
    await lock.release();
  }
}

async function run(options: FreezeOptions, directory: string, journal: FreezeJournal): Promise<FreezeResult> {
  const { store, clock, user, hasher, signal, writePrefix, onProgress = () => {}, dryRun } = options;
  const entry = await journal.read();
  const unfinished = entry?.state === 'frozen' ? undefined : entry;
  const createdAt = unfinished?.createdAt ?? clock.now() / 1000;
  const plan = await planFreeze({
    directory: resolve(options.directory),
    name: options.name,
    defaultName: options.defaultName,
    user,
    createdAt,
    hasher,
    signal,
    onProgress,
    obstacles: options.obstacles,
  });
  const choice = await chooseDataset(plan, entry, options, onProgress);
  const result = {
    uuid: choice.uuid,
    name: plan.admin.name,
    kind: plan.source.kind,
    items: plan.source.items.length,
    bytes: plan.totalBytes,
    warnings: plan.warnings,
    resumed: choice.registered !== undefined,
  };
  if (choice.done) {
    const { keep = entry?.keep } = options;
    if (!dryRun && entry && (entry.state !== 'frozen' || entry.keep !== keep))
      await journal.write({ ...entry, state: 'frozen', keep });
    return { ...result, outcome: 'already-frozen', uploadedItems: 0 };
  }
  if (dryRun) return { ...result, outcome: 'dry-run', uploadedItems: undefined };
  if (options.onlyFinish) return { ...result, outcome: 'unfinished', uploadedItems: 0 };

  const uuid = choice.uuid ?? drawUuid();
  const { registered, trusted } = choice;
  const prefix = registered?.prefix ?? writePrefix;
  const keyPrefix = datasetKeyPrefix(prefix, uuid);
  const present = new PresentObjects(keyPrefix, plan.source.items);
  if (registered) for await (const object of listAll(store, keyPrefix, { signal })) present.add(object);
  const progress = new ProgressCounter('uploading', result.items, plan.totalBytes, onProgress);
  const began: JournalEntry = {
    version: 1,
    state: 'uploading',
    directory,
    endpoint: options.endpoint,
    bucket: store.bucket,
    uuid,
    name: plan.admin.name,
    createdAt,
    keep: options.keep,
  };
  await writeDataset({
    store,
    plan,
    uuid,
    prefix,
    keyPrefix,
    registered,
    present,
    trusted,
    journal,
    began,
    unfinished: await UnfinishedUploads.open(journal.uploadsPath),
    partSizes: options.partSizes ?? DEFAULT_PART_SIZES,
    hasher,
    clock,
    signal,
    progress,
  });
  const { skipped } = progress.current;
  await options.onFrozen?.({ uuid, keyPrefix, items: frozenItems(plan) });
  return { ...result, uuid, outcome: 'frozen', uploadedItems: result.items - skipped };
}

function* frozenItems({ source, md5s }: FreezePlan): Generator<ManifestItem & { path: string }> {
  for (const item of source.items) {
    const described = source.manifest?.items.get(item.identifier) ?? manifestItem(item, md5s);
    yield { ...described, path: item.path };
  }
}

interface Choice {
  /** Undefined where one is to be drawn. */
  readonly uuid: DatasetUuid | undefined;
  readonly registered: RegisteredDataset | undefined;
  /** Whether what the bucket has of the dataset can only come from a freeze of this directory by us. */
  readonly trusted: boolean;
  /** Whether it is frozen, from what the directory has now. */
  readonly done: boolean;
}

/** Which dataset the directory becomes: the one that was begun, that of its own uuid, or a new one. */
async function chooseDataset(
  plan: FreezePlan,
  entry: JournalEntry | undefined,
  { store, hasher, signal }: FreezeOptions,
  onProgress: (progress: FreezeProgress) => void,
): Promise<Choice> {
  const earlier = plan.uuid === undefined || plan.uuid === entry?.uuid ? entry : undefined;
  const uuid = plan.uuid ?? earlier?.uuid;
  const registered = uuid && (await findDataset(store, uuid, signal));
  const fresh = { uuid: plan.uuid, registered: undefined, trusted: true, done: false };
  if (uuid === undefined) return fresh;
  if (registered?.admin?.type === 'dataset') {
    if (earlier?.content !== undefined) {
      const { items } = plan.source;
      const checked = new ProgressCounter('checking', items.length, plan.totalBytes, onProgress);
      const md5s =
        plan.source.kind === 'frozen'
          ? plan.md5s
          : await hashItems(items, hasher, signal, ({ size }) => checked.add({ items: 1, bytes: size }));
      if ((await contentDigest(plan, md5s)) === earlier.content)
        return { uuid, registered, trusted: true, done: true };
    }
    // The directory has changed since: what it has now is another dataset.
    if (plan.uuid === undefined && earlier?.content !== undefined) return fresh;
    throw alreadyFrozen(store.bucket, uuid);
  }
  // One that was frozen and is no more was deleted on purpose.
  const begun = earlier?.state === 'frozen' ? undefined : earlier;
  if (!begun && plan.uuid === undefined) return fresh;
  return { uuid, registered, trusted: begun !== undefined || registered === undefined, done: false };
}

function drawUuid(): DatasetUuid {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- that is what a random UUID is
  return randomUUID() as DatasetUuid;
}
