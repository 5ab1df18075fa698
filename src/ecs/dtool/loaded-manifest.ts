import { type DirectoryColumns, DIRECTORY_FLAG, Displacement } from './item-directories.ts';
import { describe } from './json.ts';
import { IDENTIFIER_BYTES, ItemTable } from './item-table.ts';
import type { StoredManifest } from './read-manifest.ts';
import { isUnicodeText } from './identifier.ts';
import { parseRelpath } from './relpath.ts';
import { textEnd, textStart } from './text-column.ts';

/** What is at a name: an item by its row, or a directory by its number. Entries next to each other have places that are. */
export type ItemEntry = { readonly place: number } & (
  | { readonly kind: 'file'; readonly row: number }
  | { readonly kind: 'directory'; readonly directory: number }
);

/** The items of a frozen dataset in their directories, as they are in memory: about 100 bytes an item. */
export class LoadedManifest {
  /** The manifest's ETag: rows and numbers of directories mean the same as long as it is the same. */
  readonly version: string;
  readonly dtoolcoreVersion: string | undefined;
  readonly hashFunction: string | undefined;
  readonly items: ItemTable;
  readonly byteLength: number;
  /** As it was read. */
  readonly packed: StoredManifest;
  readonly #directories: DirectoryColumns;

  constructor(packed: StoredManifest) {
    const { columns, directories, dtoolcoreVersion, hashFunction, etag } = packed;
    this.packed = packed;
    this.version = etag;
    this.dtoolcoreVersion = dtoolcoreVersion;
    this.hashFunction = hashFunction;
    this.items = new ItemTable(columns);
    this.#directories = directories;
    const more = Object.values(directories).reduce((sum: number, column) => sum + column.byteLength, 0);
    this.byteLength = this.items.byteLength + more;
  }

  /** Number of entries of a directory; that of the top is 0. */
  entryCount(directory: number): number {
    return (this.#directories.entryEnds[directory] ?? 0) - this.#firstEntry(directory);
  }

  /** An entry of a directory, in the byte order of names. */
  entryAt(directory: number, index: number): ItemEntry {
    return this.#entry(this.#firstEntry(directory) + index);
  }

  /** The entry at a place; undefined beyond the last. Directories have theirs one after the other. */
  at(place: number): ItemEntry | undefined {
    return place < this.#directories.entries.length ? this.#entry(place) : undefined;
  }

  /** The name of an entry of a directory. */
  nameAt(directory: number, index: number): string {
    const { bytes } = this.items.columns.relpaths;
    const { start, end } = this.#nameOf(directory, this.entryAt(directory, index));
    return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8');
  }

  /** The entry of a name in a directory. */
  find(directory: number, name: string): ItemEntry | undefined {
    if (!isUnicodeText(name)) return undefined;
    const wanted = Buffer.from(name);
    const { bytes } = this.items.columns.relpaths;
    let low = 0;
    let high = this.entryCount(directory);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = this.entryAt(directory, middle);
      const { start, end } = this.#nameOf(directory, entry);
      const order = wanted.compare(bytes, start, end);
      if (order === 0) return entry;
      if (order > 0) low = middle + 1;
      else high = middle;
    }
    return undefined;
  }

  /** The directory at a path of names with slashes between them; the empty one is the top. */
  findDirectory(path: string): number | undefined {
    let directory = 0;
    for (const name of path === '' ? [] : path.split('/')) {
      const entry = this.find(directory, name);
      if (entry?.kind !== 'directory') return undefined;
      directory = entry.directory;
    }
    return directory;
  }

  /** Number of items that have no place in the directories. */
  get displacedCount(): number {
    return this.#directories.displaced.length;
  }

  /** The row of one of these, in the order of their identifiers. */
  displacedAt(index: number): number {
    return this.#directories.displaced[index] ?? 0;
  }

  /** Which of these, as {@link displacedAt} counts them, has an identifier. */
  findDisplaced(identifier: string): number | undefined {
    const wanted = Buffer.from(identifier, 'hex');
    if (wanted.length !== IDENTIFIER_BYTES || wanted.toString('hex') !== identifier) return undefined;
    const { identifiers } = this.items.columns;
    let low = 0;
    let high = this.displacedCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const row = this.displacedAt(middle);
      const order = wanted.compare(identifiers, row * IDENTIFIER_BYTES, (row + 1) * IDENTIFIER_BYTES);
      if (order === 0) return middle;
      if (order > 0) low = middle + 1;
      else high = middle;
    }
    return undefined;
  }

  /** Why one of these has no place, as a sentence without a full stop. */
  displacementAt(index: number): string {
    const relpath = this.items.relpath(this.displacedAt(index));
    const reason = this.#directories.reasons[index];
    const parsed = parseRelpath(relpath);
    let flaw = 'stands for another item, too';
    if (reason === Displacement.DIRECTORY) flaw = 'is also a directory of other items';
    else if (reason === Displacement.NO_PATH && 'flaw' in parsed) flaw = parsed.flaw;
    return `the relpath ${describe(relpath)} ${flaw}`;
  }

  #entry(place: number): ItemEntry {
    const value = this.#directories.entries[place] ?? 0;
    return value >= DIRECTORY_FLAG
      ? { kind: 'directory', directory: value - DIRECTORY_FLAG, place }
      : { kind: 'file', row: value, place };
  }

  #firstEntry(directory: number): number {
    return directory === 0 ? 0 : (this.#directories.entryEnds[directory - 1] ?? 0);
  }

  /** Where the name of an entry is in the bytes of all relpaths. */
  #nameOf(directory: number, entry: ItemEntry): { readonly start: number; readonly end: number } {
    const { relpaths } = this.items.columns;
    const { items, nameStarts } = this.#directories;
    const inside = nameStarts[directory] ?? 0;
    if (entry.kind === 'file') {
      return { start: textStart(relpaths, entry.row) + inside, end: textEnd(relpaths, entry.row) };
    }
    const path = textStart(relpaths, items[entry.directory] ?? 0);
    return { start: path + inside, end: path + (nameStarts[entry.directory] ?? 0) - 1 };
  }
}
