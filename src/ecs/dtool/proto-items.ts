import { forEachBounded } from '../../for-each-bounded.ts';
import { LISTING_READS_MAX, PROTO_ITEMS_MAX } from '../../limits.ts';
import { listAll, type ObjectStore } from '../object-store.ts';
import { FormatError, problemFrom, type Problem, ProblemList } from './format-error.ts';
import { identifierOf, isItemIdentifier, isUnicodeText, type ItemIdentifier } from './identifier.ts';
import { DATA, type DatasetKeyPrefix } from './keys.ts';

/** An item of a dataset that is not frozen, as its object tells. */
export interface ProtoItem {
  /** SHA-1 of the relpath, always. */
  readonly identifier: ItemIdentifier;
  readonly relpath: string;
  /** Whether the handle is the relpath in base64, as dtool-s3 from 0.14 on writes it, or else the relpath itself. */
  readonly handleIsBase64: boolean;
  /** Bytes. */
  readonly size: number;
  /** What the writer found as MD5 of the content, if it said. */
  readonly hash: string | undefined;
  /** When the object was written, in seconds since the epoch. */
  readonly timestamp: number;
}

/** Both sorted by identifier and key. */
export interface ProtoItems {
  readonly items: readonly ProtoItem[];
  readonly problems: readonly Problem[];
}

/**
 * The items of a dataset without manifest: costs the pages of a list and one request an item.
 *
 * @throws StoreError when the list fails, or the store or the credentials do; what is wrong with one object is a
 *   problem in the result
 * @throws FormatError when there are more than {@link PROTO_ITEMS_MAX}: some of them would pass for all
 */
export async function readProtoItems(
  store: ObjectStore,
  keyPrefix: DatasetKeyPrefix,
  signal?: AbortSignal,
): Promise<ProtoItems> {
  const items: ProtoItem[] = [];
  const folder = keyPrefix + DATA;
  const problems = new ProblemList(folder);

  const keys: string[] = [];
  for await (const { key } of listAll(store, folder, { signal })) {
    if (keys.length === PROTO_ITEMS_MAX)
      throw new FormatError(
        { bucket: store.bucket, key: folder },
        `it is not frozen and has more than ${PROTO_ITEMS_MAX} items: they can't be shown`,
      );
    keys.push(key);
  }
  const readOne = async (key: string, taskSignal: AbortSignal): Promise<void> => {
    try {
      const where = { bucket: store.bucket, key };
      const identifier = key.slice(folder.length);
      if (!isItemIdentifier(identifier)) throw new FormatError(where, 'its name is no item identifier');
      const { metadata, size, lastModified } = await store.head(key, { signal: taskSignal });
      const handle = metadata['handle'];
      if (handle === undefined) {
        throw new FormatError(where, 'it has no `handle` in its user metadata that would say its relpath');
      }
      const relpath = relpathOfHandle(handle, identifier);
      if (relpath === undefined)
        throw new FormatError(where, 'its `handle` does not belong to its identifier');
      items.push({
        identifier,
        relpath,
        handleIsBase64: relpath !== handle && relpath === textOfBase64(handle),
        size,
        hash: metadata['checksum'],
        timestamp: lastModified / 1000,
      });
    } catch (error) {
      problems.push(problemFrom(error));
    }
  };
  await forEachBounded(keys, LISTING_READS_MAX, readOne, signal);

  return {
    items: items.toSorted((a, b) => (a.identifier < b.identifier ? -1 : 1)),
    problems: problems.sorted(),
  };
}

/**
 * The relpath that a handle stands for: as it is (dtool-s3 before 0.14) or from base64 of UTF-8, whichever has the
 * identifier as SHA-1. The broker version in `structure.json` would be the other way to tell, but can't be trusted.
 * HTTP clients read header bytes as Latin-1, so a handle with raw UTF-8 in it is tried both ways.
 */
export function relpathOfHandle(handle: string, identifier: ItemIdentifier): string | undefined {
  const candidates = [handle, textOfBase64(handle), Buffer.from(handle, 'latin1').toString('utf8')];
  return candidates.find((relpath) => isUnicodeText(relpath) && identifierOf(relpath) === identifier);
}

function textOfBase64(text: string): string {
  return Buffer.from(text, 'base64').toString('utf8');
}
