import { isUnicodeText } from './identifier.ts';

/** Many strings in few buffers, as plain data that threads and files can take. */
export interface TextColumn {
  /** One text after the other: UTF-8, or UTF-16LE for those in `wide`. */
  readonly bytes: Uint8Array;
  /** Where each text ends in `bytes`; it begins where the one before ends. */
  readonly ends: Uint32Array;
  /** The rows, ascending, whose text has no UTF-8, since half a surrogate pair stands alone in it. */
  readonly wide: Uint32Array;
}

export function textStart({ ends }: TextColumn, row: number): number {
  return row === 0 ? 0 : (ends[row - 1] ?? 0);
}

export function textEnd({ ends }: TextColumn, row: number): number {
  return ends[row] ?? 0;
}

/** Whether the text of a row is UTF-16LE. */
export function isWide({ wide }: TextColumn, row: number): boolean {
  let low = 0;
  let high = wide.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((wide[middle] ?? 0) < row) low = middle + 1;
    else high = middle;
  }
  return low < wide.length && wide[low] === row;
}

export function textAt(column: TextColumn, row: number): string {
  const { bytes } = column;
  const start = textStart(column, row);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, textEnd(column, row) - start);
  return isWide(column, row) ? text.toString('utf16le') : text.toString('utf8');
}

/** Gathers the texts of a column row by row. */
export class TextColumnBuilder {
  #bytes: Buffer = Buffer.allocUnsafeSlow(1024);
  #length = 0;
  #ends = new Uint32Array(64);
  #rows = 0;
  #wide: number[] = [];
  #isWide = false;

  get rows(): number {
    return this.#rows;
  }

  /** Sets the text of the present row, in place of one that it may have, from UTF-8. */
  setUtf8(bytes: Uint8Array, start: number, end: number): void {
    this.#rewind();
    this.#reserve(end - start);
    let to = this.#length;
    for (let from = start; from < end; from++) this.#bytes[to++] = bytes[from] ?? 0;
    this.#length = to;
  }

  /** Sets the text of the present row. */
  set(text: string): void {
    this.#rewind();
    this.#isWide = !isUnicodeText(text);
    const encoding = this.#isWide ? 'utf16le' : 'utf8';
    this.#reserve(Buffer.byteLength(text, encoding));
    this.#length += this.#bytes.write(text, this.#length, encoding);
  }

  /** Ends the present row; the next one is empty. */
  next(): void {
    if (this.#rows === this.#ends.length) {
      const ends = new Uint32Array(2 * this.#rows);
      ends.set(this.#ends);
      this.#ends = ends;
    }
    this.#ends[this.#rows] = this.#length;
    if (this.#isWide) this.#wide.push(this.#rows);
    this.#isWide = false;
    this.#rows++;
  }

  build(): TextColumn {
    return {
      bytes: new Uint8Array(this.#bytes.subarray(0, this.#length)),
      ends: this.#ends.slice(0, this.#rows),
      wide: Uint32Array.from(this.#wide),
    };
  }

  #rewind(): void {
    this.#length = this.#rows === 0 ? 0 : (this.#ends[this.#rows - 1] ?? 0);
    this.#isWide = false;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}
