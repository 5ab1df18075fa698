import { readAdminMetadata } from '../ecs/dtool/registry.ts';
import {
  ADMIN_METADATA,
  type DatasetKeyPrefix,
  datasetKeyPrefix,
  type DatasetUuid,
  registrationKey,
} from '../ecs/dtool/keys.ts';
import type { AdminMetadata } from '../ecs/dtool/admin-metadata.ts';
import { FormatError } from '../ecs/dtool/format-error.ts';
import { abandonUploads } from '../ecs/multipart-upload.ts';
import { listAll, type ObjectStore, StoreError } from '../ecs/object-store.ts';
import { UserError } from '../errors.ts';
import { forEachBounded } from '../for-each-bounded.ts';
import { DISCARD_DELETES_PER_CHECK, FREEZE_UPLOADS_MAX } from '../limits.ts';
import { findDataset } from './registration.ts';

/** What a bucket has of a dataset that is not frozen. */
export interface Remains {
  readonly prefix: string;
  /** Undefined where it is missing. */
  readonly admin: AdminMetadata | undefined;
  /** Objects besides the registration key, and their bytes. */
  readonly objects: number;
  readonly bytes: number;
}

/**
 * What a freeze that was not finished has left in a bucket.
 *
 * @returns undefined when the uuid is not registered: then there is nothing that could be found
 * @throws UserError when the dataset is frozen; StoreError
 */
export async function findRemains(
  store: ObjectStore,
  uuid: DatasetUuid,
  signal: AbortSignal = new AbortController().signal,
): Promise<Remains | undefined> {
  const found = await findDataset(store, uuid, signal);
  if (!found) return undefined;
  if (found.admin?.type === 'dataset') throw isFrozen(store, uuid);
  let objects = 0;
  let bytes = 0;
  for await (const { size } of listAll(store, datasetKeyPrefix(found.prefix, uuid), { signal })) {
    objects += 1;
    bytes += size;
  }
  return { ...found, objects, bytes };
}

/**
 * Removes a dataset that was never frozen from a bucket: what is in it first, with uploads in parts that were not
 * completed where the store lets us, then the admin metadata, and the registration key last. Ended at any point, the next call finds it and goes on. Whether the dataset has been frozen
 * meanwhile is looked at before every {@link DISCARD_DELETES_PER_CHECK} deletes.
 *
 * @returns the number of objects that it removed; 0 when the uuid is not registered
 * @throws UserError when the dataset is frozen, or the store does not let the user delete; StoreError
 */
export async function discardDataset(
  store: ObjectStore,
  uuid: DatasetUuid,
  signal: AbortSignal = new AbortController().signal,
): Promise<number> {
  const found = await findDataset(store, uuid, signal);
  if (!found) return 0;
  const keyPrefix = datasetKeyPrefix(found.prefix, uuid);
  let removed = 0;
  const remove = async (key: string, taskSignal = signal): Promise<void> => {
    await deleteObject(store, key, taskSignal);
    removed += 1;
  };
  let keys: string[] = [];
  const removeKeys = async (): Promise<void> => {
    await assertNotFrozen(store, uuid, keyPrefix, signal);
    await forEachBounded(keys, FREEZE_UPLOADS_MAX, remove, signal);
    keys = [];
  };
  for await (const { key } of listAll(store, keyPrefix, { signal })) {
    if (key !== keyPrefix + ADMIN_METADATA) keys.push(key);
    if (keys.length === DISCARD_DELETES_PER_CHECK) await removeKeys();
  }
  await removeKeys();
  await abandonUploads(store, keyPrefix, { signal });
  await remove(keyPrefix + ADMIN_METADATA);
  await remove(registrationKey(uuid));
  return removed;
}

async function assertNotFrozen(
  store: ObjectStore,
  uuid: DatasetUuid,
  keyPrefix: DatasetKeyPrefix,
  signal: AbortSignal,
): Promise<void> {
  try {
    const { admin } = await readAdminMetadata(store, keyPrefix, signal);
    const { type } = admin;
    if (type === 'dataset') throw isFrozen(store, uuid);
  } catch (error) {
    const missing = error instanceof FormatError && error.cause instanceof StoreError;
    if (!missing) throw error;
  }
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

function isFrozen(store: ObjectStore, uuid: DatasetUuid): UserError {
  return new UserError(
    `dataset ${uuid} in bucket ${store.bucket} is frozen, and nothing of it is removed`,
    `"dtool-ecs-mount ls ${store.bucket}/${uuid}" shows it.`,
  );
}
