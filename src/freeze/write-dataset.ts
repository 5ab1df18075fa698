import type { Clock } from '../clock.ts';
import { type AdminMetadata, renderAdminMetadata } from '../ecs/dtool/admin-metadata.ts';
import { DTOOL_README_TXT } from '../ecs/dtool/dtool-readme.ts';
import {
  ADMIN_METADATA,
  ANNOTATIONS,
  type DatasetKeyPrefix,
  type DatasetUuid,
  DTOOL_README,
  MANIFEST,
  OVERLAYS,
  README,
  registrationKey,
  STRUCTURE,
  TAGS,
} from '../ecs/dtool/keys.ts';
import type { ManifestItem } from '../ecs/dtool/item-table.ts';
import { renderManifest } from '../ecs/dtool/manifest.ts';
import { DTOOLCORE_VERSION, renderStructure } from '../ecs/dtool/structure.ts';
import { itemTimestamp } from '../ecs/dtool/timestamp.ts';
import { abandonUpload, abandonUploads } from '../ecs/multipart-upload.ts';
import type { ObjectStore } from '../ecs/object-store.ts';
import { messageOf, UserError } from '../errors.ts';
import { forEachBounded } from '../for-each-bounded.ts';
import { FREEZE_UPLOADS_MAX } from '../limits.ts';
import { DatasetDiscarded, lostError, lookAtCommitted, pathsBesideItems } from './committed-dataset.ts';
import { DatasetWriter, WriteRefused } from './dataset-writer.ts';
import { DiscardMarks } from './discard-marks.ts';
import type { FileHasher } from './file-hasher.ts';
import type { ItemMd5s } from './item-md5.ts';
import type { SourceItem } from './item-table.ts';
import type { FreezeJournal, JournalEntry } from './journal.ts';
import { contentDigest, type FreezePlan } from './plan.ts';
import type { PresentObjects } from './present-objects.ts';
import type { ProgressCounter } from './progress.ts';
import {
  alreadyFrozen,
  findDataset,
  readAdminIfThere,
  register,
  type RegisteredDataset,
} from './registration.ts';
import type { UnfinishedUploads } from './unfinished-uploads.ts';
import { uploadItems } from './upload.ts';
import type { PartSizes } from './upload-in-parts.ts';

export interface WriteOptions {
  readonly store: ObjectStore;
  readonly plan: FreezePlan;
  readonly uuid: DatasetUuid;
  readonly prefix: string;
  readonly keyPrefix: DatasetKeyPrefix;
  /** What the bucket had under the uuid a moment ago; not frozen, unless it is to be mended. */
  readonly registered: RegisteredDataset | undefined;
  /** Of an earlier commit of this freeze that something is missing of, in seconds since the epoch. */
  readonly committedAt: number | undefined;
  /** All that the bucket has below the key prefix. */
  readonly present: PresentObjects;
  /** Whether that can only come from a freeze of this directory by us. */
  readonly trusted: boolean;
  readonly journal: FreezeJournal;
  /** What the journal says from now on. */
  readonly began: JournalEntry;
  /** What is remembered of uploads in parts. */
  readonly unfinished: UnfinishedUploads;
  readonly partSizes: PartSizes;
  readonly hasher: FileHasher;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly progress: ProgressCounter;
}

/**
 * Writes a dataset, in the order that every version of dtool can live with: until the last request it is a proto
 * dataset to all readers.
 *
 *  1. the journal: `uploading`
 *  2. the registration key
 *  3. structure.json, README.txt
 *  4. admin metadata of a proto dataset
 *  5. README.yml
 *  6. the items
 *  7. tags, annotations
 *  8. away with what an earlier freeze of a directory that has changed since has left, uploads in parts among it
 *  9. the journal: `committing`
 * 10. manifest.json, overlays
 * 11. a look whether the dataset has been frozen or discarded from elsewhere meanwhile
 * 12. admin metadata of a dataset: the commit
 * 13. a look at all that is there: {@link lookAtCommitted}
 * 14. the journal: `frozen`
 *
 * Every step may be repeated. Steps 2 and 3 show whether the user may write where the items go. Of a dataset that was committed
 * and is not whole, only what is missing is put; it stays a dataset meanwhile.
 *
 * @throws DatasetDiscarded, DiscardUnderWay
 * @throws DatasetIncomplete when something was missing at the last look: the next freeze puts that
 */
export async function writeDataset(options: WriteOptions): Promise<void> {
  const { store, plan, uuid, prefix, keyPrefix, journal, began, clock, committedAt, signal } = options;
  const { source } = plan;
  const isMending = committedAt !== undefined;
  // What was made anew may differ from what was committed: the first one counts.
  const kept = isMending ? options.present.others : new Map<string, unknown>();
  const writer = new DatasetWriter(store, keyPrefix, signal, (path) => kept.has(path));
  const extra = pathsBeyondPlan(options);
  if (!options.trusted && extra.length > 0)
    throw new ForeignKeys(
      store.bucket,
      uuid,
      extra.map((path) => keyPrefix + path),
    );

  await requireNoDiscard(options, options.present.discards);
  if (!isMending) await journal.write(began);
  const proto: AdminMetadata = { ...plan.admin, uuid, type: 'protodataset', frozenAt: undefined };
  await claim(options, proto, writer);
  await writer.put(DTOOL_README, DTOOL_README_TXT);
  const before = options.registered?.admin;
  // A proto dataset that says the same is left alone: were it frozen this moment, this would undo it.
  if (!isMending && (!before || renderAdminMetadata(before) !== renderAdminMetadata(proto)))
    await writer.putAdmin(proto);
  await writer.put(README, plan.readme);

  const { md5s } = plan;
  await uploadItems({ ...options, items: source.items, md5s });
  const small = [
    ...source.tags.map((tag) => [TAGS + tag, Buffer.of()] as const),
    ...Array.from(source.annotations, ([name, body]) => [`${ANNOTATIONS}${name}.json`, body] as const),
  ];
  await forEachBounded(small, FREEZE_UPLOADS_MAX, ([path, body]) => writer.put(path, body), signal);
  const deleteOne = (path: string, taskSignal: AbortSignal): Promise<void> =>
    store.delete(keyPrefix + path, { priority: 'background', signal: taskSignal });
  if (!isMending) await forEachBounded(extra, FREEZE_UPLOADS_MAX, deleteOne, signal);
  await abandonRest(options);

  const frozenAt = committedAt ?? plan.admin.frozenAt ?? clock.now() / 1000;
  const committing = { ...began, frozenAt, content: await contentDigest(plan, md5s) };
  await journal.write({ ...committing, state: 'committing' });
  options.progress.enter('committing');
  if (source.manifest) await writer.put(MANIFEST, source.manifest.body);
  else
    await writer.putGenerated(MANIFEST, () => renderManifest(DTOOLCORE_VERSION, manifestItems(plan, md5s)));
  const overlays = Array.from(source.overlays, ([name, body]) => [`${OVERLAYS}${name}.json`, body] as const);
  await forEachBounded(overlays, FREEZE_UPLOADS_MAX, ([path, body]) => writer.put(path, body), signal);
  await requireNoDiscard(options, await DiscardMarks.list(store, keyPrefix, signal));
  if (!isMending) {
    const now = await readAdminIfThere(store, keyPrefix, signal);
    if (!now) throw new DatasetDiscarded(store.bucket, uuid);
    if (now.type === 'dataset') throw alreadyFrozen(store.bucket, uuid);
    await writer.putAdmin({ ...proto, type: 'dataset', frozenAt });
  }
  const verdict = await lookAtCommitted({ store, uuid, prefix, keyPrefix, plan, md5s, frozenAt, signal });
  if (verdict.state !== 'whole') throw lostError(store.bucket, uuid, verdict);
  await journal.write({ ...committing, state: 'frozen' });
}

/** Nothing is put into a dataset that is being deleted. A discard that has not decided yet is overruled after the commit. */
async function requireNoDiscard(
  { store, uuid, keyPrefix, signal }: WriteOptions,
  marks: DiscardMarks,
): Promise<void> {
  if (marks.deleting.length === 0) return;
  const isDeleted =
    (await marks.areLicence(store, keyPrefix, signal)) || !(await findDataset(store, uuid, signal));
  throw lostError(store.bucket, uuid, { state: isDeleted ? 'discarded' : 'contested' });
}

/** Uploads in parts that nobody completes: of what has changed, or lost by a crash. */
async function abandonRest({ store, keyPrefix, unfinished, signal }: WriteOptions): Promise<void> {
  for (const upload of unfinished.all()) await abandonUpload(store, upload, { signal });
  if (unfinished.used) await abandonUploads(store, keyPrefix, { signal });
  await unfinished.remove();
}

/** Steps 2 and 3, which leave nothing behind when the user may not write. */
async function claim(options: WriteOptions, proto: AdminMetadata, writer: DatasetWriter): Promise<void> {
  const { store, uuid, prefix, registered, trusted, present, journal, signal } = options;
  let isRegistered = registered !== undefined;
  try {
    // Left behind, it could say that the dataset is frozen: nobody sees it yet.
    if (!isRegistered && present.others.has(ADMIN_METADATA)) await writer.putAdmin(proto);
    if (!isRegistered) await register(store, uuid, prefix, signal);
    isRegistered = true;
    await writer.put(STRUCTURE, renderStructure(uuid));
  } catch (error) {
    if (!(error instanceof WriteRefused) || !trusted || present.size > 0) throw error;
    try {
      if (isRegistered) await store.delete(registrationKey(uuid), { signal });
    } catch (cause) {
      throw new UserError(
        `${error.message}; its registration key ${registrationKey(uuid)} could not be removed: ${messageOf(cause)}`,
        error.advice,
        { cause: error },
      );
    }
    await journal.remove();
    throw error;
  }
}

/** Paths of the dataset in the bucket that it will not have. */
function pathsBeyondPlan({ plan, present }: WriteOptions): readonly string[] {
  const paths = pathsBesideItems(plan.source);
  return [...present.others.keys()].filter((path) => !paths.has(path));
}

/** The bucket has things of an unfinished dataset that the directory has not. */
export class ForeignKeys extends UserError {
  constructor(bucket: string, uuid: DatasetUuid, keys: readonly string[]) {
    super(
      `bucket ${bucket} has an unfinished dataset ${uuid} with things that the directory has not, such as ${keys[0]} ` +
        `(${keys.length} in all)`,
      'Somebody may be working on it there. Finish it with dtool, or delete it.',
    );
  }
}

function* manifestItems({ source }: FreezePlan, md5s: ItemMd5s): Generator<ManifestItem, void, undefined> {
  for (const item of source.items) yield manifestItem(item, md5s);
}

/** A file as the manifest has it. */
export function manifestItem(item: SourceItem, md5s: ItemMd5s): ManifestItem {
  const { identifier, relpath, size, mtimeNs } = item;
  const hash = md5s.get(item) ?? '';
  return { identifier, relpath, size, hash, timestamp: itemTimestamp(mtimeNs) };
}
