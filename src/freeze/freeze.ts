import { randomUUID } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Clock } from '../clock.ts';
import { type DatasetKeyPrefix, datasetKeyPrefix, type DatasetUuid } from '../ecs/dtool/keys.ts';
import type { ManifestItem } from '../ecs/dtool/item-table.ts';
import { listAll, type ObjectStore } from '../ecs/object-store.ts';
import { ContainedDirectory } from '../contained-directory.ts';
import { hasErrorCode, messageOf, UserError } from '../errors.ts';
import { chooseDataset } from './choose-dataset.ts';
import { DatasetDiscarded, lookAtCommitted, lostError } from './committed-dataset.ts';
import { WriteRefused } from './dataset-writer.ts';
import { finishDiscard } from './discard.ts';
import type { FileHasher, OpenableFile } from './file-hasher.ts';
import { type TakenMark, takeMark } from './freeze-mark.ts';
import { FreezeJournal, type JournalEntry } from './journal.ts';
import { type FreezePlan, planFreeze } from './plan.ts';
import type { FreezeProblem } from './problems.ts';
import { PresentObjects } from './present-objects.ts';
import { type FreezeProgress, ProgressCounter } from './progress.ts';
import type { FreezeUser } from './readme.ts';
import { UnfinishedUploads } from './unfinished-uploads.ts';
import { DEFAULT_PART_SIZES, type PartSizes } from './upload-in-parts.ts';
import { ForeignKeys, manifestItem, writeDataset } from './write-dataset.ts';

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
  /** Patterns of items that are left out, see `ignoring`. Default: as the freeze said that this one goes on with. */
  readonly ignore?: readonly string[] | undefined;
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
  /** As the manifest has them, with each one's file, which can be opened until the freeze resolves. */
  readonly items: Iterable<ManifestItem & OpenableFile>;
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
 * @throws DatasetDiscarded when the dataset was discarded meanwhile: the next call makes a new one
 * @throws DiscardUnderWay when nobody can know yet whether it is discarded
 * @throws DatasetIncomplete when something of it was gone after the commit: the next call puts that
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
  await using folder = await ContainedDirectory.open(resolve(options.directory)).catch((cause: unknown) => {
    const reason = hasErrorCode(cause, 'ENOTDIR') ? 'it is no directory' : messageOf(cause);
    throw new UserError(`${options.directory} can't be frozen: ${reason}`, undefined, { cause });
  });
  const journal = new FreezeJournal(journals, { directory, endpoint, bucket: store.bucket });
  if (dryRun) return await run(options, folder, journal);
  const lock = await journal.lock();
  try {
    return await run(options, folder, journal);
  } finally {
    await lock.release();
  }
}

async function run(
  options: FreezeOptions,
  folder: ContainedDirectory,
  journal: FreezeJournal,
): Promise<FreezeResult> {
  const { store, clock, user, hasher, signal, writePrefix, onProgress = () => {}, dryRun } = options;
  const entry = await journal.read();
  const unfinished = entry?.state === 'frozen' ? undefined : entry;
  const createdAt = unfinished?.createdAt ?? clock.now() / 1000;
  const ignore = options.ignore ?? entry?.ignore;
  const plan = await planFreeze({
    directory: resolve(options.directory),
    folder,
    name: options.name,
    defaultName: options.defaultName,
    user,
    createdAt,
    hasher,
    signal,
    onProgress,
    obstacles: options.obstacles,
    ignore,
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
  const { committed } = choice;
  const lookAgain = committed && {
    store,
    plan,
    ...committed,
    prefix: committed.registered.prefix,
    keyPrefix: datasetKeyPrefix(committed.registered.prefix, committed.uuid),
    frozenAt: committed.at,
    signal,
  };
  if (lookAgain && dryRun) return { ...result, outcome: 'already-frozen', uploadedItems: 0 };
  if (dryRun) return { ...result, outcome: 'dry-run', uploadedItems: undefined };
  if (!lookAgain && options.onlyFinish) return { ...result, outcome: 'unfinished', uploadedItems: 0 };

  const uuid = choice.uuid ?? drawUuid();
  const prefix = choice.registered?.prefix ?? writePrefix;
  const keyPrefix = datasetKeyPrefix(prefix, uuid);
  const began: JournalEntry = {
    version: 1,
    state: 'uploading',
    directory: folder.path,
    endpoint: options.endpoint,
    bucket: store.bucket,
    uuid,
    name: plan.admin.name,
    createdAt,
    keep: options.keep,
    ignore,
  };
  let mark: TakenMark | undefined;
  try {
    let incomplete: PresentObjects | undefined;
    if (lookAgain && entry) {
      const verdict = await lookAtCommitted(lookAgain);
      if (verdict.state === 'whole') {
        const { keep = entry.keep } = options;
        if (entry.state !== 'frozen' || entry.keep !== keep)
          await journal.write({ ...entry, state: 'frozen', keep });
        return { ...result, outcome: 'already-frozen', uploadedItems: 0 };
      }
      await journal.write({ ...entry, state: 'committing' });
      if (verdict.state !== 'incomplete' || options.onlyFinish) throw lostError(store.bucket, uuid, verdict);
      incomplete = verdict.present;
    }
    if (plan.uuid !== undefined && !incomplete)
      mark = await takeMark({ store, uuid, prefix, keyPrefix, journal, entry, began, signal });
    const registered = mark ? mark.registered : choice.registered;
    const present = incomplete ?? new PresentObjects(keyPrefix, plan.source.items);
    if (!incomplete && (registered || mark))
      for await (const object of listAll(store, keyPrefix, { signal })) present.add(object);
    const progress = new ProgressCounter('uploading', result.items, plan.totalBytes, onProgress);
    await writeDataset({
      store,
      plan: committed ? { ...plan, md5s: committed.md5s } : plan,
      uuid,
      prefix,
      keyPrefix,
      registered,
      committedAt: incomplete && committed?.at,
      present,
      trusted: choice.trusted || (!registered && present.size === 0),
      journal,
      began: mark ? { ...began, mark: mark.id } : began,
      unfinished: await UnfinishedUploads.open(journal.uploadsPath),
      partSizes: options.partSizes ?? DEFAULT_PART_SIZES,
      hasher,
      clock,
      signal,
      progress,
    });
    await mark?.release();
    const { skipped } = progress.current;
    await options.onFrozen?.({ uuid, keyPrefix, items: frozenItems(plan) });
    return { ...result, uuid, outcome: 'frozen', uploadedItems: result.items - skipped };
  } catch (error) {
    if (error instanceof ForeignKeys || error instanceof WriteRefused) await mark?.abandon();
    if (!(error instanceof DatasetDiscarded)) throw error;
    return await giveUp(error, {
      store,
      uuid,
      keyPrefix,
      journal,
      isOwn: plan.uuid === undefined,
      began,
      signal,
    });
  }
}

interface GivingUp {
  readonly store: ObjectStore;
  readonly uuid: DatasetUuid;
  readonly keyPrefix: DatasetKeyPrefix;
  readonly journal: FreezeJournal;
  /** Whether the uuid was drawn for this directory, so that nobody else puts anything below it. */
  readonly isOwn: boolean;
  readonly began: JournalEntry;
  readonly signal: AbortSignal;
}

/** Forgets a dataset that was discarded. What this freeze has put there after that goes as well, where no other can have put it. */
async function giveUp(
  error: DatasetDiscarded,
  { store, uuid, keyPrefix, journal, isOwn, began, signal }: GivingUp,
): Promise<never> {
  if (!isOwn) {
    await journal.write({
      ...began,
      ...(await journal.read()),
      state: 'failed',
      content: undefined,
      frozenAt: undefined,
    });
    throw new UserError(
      error.message,
      `"dtool-ecs-mount discard ${uuid} --bucket ${store.bucket}" brings that to its end; then freeze again.`,
      { cause: error },
    );
  }
  try {
    await finishDiscard(store, uuid, keyPrefix, signal);
  } catch (cause) {
    throw new UserError(
      `${error.message}; some of it is still in the bucket: ${messageOf(cause)}`,
      `"dtool-ecs-mount discard ${uuid} --bucket ${store.bucket}" removes that. ${error.advice}`,
      { cause },
    );
  } finally {
    await journal.remove();
  }
  throw error;
}

function* frozenItems({ source, md5s }: FreezePlan): Generator<ManifestItem & OpenableFile> {
  for (const item of source.items) {
    const described = source.manifest?.items.get(item.identifier) ?? manifestItem(item, md5s);
    yield { ...described, path: item.path, open: item.open };
  }
}

function drawUuid(): DatasetUuid {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- that is what a random UUID is
  return randomUUID() as DatasetUuid;
}
