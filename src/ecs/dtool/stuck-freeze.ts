import { SMALL_OBJECT_MAX_BYTES } from '../../limits.ts';
import { StoreError, type ObjectStore } from '../object-store.ts';
import { type Problem, FormatError } from './format-error.ts';
import { isJsonObject, type JsonObject, parseJson } from './json.ts';
import { type DatasetKeyPrefix, type DatasetUuid, STRUCTURE } from './keys.ts';
import type { ProtoItem } from './proto-items.ts';
import { renderStructure, STORAGE_BROKER_VERSION } from './structure.ts';

/**
 * Proto datasets that dtool can't freeze. dtool-s3 writes relpaths as base64 from 0.14 on, and from 0.14.1 on it tells
 * from the version in `structure.json` whether to decode them. dtool-ecs 0.5.0 puts its own version there: what was
 * begun with an older dtool-s3 beside it, and is gone on with a newer one, is not found again, and the freeze dies with
 * a 404.
 */

/** A proto dataset in this state. */
export interface StuckFreeze extends Problem {
  /** Whether {@link healStuckFreeze} makes it whole: no item has a handle of the other kind, too. */
  readonly healable: boolean;
}

/** The first version of dtool-s3 that takes handles for base64. */
const BASE64_SINCE = [0, 14] as const;

/**
 * Whether a dataset that is not frozen is stuck. Costs one request, and only where handles are base64.
 *
 * @throws StoreError
 * @throws FormatError when `structure.json` is no JSON
 */
export async function findStuckFreeze(
  store: ObjectStore,
  keyPrefix: DatasetKeyPrefix,
  items: readonly ProtoItem[],
  signal?: AbortSignal,
): Promise<StuckFreeze | undefined> {
  const encoded = items.filter(({ handleIsBase64 }) => handleIsBase64).length;
  if (encoded === 0 || !(await takesHandlesAsTheyAre(store, keyPrefix, signal))) return undefined;
  const plain = items.length - encoded;
  const cause =
    'dtool will not find its items when it freezes it, since two versions that do not fit have written it';
  return {
    key: keyPrefix + STRUCTURE,
    reason:
      plain === 0
        ? `${cause}: "dtool-ecs-mount doctor ${store.bucket} --fix" sets storage_broker_version here to ${STORAGE_BROKER_VERSION}`
        : `${cause}; ${plain} of its ${items.length} items are of the older one: put all of them into a new dataset`,
    healable: plain === 0,
  };
}

/** Whether dtool reads the handles of a dataset without decoding them. */
export async function takesHandlesAsTheyAre(
  store: ObjectStore,
  keyPrefix: DatasetKeyPrefix,
  signal?: AbortSignal,
): Promise<boolean> {
  const version = (await readStructure(store, keyPrefix, signal))?.['storage_broker_version'];
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(String(version)) ?? [];
  // Without a version, dtool takes it for an old one.
  if (major === undefined || minor === undefined) return true;
  return Number(major) === BASE64_SINCE[0] && Number(minor) < BASE64_SINCE[1];
}

/**
 * Sets the one field of `structure.json` that keeps dtool from freezing a dataset; the others stay as they are.
 *
 * @throws StoreError
 */
export async function healStuckFreeze(
  store: ObjectStore,
  { uuid, keyPrefix }: { readonly uuid: DatasetUuid; readonly keyPrefix: DatasetKeyPrefix },
): Promise<void> {
  const structure = await readStructure(store, keyPrefix);
  const text = structure
    ? JSON.stringify({ ...structure, storage_broker_version: STORAGE_BROKER_VERSION }, null, 2)
    : renderStructure(uuid);
  await store.put(keyPrefix + STRUCTURE, Buffer.from(text));
}

async function readStructure(
  store: ObjectStore,
  keyPrefix: DatasetKeyPrefix,
  signal?: AbortSignal,
): Promise<JsonObject | undefined> {
  const where = { bucket: store.bucket, key: keyPrefix + STRUCTURE };
  try {
    const { body } = await store.get(where.key, SMALL_OBJECT_MAX_BYTES, { signal });
    const structure = parseJson(body, where);
    if (!isJsonObject(structure)) throw new FormatError(where, 'it is no JSON object');
    return structure;
  } catch (error) {
    if (error instanceof StoreError && error.reason === 'no-such-key') return undefined;
    throw error;
  }
}
