import { randomBytes } from 'node:crypto';
import { IDENTIFIER_BYTES, type ItemColumns, MD5_BYTES } from './item-table.ts';
import { TextColumnBuilder, textAt } from './text-column.ts';

const MD5_HEX = /^[0-9a-f]{32}$/;

/** Gathers the rows of an item table; one that comes again takes the place of the one before, as in a Python dict. */
export class ItemTableBuilder {
  readonly #identifiers = new BytesColumn(IDENTIFIER_BYTES);
  readonly #relpaths = new TextColumnBuilder();
  readonly #md5s = new BytesColumn(MD5_BYTES);
  /** All hashes as text, once one of them is no MD5. */
  #hashTexts: TextColumnBuilder | undefined;
  #sizes = new Float64Array(64);
  #timestamps = new Float64Array(64);
  #rows = 0;
  /** Whether the identifiers ascend: then none is there twice. */
  #ascends = true;

  get rows(): number {
    return this.#rows;
  }

  /** Of the present row. */
  get identifier(): string {
    return this.#identifiers.hexAt(this.#rows);
  }

  /** Sets the identifier of the present row from 40 lower-case hex digits at `start`; false when they are not that. */
  setIdentifier(bytes: Uint8Array, start: number): boolean {
    return this.#identifiers.setHex(bytes, start);
  }

  setRelpathUtf8(bytes: Uint8Array, start: number, end: number): void {
    this.#relpaths.setUtf8(bytes, start, end);
  }

  setRelpath(relpath: string): void {
    this.#relpaths.set(relpath);
  }

  /** Sets the hash of the present row where it is 32 lower-case hex digits; false when it is not. */
  setMd5(bytes: Uint8Array, start: number, end: number): boolean {
    return this.#hashTexts === undefined && end - start === 2 * MD5_BYTES && this.#md5s.setHex(bytes, start);
  }

  setHash(hash: string): void {
    if (!this.#hashTexts && MD5_HEX.test(hash)) this.#md5s.setHex(Buffer.from(hash), 0);
    else this.#texts().set(hash);
  }

  setSize(size: number): void {
    this.#sizes[this.#rows] = size;
  }

  setTimestamp(timestamp: number): void {
    this.#timestamps[this.#rows] = timestamp;
  }

  /** Ends the present row. */
  next(): void {
    this.#ascends &&= this.#identifiers.endAscending();
    this.#identifiers.next();
    this.#relpaths.next();
    if (this.#hashTexts) this.#hashTexts.next();
    else this.#md5s.next();
    this.#rows++;
    if (this.#rows < this.#sizes.length) return;
    const sizes = new Float64Array(2 * this.#rows);
    sizes.set(this.#sizes);
    this.#sizes = sizes;
    const timestamps = new Float64Array(2 * this.#rows);
    timestamps.set(this.#timestamps);
    this.#timestamps = timestamps;
  }

  /**
   * The table, and for each of its rows the one that it was when it was added; undefined where nothing came twice. A
   * row that came twice is where it was first, with what it was last.
   */
  build(): { readonly columns: ItemColumns; readonly origins: Uint32Array | undefined } {
    const columns: ItemColumns = {
      identifiers: this.#identifiers.build(),
      relpaths: this.#relpaths.build(),
      sizes: this.#sizes.slice(0, this.#rows),
      timestamps: this.#timestamps.slice(0, this.#rows),
      hashes: this.#hashTexts?.build() ?? this.#md5s.build(),
    };
    const origins = this.#ascends ? undefined : lastOfEach(columns.identifiers, this.#rows);
    return { columns: origins ? pick(columns, origins) : columns, origins };
  }

  #texts(): TextColumnBuilder {
    if (this.#hashTexts) return this.#hashTexts;
    const texts = new TextColumnBuilder();
    for (let row = 0; row < this.#rows; row++) {
      texts.set(this.#md5s.hexAt(row));
      texts.next();
    }
    this.#hashTexts = texts;
    return texts;
  }
}

/** Bytes of the same number for every row. */
class BytesColumn {
  readonly #width: number;
  #bytes: Uint8Array;
  #at = 0;

  constructor(width: number) {
    this.#width = width;
    this.#bytes = new Uint8Array(64 * width);
  }

  setHex(hex: Uint8Array, start: number): boolean {
    const { length } = hex;
    if (start + 2 * this.#width > length) return false;
    let from = start;
    for (let to = this.#at; to < this.#at + this.#width; to++) {
      const high = hexDigit(hex[from++] ?? 0);
      const low = hexDigit(hex[from++] ?? 0);
      if (high < 0 || low < 0) return false;
      this.#bytes[to] = (high << 4) | low;
    }
    return true;
  }

  hexAt(row: number): string {
    return Buffer.from(this.#bytes.subarray(row * this.#width, (row + 1) * this.#width)).toString('hex');
  }

  /** Whether the present row is greater than the one before. */
  endAscending(): boolean {
    if (this.#at === 0) return true;
    for (let at = this.#at; at < this.#at + this.#width; at++) {
      const difference = (this.#bytes[at] ?? 0) - (this.#bytes[at - this.#width] ?? 0);
      if (difference !== 0) return difference > 0;
    }
    return false;
  }

  next(): void {
    this.#at += this.#width;
    if (this.#at < this.#bytes.length) return;
    const larger = new Uint8Array(2 * this.#bytes.length);
    larger.set(this.#bytes);
    this.#bytes = larger;
  }

  build(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  return byte >= 0x61 && byte <= 0x66 ? byte - 0x57 : -1;
}

/**
 * For each distinct identifier, in the order of their first rows, the last row that has it; undefined when all are
 * distinct. Hashed with a secret, so that nobody can choose identifiers that all collide.
 */
function lastOfEach(identifiers: Uint8Array, rows: number): Uint32Array | undefined {
  const view = new DataView(identifiers.buffer, identifiers.byteOffset, identifiers.byteLength);
  const secret = randomBytes(IDENTIFIER_BYTES);
  const factors = Array.from(
    { length: IDENTIFIER_BYTES / 4 },
    (_, word) => secret.readUInt32LE(4 * word) | 1,
  );
  const places = 2 ** Math.ceil(Math.log2(2 * rows + 2));
  /** At the place of an identifier its position among the distinct ones, plus 1. */
  const table = new Uint32Array(places);
  const last = new Uint32Array(rows);
  let distinct = 0;
  for (let row = 0; row < rows; row++) {
    const at = row * IDENTIFIER_BYTES;
    let hash = 0;
    for (let word = 0; word < factors.length; word++) {
      hash = Math.imul(hash ^ view.getUint32(at + 4 * word, true), factors[word] ?? 1);
      hash ^= hash >>> 15;
    }
    for (let place = (hash >>> 0) & (places - 1); ; place = (place + 1) & (places - 1)) {
      const known = table[place] ?? 0;
      if (known === 0) {
        last[distinct++] = row;
        table[place] = distinct;
        break;
      }
      if (isEqual(identifiers, at, (last[known - 1] ?? 0) * IDENTIFIER_BYTES)) {
        last[known - 1] = row;
        break;
      }
    }
  }
  return distinct === rows ? undefined : last.slice(0, distinct);
}

function isEqual(bytes: Uint8Array, a: number, b: number): boolean {
  for (let index = 0; index < IDENTIFIER_BYTES; index++)
    if (bytes[a + index] !== bytes[b + index]) return false;
  return true;
}

/** The table that has these rows of another one. */
function pick(
  { identifiers, relpaths, sizes, timestamps, hashes }: ItemColumns,
  rows: Uint32Array,
): ItemColumns {
  const texts = (column: typeof relpaths): typeof relpaths => {
    const builder = new TextColumnBuilder();
    for (const row of rows) {
      builder.set(textAt(column, row));
      builder.next();
    }
    return builder.build();
  };
  const bytes = (column: Uint8Array, width: number): Uint8Array => {
    const picked = new Uint8Array(rows.length * width);
    rows.forEach((row, index) => picked.set(column.subarray(row * width, (row + 1) * width), index * width));
    return picked;
  };
  return {
    identifiers: bytes(identifiers, IDENTIFIER_BYTES),
    relpaths: texts(relpaths),
    sizes: Float64Array.from(rows, (row) => sizes[row] ?? 0),
    timestamps: Float64Array.from(rows, (row) => timestamps[row] ?? 0),
    hashes: hashes instanceof Uint8Array ? bytes(hashes, MD5_BYTES) : texts(hashes),
  };
}
