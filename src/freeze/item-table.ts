import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { ContainedDirectory } from '../contained-directory.ts';
import type { ItemIdentifier } from '../ecs/dtool/identifier.ts';
import { RELPATH_MAX_BYTES } from '../ecs/dtool/item-metadata.ts';
import { FREEZE_ITEMS_MAX, MiB } from '../limits.ts';
import type { FileState, SourceFile } from './source-file.ts';

/** A file that becomes an item. */
export interface SourceItem extends SourceFile {
  readonly relpath: string;
  readonly identifier: ItemIdentifier;
  /** Its place in the table, in the order of the identifiers. */
  readonly index: number;
}

/** A record: identifier, size, seconds, device, inode, page of the relpath, its length and place in the page, nanoseconds. */
const ID_BYTES = 20;
const SIZE = 20;
const SECONDS = 28;
const DEV = 36;
const INO = 44;
const PATH_PAGE = 52;
const PATH_BYTES = 54;
const PATH_OFFSET = 56;
const NANOSECONDS = 60;
const RECORD_BYTES = 64;
const SECOND_NS = 1_000_000_000n;
const PAGE_BYTES = 1 * MiB;
const RECORDS_PER_PAGE = PAGE_BYTES / RECORD_BYTES;
/** Bits of a number that is sorted which tell the record; the others are of the identifier. */
const RECORD_BITS = 21;
assert(FREEZE_ITEMS_MAX < 2 ** RECORD_BITS);
/** A page, and the length of a path, fit into 16 bits. */
const PATH_MAX_BYTES = 65_535;
assert((FREEZE_ITEMS_MAX * RELPATH_MAX_BYTES) / (PAGE_BYTES - RELPATH_MAX_BYTES) < 65_536);

/**
 * The items of a directory, packed: {@link RECORD_BYTES} and the relpath each, where objects would take a kilobyte.
 * Items are added in any order, then sorted once; objects are made when they are asked for.
 */
export class ItemTable implements Iterable<SourceItem> {
  readonly #folder: Pick<ContainedDirectory, 'path' | 'openFile'>;
  readonly #below: string;
  readonly #records: Buffer[] = [];
  readonly #paths: Buffer[] = [];
  #pathPageUsed = PAGE_BYTES;
  #length = 0;
  /** Records in the order of their identifiers; empty before they are sorted. */
  #order = new Uint32Array(0);
  #totalBytes = 0;

  /** @param below the part of the folder that the relpaths are below: empty, or ends with a slash */
  constructor(folder: Pick<ContainedDirectory, 'path' | 'openFile'>, below: string) {
    this.#folder = folder;
    this.#below = below;
  }

  get length(): number {
    return this.#length;
  }

  /** Of all items, in bytes. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** @param relpath at most {@link PATH_MAX_BYTES} of UTF-8, and unlike all others */
  add(relpath: string, identifier: ItemIdentifier, file: FileState): void {
    assert(this.#order.length === 0 && this.#length < FREEZE_ITEMS_MAX);
    const index = this.#length;
    if (index % RECORDS_PER_PAGE === 0) this.#records.push(Buffer.alloc(PAGE_BYTES));
    const length = Buffer.byteLength(relpath);
    assert(length <= PATH_MAX_BYTES);
    if (this.#pathPageUsed + length > PAGE_BYTES) {
      this.#paths.push(Buffer.alloc(PAGE_BYTES));
      this.#pathPageUsed = 0;
    }
    const pathPage = this.#paths.length - 1;
    this.#paths[pathPage]?.write(relpath, this.#pathPageUsed);
    this.#length += 1;
    const { page, at } = this.#record(index);
    page.write(identifier, at, 'hex');
    page.writeDoubleLE(file.size, at + SIZE);
    const nanoseconds = ((file.mtimeNs % SECOND_NS) + SECOND_NS) % SECOND_NS;
    page.writeBigInt64LE((file.mtimeNs - nanoseconds) / SECOND_NS, at + SECONDS);
    page.writeUInt32LE(Number(nanoseconds), at + NANOSECONDS);
    page.writeDoubleLE(file.dev, at + DEV);
    page.writeDoubleLE(file.ino, at + INO);
    page.writeUInt16LE(pathPage, at + PATH_PAGE);
    page.writeUInt32LE(this.#pathPageUsed, at + PATH_OFFSET);
    page.writeUInt16LE(length, at + PATH_BYTES);
    this.#pathPageUsed += length;
    this.#totalBytes += file.size;
  }

  /** To be called once, when all items are added and before any is asked for. */
  sort(): void {
    // Numbers sort natively: the start of the identifier, and the record. The few with one start come after.
    const keys = new Float64Array(this.#length);
    for (let index = 0; index < this.#length; index += 1) {
      const { page, at } = this.#record(index);
      keys[index] = page.readUInt32BE(at) * 2 ** RECORD_BITS + index;
    }
    keys.sort();
    this.#order = Uint32Array.from(keys, (key) => key % 2 ** RECORD_BITS);
    const start = (place: number): number => Math.floor((keys[place] ?? 0) / 2 ** RECORD_BITS);
    for (let from = 0, to = 1; from < this.#length; from = to, to = from + 1) {
      while (to < this.#length && start(to) === start(from)) to += 1;
      if (to - from > 1) this.#order.subarray(from, to).sort((a, b) => this.#compare(a, b));
    }
  }

  /** @param index in the order of the identifiers */
  at(index: number): SourceItem {
    const { page, at } = this.#sorted(index);
    const offset = page.readUInt32LE(at + PATH_OFFSET);
    const paths = this.#paths[page.readUInt16LE(at + PATH_PAGE)];
    assert(paths);
    const relpath = paths.toString('utf8', offset, offset + page.readUInt16LE(at + PATH_BYTES));
    const place = this.#below + relpath;
    return {
      path: join(this.#folder.path, place),
      open: async () => this.#folder.openFile(place),
      relpath,
      identifier: this.#identifier(page, at),
      index,
      size: page.readDoubleLE(at + SIZE),
      mtimeNs: page.readBigInt64LE(at + SECONDS) * SECOND_NS + BigInt(page.readUInt32LE(at + NANOSECONDS)),
      dev: page.readDoubleLE(at + DEV),
      ino: page.readDoubleLE(at + INO),
    };
  }

  *[Symbol.iterator](): Generator<SourceItem, void, undefined> {
    for (let index = 0; index < this.#length; index += 1) yield this.at(index);
  }

  /** In their order. */
  *identifiers(): Generator<ItemIdentifier, void, undefined> {
    for (let index = 0; index < this.#length; index += 1) {
      const { page, at } = this.#sorted(index);
      yield this.#identifier(page, at);
    }
  }

  /** @returns the place of an item, or undefined where there is none */
  indexOf(identifier: string): number | undefined {
    const wanted = Buffer.from(identifier, 'hex');
    if (wanted.length !== ID_BYTES) return undefined;
    let low = 0;
    let high = this.#length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const { page, at } = this.#sorted(middle);
      const order = page.compare(wanted, 0, ID_BYTES, at, at + ID_BYTES);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }

  #sorted(index: number): { readonly page: Buffer; readonly at: number } {
    const record = this.#order[index];
    assert(record !== undefined);
    return this.#record(record);
  }

  #record(index: number): { readonly page: Buffer; readonly at: number } {
    const page = this.#records[Math.floor(index / RECORDS_PER_PAGE)];
    assert(page);
    return { page, at: (index % RECORDS_PER_PAGE) * RECORD_BYTES };
  }

  #compare(a: number, b: number): number {
    const one = this.#record(a);
    const other = this.#record(b);
    return one.page.compare(other.page, other.at, other.at + ID_BYTES, one.at, one.at + ID_BYTES);
  }

  #identifier(page: Buffer, at: number): ItemIdentifier {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only identifiers are added
    return page.toString('hex', at, at + ID_BYTES) as ItemIdentifier;
  }
}
