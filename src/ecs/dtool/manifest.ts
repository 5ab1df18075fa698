import { FormatError, type ObjectAddress } from './format-error.ts';
import { isItemIdentifier, type ItemIdentifier } from './identifier.ts';
import { describe, isJsonObject, parseJson } from './json.ts';
import { pythonFloat, pythonString } from './python-json.ts';
import { isTimestamp } from './timestamp.ts';

/** What a frozen dataset says of one item. */
export interface ManifestItem {
  /** Names the object. Usually the SHA-1 of the relpath, but nothing relies on that: see {@link parseManifest}. */
  readonly identifier: ItemIdentifier;
  /** Any string, whatever it would do as a path: empty, `..`, with NUL, with half a surrogate pair. */
  readonly relpath: string;
  /** Bytes: a safe integer, 0 or more. */
  readonly size: number;
  /** Digest of the content by the manifest's hash function; any string. */
  readonly hash: string;
  /** When it was uploaded, in seconds since the epoch; off by the writer's time zone. A Date can hold it. */
  readonly timestamp: number;
}

/** The items of a frozen dataset; no two have one identifier, though two may have one relpath. */
export interface Manifest {
  readonly dtoolcoreVersion: string | undefined;
  /** `md5sum_hexdigest` in every dataset that an S3 or ECS broker of dtool wrote. */
  readonly hashFunction: string | undefined;
  /** In the manifest's order, which is that of the identifiers where dtool wrote it. */
  readonly items: readonly ManifestItem[];
}

/**
 * Reads `manifest.json`. Unknown keys are skipped, and of a key that is there twice the last value counts, as in
 * Python. An identifier that is not the SHA-1 of its relpath is taken as it is: dtool finds objects by the
 * identifier and files by the relpath and never compares the two.
 *
 * @throws FormatError that names the first item and field that are wrong
 */
export function parseManifest(body: Buffer, where: ObjectAddress): Manifest {
  const manifest = parseJson(body, where);
  const refuse = (what: string, value: unknown, belongs: string): never => {
    throw new FormatError(where, `${what} is ${describe(value)} where ${belongs} belongs`);
  };
  if (!isJsonObject(manifest)) return refuse('the manifest', manifest, 'an object');
  const { items, hash_function: hashFunction, dtoolcore_version: dtoolcoreVersion } = manifest;
  if (!isJsonObject(items)) return refuse('items', items, 'an object');
  if (hashFunction !== undefined && typeof hashFunction !== 'string') {
    return refuse('hash_function', hashFunction, 'a string');
  }
  if (dtoolcoreVersion !== undefined && typeof dtoolcoreVersion !== 'string') {
    return refuse('dtoolcore_version', dtoolcoreVersion, 'a string');
  }
  const parsed = Object.keys(items).map((identifier): ManifestItem => {
    const item = items[identifier];
    if (!isItemIdentifier(identifier)) {
      throw new FormatError(where, `the identifier ${describe(identifier)} is not 40 lower-case hex digits`);
    }
    if (!isJsonObject(item)) return refuse(`item ${identifier}`, item, 'an object');
    const { relpath, size_in_bytes: size, hash, utc_timestamp: timestamp } = item;
    if (typeof relpath !== 'string') return refuse(`relpath of item ${identifier}`, relpath, 'a string');
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
      return refuse(`size_in_bytes of item ${identifier}`, size, 'a whole number, 0 to 2^53 - 1,');
    }
    if (typeof hash !== 'string') return refuse(`hash of item ${identifier}`, hash, 'a string');
    if (!isTimestamp(timestamp)) {
      return refuse(`utc_timestamp of item ${identifier}`, timestamp, 'seconds since the epoch');
    }
    return { identifier, relpath, size, hash, timestamp };
  });
  return { dtoolcoreVersion, hashFunction, items: parsed };
}

/** The only hash function of datasets on S3 and ECS. */
export const HASH_FUNCTION = 'md5sum_hexdigest';

/**
 * The text of `manifest.json` in pieces, byte for byte as dtool writes it: keys sorted, indented by 2, ASCII.
 *
 * @param items in the order of their identifiers
 */
export function* renderManifest(
  dtoolcoreVersion: string,
  items: Iterable<ManifestItem>,
): Generator<string, void, undefined> {
  const head = [
    `  "dtoolcore_version": ${pythonString(dtoolcoreVersion)}`,
    `  "hash_function": "${HASH_FUNCTION}"`,
  ];
  yield `{\n${head.join(',\n')},\n  "items": {`;
  let first = true;
  for (const { identifier, hash, relpath, size, timestamp } of items) {
    const members = [
      `      "hash": ${pythonString(hash)}`,
      `      "relpath": ${pythonString(relpath)}`,
      `      "size_in_bytes": ${size}`,
      `      "utc_timestamp": ${pythonFloat(timestamp)}`,
    ];
    yield `${first ? '' : ','}\n    "${identifier}": {\n${members.join(',\n')}\n    }`;
    first = false;
  }
  yield first ? '}\n}' : '\n  }\n}';
}
