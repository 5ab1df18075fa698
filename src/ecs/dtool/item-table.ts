import type { ItemIdentifier } from './identifier.ts';
import { type TextColumn, textAt } from './text-column.ts';

/** What a frozen dataset says of one item. */
export interface ManifestItem {
  /** Names the object. Usually the SHA-1 of the relpath, but nothing relies on that: see `parseManifest`. */
  readonly identifier: ItemIdentifier;
  /** Any string, whatever it would do as a path: empty, `..`, with NUL, with half a surrogate pair. */
  readonly relpath: string;
  /** Bytes: a safe integer, 0 or more. */
  readonly size: number;
  /** Digest of the content by the manifest's hash function; any string. */
  readonly hash: string;
  /** When it was uploaded, in seconds since the epoch; off by the writer's time zone. A Date can hold it. */
  readonly timestamp: number;
}

/** Bytes of an identifier and of an MD5. */
export const IDENTIFIER_BYTES = 20;
export const MD5_BYTES = 16;

/** The items of a manifest in packed columns, a row each: plain data that threads and files can take. */
export interface ItemColumns {
  /** {@link IDENTIFIER_BYTES} for each row. */
  readonly identifiers: Uint8Array;
  readonly relpaths: TextColumn;
  readonly sizes: Float64Array;
  readonly timestamps: Float64Array;
  /** {@link MD5_BYTES} for each row, where all hashes are that long in hex; otherwise they are texts. */
  readonly hashes: Uint8Array | TextColumn;
}

/** The items of a manifest, about 100 bytes each: what is asked for is unpacked when it is asked for. */
export class ItemTable implements Iterable<ManifestItem> {
  readonly columns: ItemColumns;
  /** Bytes of all items together. */
  readonly totalBytes: number;

  constructor(columns: ItemColumns) {
    this.columns = columns;
    this.totalBytes = columns.sizes.reduce((sum, size) => sum + size, 0);
  }

  /** Number of items. */
  get length(): number {
    return this.columns.sizes.length;
  }

  /** What the columns take in memory. */
  get byteLength(): number {
    const { identifiers, relpaths, sizes, timestamps, hashes } = this.columns;
    return (
      identifiers.byteLength +
      textBytes(relpaths) +
      sizes.byteLength +
      timestamps.byteLength +
      (hashes instanceof Uint8Array ? hashes.byteLength : textBytes(hashes))
    );
  }

  identifier(row: number): ItemIdentifier {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- 20 bytes in hex are one
    return hex(this.columns.identifiers, row, IDENTIFIER_BYTES) as ItemIdentifier;
  }

  relpath(row: number): string {
    return textAt(this.columns.relpaths, row);
  }

  size(row: number): number {
    return this.columns.sizes[row] ?? 0;
  }

  timestamp(row: number): number {
    return this.columns.timestamps[row] ?? 0;
  }

  hash(row: number): string {
    const { hashes } = this.columns;
    return hashes instanceof Uint8Array ? hex(hashes, row, MD5_BYTES) : textAt(hashes, row);
  }

  item(row: number): ManifestItem {
    return {
      identifier: this.identifier(row),
      relpath: this.relpath(row),
      size: this.size(row),
      hash: this.hash(row),
      timestamp: this.timestamp(row),
    };
  }

  /** The items in the manifest's order. */
  *[Symbol.iterator](): Generator<ManifestItem, void, undefined> {
    for (let row = 0; row < this.length; row++) yield this.item(row);
  }
}

function hex({ buffer, byteOffset }: Uint8Array, row: number, width: number): string {
  return Buffer.from(buffer, byteOffset + row * width, width).toString('hex');
}

function textBytes({ bytes, ends, wide }: TextColumn): number {
  return bytes.byteLength + ends.byteLength + wide.byteLength;
}
