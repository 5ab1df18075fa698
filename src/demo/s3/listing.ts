import { compareUtf8, partitionPoint, type SortedMap } from './sorted-map.ts';

export interface ListQuery {
  readonly prefix: string;
  /** Empty for none. */
  readonly delimiter: string;
  /**
   * Keys up to and including this one are left out and, where it is a common prefix of this listing, the keys below it.
   * Empty for the start.
   */
  readonly after: string;
  /** Keys and common prefixes together, 0 or more. */
  readonly max: number;
}

export interface Listing<T> {
  readonly entries: readonly T[];
  readonly commonPrefixes: readonly string[];
  /** Where the next page goes on (its `after`); undefined on the last page, and always when `max` is 0. */
  readonly next: string | undefined;
}

/**
 * One page of a map's keys in UTF-8 order, folded at the delimiter as ListObjects documents it. A page costs
 * O(page * log n), however many keys its common prefixes stand for.
 */
export function listPage<T>(map: SortedMap<T>, query: ListQuery): Listing<T> {
  const { prefix, delimiter, after, max } = query;
  const keys = map.keys();
  const commonPrefixOf = (key: string): string | undefined => {
    const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    return at === -1 ? undefined : key.slice(0, at + delimiter.length);
  };
  const skipFolded = after.startsWith(prefix) && commonPrefixOf(after) === after;

  const entries: T[] = [];
  const commonPrefixes: string[] = [];
  let last: string | undefined;
  let i = partitionPoint(
    keys,
    0,
    (key) =>
      compareUtf8(key, prefix) < 0 ||
      (after !== '' && compareUtf8(key, after) <= 0) ||
      (skipFolded && key.startsWith(after)),
  );
  if (max === 0) return { entries, commonPrefixes, next: undefined };
  const end = partitionPoint(keys, i, (key) => key.startsWith(prefix));
  while (i < end) {
    const key = keys[i] ?? '';
    if (entries.length + commonPrefixes.length === max) return { entries, commonPrefixes, next: last };
    const folded = commonPrefixOf(key);
    if (folded === undefined) {
      const entry = map.get(key);
      if (entry !== undefined) entries.push(entry);
      last = key;
      i++;
    } else {
      commonPrefixes.push(folded);
      last = folded;
      i = partitionPoint(keys, i, (other) => other.startsWith(folded));
    }
  }
  return { entries, commonPrefixes, next: undefined };
}
