import { type TextColumn, textEnd, textStart } from './text-column.ts';

const SLASH = 0x2f;
/** End of the path, slash, and every other byte of UTF-8 but NUL, in this order. */
const CODES = 256;
/** Up to this many are sorted by comparing them. */
const INSERTION_MAX = 24;

/**
 * Sorts rows by their paths so that what is below a directory stands together: by bytes, but a slash before all other
 * bytes, and a path before those that it begins. Rows with the same path keep their order.
 *
 * A radix sort from the first byte on: whatever the paths are, it looks at each of their bytes a bounded number of times.
 *
 * @param rows is sorted in place; their texts are UTF-8 without NUL
 */
export function sortByPath(rows: Uint32Array, paths: TextColumn): void {
  const sorter = new PathSorter(rows, paths);
  sorter.sort();
}

class PathSorter {
  readonly #rows: Uint32Array;
  readonly #paths: TextColumn;
  readonly #other: Uint32Array;
  readonly #codes: Uint8Array;
  readonly #counts = new Uint32Array(CODES + 1);

  constructor(rows: Uint32Array, paths: TextColumn) {
    this.#rows = rows;
    this.#paths = paths;
    this.#other = new Uint32Array(rows.length);
    this.#codes = new Uint8Array(rows.length);
  }

  sort(): void {
    /** Runs that have their first `depth` bytes in common: from, to and depth of each. */
    const runs: number[] = [0, this.#rows.length, 0];
    while (runs.length > 0) {
      const depth = runs.pop() ?? 0;
      const to = runs.pop() ?? 0;
      const from = runs.pop() ?? 0;
      if (to - from <= INSERTION_MAX) this.#insertionSort(from, to, depth);
      else this.#distribute(from, to, depth, runs);
    }
  }

  /** Puts a run in order of the byte at a depth; what is equal there becomes a run of its own. */
  #distribute(from: number, to: number, depth: number, runs: number[]): void {
    const rows = this.#rows;
    const codes = this.#codes;
    const counts = this.#counts;
    counts.fill(0);
    const { bytes, ends } = this.#paths;
    for (let index = from; index < to; index++) {
      const row = rows[index] ?? 0;
      const at = (row === 0 ? 0 : (ends[row - 1] ?? 0)) + depth;
      const code = at >= (ends[row] ?? 0) ? 0 : codeOf(bytes[at] ?? 0);
      codes[index] = code;
      counts[code + 1] = (counts[code + 1] ?? 0) + 1;
    }
    const first = codes[from] ?? 0;
    if ((counts[first + 1] ?? 0) === to - from) {
      if (first !== 0) runs.push(from, to, depth + 1);
      return;
    }
    for (let code = 0; code < CODES; code++) counts[code + 1] = (counts[code + 1] ?? 0) + (counts[code] ?? 0);
    for (let code = 1; code < CODES; code++) {
      const start = from + (counts[code] ?? 0);
      const end = from + (counts[code + 1] ?? 0);
      if (end - start > 1) runs.push(start, end, depth + 1);
    }
    const other = this.#other;
    for (let index = from; index < to; index++) {
      const code = codes[index] ?? 0;
      const place = counts[code] ?? 0;
      other[from + place] = rows[index] ?? 0;
      counts[code] = place + 1;
    }
    rows.set(other.subarray(from, to), from);
  }

  #insertionSort(from: number, to: number, depth: number): void {
    const rows = this.#rows;
    for (let index = from + 1; index < to; index++) {
      const row = rows[index] ?? 0;
      let at = index;
      while (at > from && comparePaths(this.#paths, rows[at - 1] ?? 0, row, depth) > 0) {
        rows[at] = rows[at - 1] ?? 0;
        at--;
      }
      rows[at] = row;
    }
  }
}

/** The order of {@link sortByPath}, of paths that have their first `depth` bytes in common. */
function comparePaths(paths: TextColumn, a: number, b: number, depth: number): number {
  const { bytes } = paths;
  let atA = textStart(paths, a) + depth;
  let atB = textStart(paths, b) + depth;
  const endA = textEnd(paths, a);
  const endB = textEnd(paths, b);
  while (atA < endA && atB < endB) {
    const byteA = bytes[atA++] ?? 0;
    const byteB = bytes[atB++] ?? 0;
    if (byteA !== byteB) return codeOf(byteA) - codeOf(byteB);
  }
  return endA - atA - (endB - atB);
}

/** 0 is the end of a path. */
function codeOf(byte: number): number {
  if (byte === SLASH) return 1;
  return byte < SLASH ? byte + 1 : byte;
}
