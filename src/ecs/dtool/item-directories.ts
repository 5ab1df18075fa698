import { MANIFEST_DIRECTORIES_MAX, NAME_MAX_BYTES, PATH_MAX_BYTES } from '../../limits.ts';
import { IDENTIFIER_BYTES, type ItemTable } from './item-table.ts';
import { JsonFlaw } from './json-scanner.ts';
import { sortByPath } from './path-sort.ts';
import { parseRelpath } from './relpath.ts';
import { isWide, type TextColumn, textEnd, textStart } from './text-column.ts';

/**
 * The directories that the relpaths of a manifest make, in packed columns: plain data that threads and files can take.
 * Directories are numbered from the top (0) down, each before those below it.
 */
export interface DirectoryColumns {
  /**
   * The entries of one directory after the other, in the byte order of their names: rows of items, or numbers of
   * directories with {@link DIRECTORY_FLAG}.
   */
  readonly entries: Uint32Array;
  /** Where the entries of each directory end; they begin where those of the one before end. */
  readonly entryEnds: Uint32Array;
  /** Some item below each directory. */
  readonly items: Uint32Array;
  /** Where names in each directory begin in the relpaths of what is below it. */
  readonly nameStarts: Uint16Array;
  /** Rows of the items that have no place there, in the order of their identifiers. */
  readonly displaced: Uint32Array;
  /** Why, for each of these: a {@link Displacement}. */
  readonly reasons: Uint8Array;
}

export const DIRECTORY_FLAG = 0x8000_0000;

/** Why an item has no place: its relpath is no path, or is a directory of other items, or another item has it. */
export const Displacement = { NO_PATH: 0, DIRECTORY: 1, TAKEN: 2 } as const;

const SLASH = 0x2f;
const DOT = 0x2e;

/** Of items that are in their place. */
const PLACED = 255;

/**
 * Finds the place of every item. A name can't be a file and a directory: the directory stays. Of several items with one
 * relpath the first one stays.
 *
 * @throws JsonFlaw when they make more than {@link MANIFEST_DIRECTORIES_MAX} directories
 */
export function buildDirectories(table: ItemTable): DirectoryColumns {
  const { relpaths } = table.columns;
  const reasons = new Uint8Array(table.length).fill(PLACED);
  const all = new Uint32Array(table.length);
  let paths = 0;
  for (let row = 0; row < table.length; row++) {
    if (isOrdinaryPath(relpaths, row) || 'name' in parseRelpath(table.relpath(row))) all[paths++] = row;
    else reasons[row] = Displacement.NO_PATH;
  }
  const rows = all.subarray(0, paths);
  sortByPath(rows, relpaths);

  let placed = 0;
  for (let from = 0; from < paths; ) {
    const row = rows[from] ?? 0;
    let to = from + 1;
    while (to < paths && isSamePath(relpaths, row, rows[to] ?? 0)) to++;
    // What is below a directory follows at once behind the items that have its name.
    const isDirectory = to < paths && isBelow(relpaths, rows[to] ?? 0, row);
    for (let index = from; index < to; index++) {
      if (isDirectory) reasons[rows[index] ?? 0] = Displacement.DIRECTORY;
      else if (index > from) reasons[rows[index] ?? 0] = Displacement.TAKEN;
    }
    if (!isDirectory) rows[placed++] = row;
    from = to;
  }
  const { identifiers } = table.columns;
  const displaced = Uint32Array.from(rowsWithReason(reasons)).toSorted((a, b) =>
    compareIdentifiers(identifiers, a, b),
  );
  return {
    ...directoriesOf(relpaths, rows.subarray(0, placed)),
    displaced,
    reasons: Uint8Array.from(displaced, (row) => reasons[row] ?? 0),
  };
}

function compareIdentifiers(identifiers: Uint8Array, a: number, b: number): number {
  for (let at = 0; at < IDENTIFIER_BYTES; at++) {
    const difference =
      (identifiers[a * IDENTIFIER_BYTES + at] ?? 0) - (identifiers[b * IDENTIFIER_BYTES + at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function* rowsWithReason(reasons: Uint8Array): Generator<number, void, undefined> {
  for (let row = 0; row < reasons.length; row++) if (reasons[row] !== PLACED) yield row;
}

/**
 * @param rows placed items in the order of {@link sortByPath}
 */
function directoriesOf(
  relpaths: TextColumn,
  rows: Uint32Array,
): Pick<DirectoryColumns, 'entries' | 'entryEnds' | 'items' | 'nameStarts'> {
  const { bytes } = relpaths;
  const items = new GrowingColumn();
  const nameStarts = new GrowingColumn();
  const parents = new GrowingColumn();
  const counts = new GrowingColumn();
  const enter = (row: number, nameStart: number, parent: number): number => {
    items.push(row);
    nameStarts.push(nameStart);
    parents.push(parent);
    if (parents.length > MANIFEST_DIRECTORIES_MAX)
      throw new JsonFlaw(`its items make more than ${MANIFEST_DIRECTORIES_MAX} directories`);
    return counts.push(0);
  };
  /** The directory that each item is in. */
  const homes = new Uint32Array(rows.length);
  /** The directories from the top down to that of the item before. */
  const open = [enter(rows[0] ?? 0, 0, 0)];
  for (const [index, row] of rows.entries()) {
    const start = textStart(relpaths, row);
    const end = textEnd(relpaths, row);
    const common = index === 0 ? 0 : commonLength(relpaths, rows[index - 1] ?? 0, row);
    while (nameStarts.at(open.at(-1) ?? 0) > common) open.pop();
    let home = open.at(-1) ?? 0;
    for (let at = start + nameStarts.at(home); at < end; at++) {
      if (bytes[at] !== SLASH) continue;
      counts.add(home, 1);
      home = enter(row, at + 1 - start, home);
      open.push(home);
    }
    counts.add(home, 1);
    homes[index] = home;
  }
  // Where the next entry of each directory goes: when all are there, these are the ends.
  const places = new Uint32Array(counts.length);
  for (let directory = 1; directory < places.length; directory++) {
    places[directory] = (places[directory - 1] ?? 0) + counts.at(directory - 1);
  }
  const entries = new Uint32Array(rows.length + counts.length - 1);
  const add = (directory: number, entry: number): void => {
    const place = places[directory] ?? 0;
    entries[place] = entry;
    places[directory] = place + 1;
  };
  let next = 1;
  for (const [index, row] of rows.entries()) {
    for (; next < items.length && items.at(next) === row; next++)
      add(parents.at(next), (next | DIRECTORY_FLAG) >>> 0);
    add(homes[index] ?? 0, row);
  }
  return {
    entries,
    entryEnds: places,
    items: items.build(),
    nameStarts: Uint16Array.from(nameStarts.build()),
  };
}

/** Whether a relpath is plainly a path, without a look at Unicode and at names that may be too long. */
function isOrdinaryPath(relpaths: TextColumn, row: number): boolean {
  const { bytes } = relpaths;
  const start = textStart(relpaths, row);
  const end = textEnd(relpaths, row);
  if (end - start > PATH_MAX_BYTES || isWide(relpaths, row)) return false;
  let nameStart = start;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0) return false;
    if (byte !== SLASH) continue;
    if (!isOrdinaryName(bytes, nameStart, at)) return false;
    nameStart = at + 1;
  }
  return isOrdinaryName(bytes, nameStart, end);
}

function isOrdinaryName(bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (length === 0 || length > NAME_MAX_BYTES) return false;
  if (length > 2 || bytes[start] !== DOT) return true;
  return length === 2 && bytes[start + 1] !== DOT;
}

/** How many bytes two relpaths have in common at the start. */
function commonLength(relpaths: TextColumn, a: number, b: number): number {
  const { bytes } = relpaths;
  const startA = textStart(relpaths, a);
  const startB = textStart(relpaths, b);
  const length = Math.min(textEnd(relpaths, a) - startA, textEnd(relpaths, b) - startB);
  let common = 0;
  while (common < length && bytes[startA + common] === bytes[startB + common]) common++;
  return common;
}

function lengthOf(relpaths: TextColumn, row: number): number {
  return textEnd(relpaths, row) - textStart(relpaths, row);
}

function isSamePath(relpaths: TextColumn, a: number, b: number): boolean {
  const length = lengthOf(relpaths, a);
  return length === lengthOf(relpaths, b) && commonLength(relpaths, a, b) === length;
}

/** Whether a path is below another one. */
function isBelow(relpaths: TextColumn, path: number, directory: number): boolean {
  const length = lengthOf(relpaths, directory);
  return (
    commonLength(relpaths, path, directory) === length &&
    relpaths.bytes[textStart(relpaths, path) + length] === SLASH &&
    lengthOf(relpaths, path) > length
  );
}

/** Numbers of which there turn out to be more. */
class GrowingColumn {
  #values = new Uint32Array(64);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  at(index: number): number {
    return this.#values[index] ?? 0;
  }

  add(index: number, more: number): void {
    this.#values[index] = this.at(index) + more;
  }

  /** @returns the index of the value */
  push(value: number): number {
    if (this.#length === this.#values.length) {
      const larger = new Uint32Array(2 * this.#length);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length] = value;
    return this.#length++;
  }

  build(): Uint32Array {
    return this.#values.slice(0, this.#length);
  }
}
