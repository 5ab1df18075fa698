import { createHash } from 'node:crypto';
import type { AdminMetadata } from '../ecs/dtool/admin-metadata.ts';
import { FormatError } from '../ecs/dtool/format-error.ts';
import { decodeUtf8 } from '../ecs/dtool/json.ts';
import {
  type DatasetKeyPrefix,
  datasetKeyPrefix,
  type DatasetUuid,
  registrationKey,
} from '../ecs/dtool/keys.ts';
import { readAdminMetadata } from '../ecs/dtool/registry.ts';
import { type ObjectStore, StoreError } from '../ecs/object-store.ts';
import { UserError } from '../errors.ts';
import { REGISTRATION_KEY_BODY_MAX_BYTES } from '../limits.ts';
import { putObject } from './dataset-writer.ts';

/** What a bucket has under a uuid. */
export interface RegisteredDataset {
  /** The registration key's body verbatim. */
  readonly prefix: string;
  /** Undefined while it is not there. */
  readonly admin: AdminMetadata | undefined;
}

/**
 * Finds a dataset by its uuid, in one or two requests.
 *
 * @returns undefined when the uuid is not registered
 * @throws StoreError, FormatError
 */
export async function findDataset(
  store: ObjectStore,
  uuid: DatasetUuid,
  signal: AbortSignal,
): Promise<RegisteredDataset | undefined> {
  const key = registrationKey(uuid);
  let prefix: string;
  try {
    const { body } = await store.get(key, REGISTRATION_KEY_BODY_MAX_BYTES, { signal });
    prefix = decodeUtf8(body, { bucket: store.bucket, key });
  } catch (error) {
    if (error instanceof StoreError && error.reason === 'no-such-key') return undefined;
    throw error;
  }
  return { prefix, admin: await readAdminIfThere(store, datasetKeyPrefix(prefix, uuid), signal) };
}

/**
 * The admin metadata of a dataset.
 *
 * @returns undefined when it is not there
 * @throws StoreError, FormatError
 */
export async function readAdminIfThere(
  store: ObjectStore,
  keyPrefix: DatasetKeyPrefix,
  signal: AbortSignal,
): Promise<AdminMetadata | undefined> {
  try {
    const { admin } = await readAdminMetadata(store, keyPrefix, signal);
    return admin;
  } catch (error) {
    const missing = error instanceof FormatError && error.cause instanceof StoreError;
    if (missing) return undefined;
    throw error;
  }
}

/** Conditional puts of which it is not known whether they came to anything, before the last one fails. */
const REGISTER_TRIES_MAX = 5;

/**
 * Registers a uuid that was not registered a moment ago, without replacing a registration that somebody else makes
 * meanwhile, where the store can do that.
 *
 * @throws UserError when somebody else was faster
 */
export async function register(
  store: ObjectStore,
  uuid: DatasetUuid,
  prefix: string,
  signal: AbortSignal,
): Promise<void> {
  const key = registrationKey(uuid);
  const body = Buffer.from(prefix);
  const md5 = createHash('md5').update(body).digest();
  for (let tries = 1; ; tries += 1) {
    try {
      return await putObject(store, key, body, { signal, md5, ifNoneMatch: '*' });
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      // The store knows no conditions.
      if (error.reason === 'bad-request') return await putObject(store, key, body, { signal, md5 });
      const unknown = error.retryable && tries < REGISTER_TRIES_MAX;
      if (error.reason !== 'precondition-failed' && !unknown) throw error;
    }
    const found = await findDataset(store, uuid, signal);
    // Ours, if an earlier try came to something after all.
    if (tries > 1 && found?.prefix === prefix && !found.admin) return;
    if (found) throw justRegistered(store.bucket, uuid);
  }
}

export function justRegistered(bucket: string, uuid: DatasetUuid): UserError {
  return new UserError(
    `somebody else has just registered dataset ${uuid} in bucket ${bucket}`,
    'Freeze again once that is done: a copy of a dataset has its uuid.',
  );
}

/** A frozen dataset is never written to. */
export function alreadyFrozen(bucket: string, uuid: DatasetUuid): UserError {
  return new UserError(
    `bucket ${bucket} has a frozen dataset ${uuid} already, which is left as it is`,
    `"dtool-ecs-mount ls ${bucket}/${uuid}" shows it. A copy under a new uuid: copy data/ and README.yml alone.`,
  );
}
