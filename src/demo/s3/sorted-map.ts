/** Orders strings by the bytes of their UTF-8 form, as S3 orders keys. JavaScript's own order is that of UTF-16. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  let i = 0;
  while (i < length && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  if (i === length) return a.length - b.length;
  const x = a.charCodeAt(i);
  const y = b.charCodeAt(i);
  // A surrogate stands for a code point above all others that one UTF-16 unit holds.
  const xIsSurrogate = x >= 0xd800 && x <= 0xdfff;
  const yIsSurrogate = y >= 0xd800 && y <= 0xdfff;
  if (xIsSurrogate !== yIsSurrogate) return xIsSurrogate ? 1 : -1;
  return x - y;
}

/**
 * A map that knows its keys in UTF-8 order. Changes cost O(1); the first look at the order after changes costs one pass
 * over the keys (a merge, since all but the new keys are sorted already), the next ones nothing.
 */
export class SortedMap<T> {
  readonly #entries = new Map<string, T>();
  /** Every key at least once; while `#stale`, also removed keys, repeated keys, and new ones out of order at the end. */
  #keys: string[] = [];
  #stale = false;

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): T | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: T): void {
    if (!this.#entries.has(key)) {
      const last = this.#keys.at(-1);
      if (last !== undefined && compareUtf8(last, key) >= 0) this.#stale = true;
      this.#keys.push(key);
    }
    this.#entries.set(key, value);
  }

  delete(key: string): boolean {
    const deleted = this.#entries.delete(key);
    if (deleted) this.#stale = true;
    return deleted;
  }

  values(): IterableIterator<T> {
    return this.#entries.values();
  }

  /** All keys in order. The array is not to be changed, and is good until the next change of the map. */
  keys(): readonly string[] {
    if (this.#stale) {
      // The sort takes what is sorted already as one run, so that this is a merge.
      this.#keys.sort(compareUtf8);
      this.#keys = this.#keys.filter((key, i, keys) => key !== keys[i - 1] && this.#entries.has(key));
      this.#stale = false;
    }
    return this.#keys;
  }
}

/**
 * The first index from `from` on where `holds` no longer holds, by binary search.
 *
 * @param holds must hold for a first stretch of the items from `from` on and for none after it
 */
export function partitionPoint(
  items: readonly string[],
  from: number,
  holds: (item: string) => boolean,
): number {
  let low = from;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const item = items[middle];
    if (item !== undefined && holds(item)) low = middle + 1;
    else high = middle;
  }
  return low;
}
