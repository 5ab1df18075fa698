import {
  ADMIN_METADATA,
  type DatasetKeyPrefix,
  datasetKeyPrefix,
  type DatasetUuid,
  registrationKey,
} from '../ecs/dtool/keys.ts';
import type { AdminMetadata } from '../ecs/dtool/admin-metadata.ts';
import { abandonUploads } from '../ecs/multipart-upload.ts';
import { listAll, type ObjectStore, StoreError } from '../ecs/object-store.ts';
import { UserError } from '../errors.ts';
import { forEachBounded } from '../for-each-bounded.ts';
import { DISCARD_KEYS_PER_BATCH, FREEZE_UPLOADS_MAX } from '../limits.ts';
import { DiscardMark, DiscardMarks } from './discard-marks.ts';
import { findDataset, readAdminIfThere, type RegisteredDataset } from './registration.ts';

/** What a bucket has of a dataset that is not frozen. */
export interface Remains {
  readonly prefix: string;
  /** Undefined where it is missing. */
  readonly admin: AdminMetadata | undefined;
  /** Objects besides the registration key, and their bytes. */
  readonly objects: number;
  readonly bytes: number;
}

export interface DiscardOptions {
  readonly signal?: AbortSignal;
  /** Where the dataset may be although it is not registered (any more); see `FreezeOptions.writePrefix`. */
  readonly writePrefix?: string;
}

export interface Discarded {
  /** Objects that were removed, marks excepted; 0 when there were none. */
  readonly removed: number;
  /** Whether a freeze has committed the dataset meanwhile. It will say that the dataset was discarded. */
  readonly wasCommitted: boolean;
}

/**
 * What a freeze that was not finished has left in a bucket.
 *
 * @returns undefined when there is nothing that could be found
 * @throws UserError when the dataset is frozen; StoreError
 */
export async function findRemains(
  store: ObjectStore,
  uuid: DatasetUuid,
  options: DiscardOptions = {},
): Promise<Remains | undefined> {
  const { signal = new AbortController().signal } = options;
  const found = await find(store, uuid, options, signal);
  if (!found) return undefined;
  const keyPrefix = datasetKeyPrefix(found.prefix, uuid);
  if (found.admin?.type === 'dataset') {
    const marks = await DiscardMarks.list(store, keyPrefix, signal);
    if (!(await marks.areLicence(store, keyPrefix, signal))) throw isFrozen(store, uuid, found);
  }
  let objects = 0;
  let bytes = 0;
  for await (const { size } of listAll(store, keyPrefix, { signal })) {
    objects += 1;
    bytes += size;
  }
  return { prefix: found.prefix, admin: found.admin, objects, bytes };
}

/**
 * Removes a dataset that was never frozen from a bucket, with uploads in parts that were not completed where the store lets
 * us. `discard-marks.ts` says how it and a freeze of the same dataset look after each other. Ended at any point, the next
 * call finds it and goes on.
 *
 * @throws UserError when the dataset is frozen, or the store does not let the user delete; StoreError
 */
export async function discardDataset(
  store: ObjectStore,
  uuid: DatasetUuid,
  options: DiscardOptions = {},
): Promise<Discarded> {
  const { signal = new AbortController().signal } = options;
  for (;;) {
    const found = await find(store, uuid, options, signal);
    if (!found) return { removed: 0, wasCommitted: false };
    const keyPrefix = datasetKeyPrefix(found.prefix, uuid);
    // Without a licence, others have done something meanwhile: it is looked at anew.
    if (!(await obtainLicence(store, uuid, found, keyPrefix, signal))) continue;
    const { removed, wasCommitted } = await removeDataset(store, uuid, keyPrefix, signal);
    return { removed: removed + (found.isRegistered ? 1 : 0), wasCommitted };
  }
}

/**
 * D1 to D4.
 *
 * @returns false where the mark was removed meanwhile: by a freeze that has committed, or with the whole dataset
 * @throws UserError when the dataset is frozen, or the store does not let the user delete; StoreError
 */
async function obtainLicence(
  store: ObjectStore,
  uuid: DatasetUuid,
  found: Found,
  keyPrefix: DatasetKeyPrefix,
  signal: AbortSignal,
): Promise<boolean> {
  const ended = await DiscardMarks.list(store, keyPrefix, signal);
  const canGoOn = ended.deleting.length > 0;
  if (found.admin?.type === 'dataset' && !canGoOn) throw isFrozen(store, uuid, found);
  const mark = new DiscardMark(store, keyPrefix);
  // A user who may not delete must not keep a freeze from its end.
  await deleteObject(store, mark.key, signal);
  await mark.ask(signal);
  const admin = await readAdminIfThere(store, keyPrefix, signal);
  const isCommitted = admin?.type === 'dataset';
  if (isCommitted ? canGoOn && (await mark.decide(ended, signal)) : await mark.decide(undefined, signal))
    return true;
  await mark.withdraw(signal);
  if (isCommitted) throw isFrozen(store, uuid, found);
  return false;
}

/**
 * Goes on with a discard for a freeze that it was faster than: removes what that freeze has put meanwhile. Does nothing where
 * no discard has a licence (any more).
 *
 * @throws as {@link removeDataset}
 */
export async function finishDiscard(
  store: ObjectStore,
  uuid: DatasetUuid,
  keyPrefix: DatasetKeyPrefix,
  signal: AbortSignal,
): Promise<void> {
  const marks = await DiscardMarks.list(store, keyPrefix, signal);
  const isLicensed = await marks.areLicence(store, keyPrefix, signal);
  if (isLicensed || !(await findDataset(store, uuid, signal)))
    await removeDataset(store, uuid, keyPrefix, signal);
}

/** Lists after which what a freeze still puts is left to that freeze. */
const LISTS_MAX = 3;

/**
 * Removes all that there is of a dataset: D5. What a freeze puts meanwhile goes as well: it can't end well any more.
 *
 * @param keyPrefix of a dataset that a discard has a licence for, or that is not registered any more
 * @throws UserError when the store does not let the user delete; StoreError
 */
export async function removeDataset(
  store: ObjectStore,
  uuid: DatasetUuid,
  keyPrefix: DatasetKeyPrefix,
  signal: AbortSignal,
): Promise<Discarded> {
  const adminKey = keyPrefix + ADMIN_METADATA;
  let removed = 0;
  const remove = async (key: string, taskSignal = signal): Promise<void> => {
    await deleteObject(store, key, taskSignal);
    removed += 1;
  };
  let wasCommitted = false;
  const marks: string[] = [];
  for (let lists = 1; lists <= LISTS_MAX; lists += 1) {
    const before = removed;
    let hasAdmin = false;
    marks.length = 0;
    for await (const keys of batches(listAll(store, keyPrefix, { signal }))) {
      const others = keys.filter((key) => !isMark(key, keyPrefix));
      marks.push(...keys.filter((key) => isMark(key, keyPrefix)));
      hasAdmin ||= others.includes(adminKey);
      const doomed = others.filter((key) => key !== adminKey);
      await forEachBounded(doomed, FREEZE_UPLOADS_MAX, remove, signal);
    }
    await abandonUploads(store, keyPrefix, { signal });
    if (hasAdmin) {
      const admin = await readAdminIfThere(store, keyPrefix, signal);
      wasCommitted ||= admin?.type === 'dataset';
      await remove(adminKey);
    }
    if (removed === before) break;
  }
  await deleteObject(store, registrationKey(uuid), signal);
  // They come last: with the registration key gone no freeze of this uuid can come to its end.
  for (const key of marks.toReversed()) await deleteObject(store, key, signal);
  return { removed, wasCommitted };
}

function isMark(key: string, keyPrefix: DatasetKeyPrefix): boolean {
  return DiscardMarks.includes(key.slice(keyPrefix.length));
}

async function* batches(objects: AsyncIterable<{ readonly key: string }>): AsyncGenerator<readonly string[]> {
  let keys: string[] = [];
  for await (const { key } of objects) {
    keys.push(key);
    if (keys.length < DISCARD_KEYS_PER_BATCH) continue;
    yield keys;
    keys = [];
  }
  yield keys;
}

interface Found extends RegisteredDataset {
  readonly isRegistered: boolean;
}

/** A dataset by its registration key, or where that is gone, by what is left where the user's datasets are. */
async function find(
  store: ObjectStore,
  uuid: DatasetUuid,
  { writePrefix }: DiscardOptions,
  signal: AbortSignal,
): Promise<Found | undefined> {
  const found = await findDataset(store, uuid, signal);
  if (found) return { ...found, isRegistered: true };
  if (writePrefix === undefined) return undefined;
  const keyPrefix = datasetKeyPrefix(writePrefix, uuid);
  const first = await listAll(store, keyPrefix, { signal }).next();
  if (first.done) return undefined;
  const admin = await readAdminIfThere(store, keyPrefix, signal);
  return { prefix: writePrefix, admin, isRegistered: false };
}

async function deleteObject(store: ObjectStore, key: string, signal: AbortSignal): Promise<void> {
  try {
    await store.delete(key, { priority: 'background', signal });
  } catch (cause) {
    if (!(cause instanceof StoreError && cause.reason === 'access-denied')) throw cause;
    throw new UserError(
      `deleting is not allowed (EACCES): ${cause.message}`,
      `Ask for an access policy that allows s3:DeleteObject on arn:aws:s3:::${store.bucket}/${key}; ` +
        'what is not deleted yet is found again by the same command.',
      { cause },
    );
  }
}

function isFrozen(store: ObjectStore, uuid: DatasetUuid, found?: Found): UserError {
  const { bucket } = store;
  if (found && !found.isRegistered) {
    const key = registrationKey(uuid);
    return new UserError(
      `bucket ${bucket} has a frozen dataset below ${found.prefix}${uuid}/ that is not registered; nothing of it is removed`,
      `Put the object ${key} with the content ${JSON.stringify(found.prefix)} to see it, or delete it with another client.`,
    );
  }
  return new UserError(
    `dataset ${uuid} in bucket ${bucket} is frozen, and nothing of it is removed`,
    `"dtool-ecs-mount ls ${bucket}/${uuid}" shows it.`,
  );
}
