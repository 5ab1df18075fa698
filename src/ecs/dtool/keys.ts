import type { ItemIdentifier } from './identifier.ts';

declare const uuidBrand: unique symbol;
declare const keyPrefixBrand: unique symbol;

/** A dataset's uuid as its registration key has it: 8-4-4-4-12 hex digits in either case, kept as written. */
export type DatasetUuid = string & { readonly [uuidBrand]: true };

/** What all keys of one dataset but the registration key start with: prefix, uuid and a slash. */
export type DatasetKeyPrefix = string & { readonly [keyPrefixBrand]: true };

/** What registration keys start with. Other keys that start with `dtool` are no datasets. */
export const REGISTRATION_PREFIX = 'dtool-';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isDatasetUuid(text: string): text is DatasetUuid {
  return UUID.test(text);
}

/** The dataset that a key registers; undefined for a key that registers none. */
export function uuidOfRegistrationKey(key: string): DatasetUuid | undefined {
  if (!key.startsWith(REGISTRATION_PREFIX)) return undefined;
  const uuid = key.slice(REGISTRATION_PREFIX.length);
  return isDatasetUuid(uuid) ? uuid : undefined;
}

export function registrationKey(uuid: DatasetUuid): string {
  return REGISTRATION_PREFIX + uuid;
}

/**
 * Where a dataset's keys are.
 *
 * @param prefix the registration key's body verbatim: nothing comes between it and the uuid, so that without a slash
 *   at its end keys look like `u/olssont<uuid>/dtool`
 */
export function datasetKeyPrefix(prefix: string, uuid: DatasetUuid): DatasetKeyPrefix {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- here is where the brand comes from
  return `${prefix}${uuid}/` as DatasetKeyPrefix;
}

/** The objects of a dataset that there is one of, relative to its key prefix. */
export const ADMIN_METADATA = 'dtool';
export const STRUCTURE = 'structure.json';
export const DTOOL_README = 'README.txt';
export const README = 'README.yml';
export const MANIFEST = 'manifest.json';

/** The folders of a dataset, relative to its key prefix. */
export const DATA = 'data/';
export const OVERLAYS = 'overlays/';
export const ANNOTATIONS = 'annotations/';
export const TAGS = 'tags/';

/** Key of an item's content. */
export function itemKey(keyPrefix: DatasetKeyPrefix, identifier: ItemIdentifier): string {
  return keyPrefix + DATA + identifier;
}
