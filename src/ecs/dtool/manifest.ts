import { MANIFEST_CHUNK_BYTES } from '../../limits.ts';
import { FormatError, type ObjectAddress } from './format-error.ts';
import { ItemTable, type ManifestItem } from './item-table.ts';
import { parseManifestText } from './parse-manifest.ts';
import { pythonFloat, pythonString } from './python-json.ts';

/** The items of a frozen dataset; no two have one identifier, though two may have one relpath. */
export interface Manifest {
  readonly dtoolcoreVersion: string | undefined;
  /** `md5sum_hexdigest` in every dataset that an S3 or ECS broker of dtool wrote. */
  readonly hashFunction: string | undefined;
  /** In the manifest's order, which is that of the identifiers where dtool wrote it. */
  readonly items: ItemTable;
}

/**
 * Reads `manifest.json`, here and now: large ones are better read in a thread, see `ManifestThreads`. Unknown keys are
 * skipped, and of a key that is there twice the last value counts, as in Python. An identifier that is not the SHA-1
 * of its relpath is taken as it is: dtool finds objects by the identifier and files by the relpath and never compares
 * the two.
 *
 * @throws FormatError that names the first item and field that are wrong
 */
export function parseManifest(body: Uint8Array, where: ObjectAddress): Manifest {
  let at = 0;
  const parsed = parseManifestText(() => {
    if (at >= body.length) return undefined;
    at += MANIFEST_CHUNK_BYTES;
    return body.subarray(at - MANIFEST_CHUNK_BYTES, at);
  });
  if ('flaw' in parsed) throw new FormatError(where, parsed.flaw);
  const { dtoolcoreVersion, hashFunction, columns } = parsed;
  return { dtoolcoreVersion, hashFunction, items: new ItemTable(columns) };
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
