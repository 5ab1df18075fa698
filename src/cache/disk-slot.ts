import { crc32 } from 'node:zlib';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { BLOCK_BYTES, DISK_EXTENT_BLOCKS, DISK_PAGE_BYTES } from '../limits.ts';
import type { Content } from './block-key.ts';

/**
 * How blocks lie on disk. A file holds up to {@link DISK_EXTENT_BLOCKS} neighbouring blocks of one content, each in a slot
 * of its own, sparse where a block is missing. Behind the bytes of a block stands a header of 64 bytes, little endian:
 *
 * ```
 *  0  magic, 8 bytes       8  version, u32       12  flags, u32: see {@link SlotMarks}
 * 16  digest of the content's key, 32 bytes      48  block number, u32
 * 52  length of the block, u32                   56  CRC-32 of the block
 * 60  CRC-32 of the 60 bytes before
 * ```
 *
 * So a slot says for itself whether it is whole and which block it is: nothing else has to be written with it, in any
 * order, for a crash, a second writer or a file that was moved to be told from a block that is good.
 */

const MAGIC = Buffer.from('dtoolblk');
const VERSION = 1;
/** Bits of the flags. Versions that don't know one ignore it. */
const VERIFIED = 1;
const LOCAL = 2;
export const SLOT_HEADER_BYTES = 64;

/** Bytes from one slot to the next. */
export const SLOT_BYTES = BLOCK_BYTES + DISK_PAGE_BYTES;

/** What a slot says of its block besides which one it is. */
export interface SlotMarks {
  /** The whole content was read back from this cache and has its MD5. Says nothing about the bucket. */
  readonly isVerified: boolean;
  /** A freeze has put the block here from a local file: nobody has seen it in the store. */
  readonly isLocal: boolean;
}

/** What names a content on disk; plain data that can be sent to a thread. */
export interface DiskContent {
  /** SHA-256 of all that tells the content from others, in hex. */
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** MD5 of the whole in hex; undefined where none is known. */
  readonly md5?: string | undefined;
}

/**
 * @param origin where the bytes come from, such as endpoint and bucket: what one place says can never be served for what
 *   another has
 */
export function diskContent(origin: string, { id, key, size, etag, md5 }: Content): DiskContent {
  const identity = JSON.stringify([origin, id, key, size, etag ?? null, md5 ?? null]);
  return { key: createHash('sha256').update(identity).digest('hex'), size, md5 };
}

/** Blocks that a content has. */
export function blockCount({ size }: { readonly size: number }): number {
  return Math.ceil(size / BLOCK_BYTES);
}

/** Bytes of a block, fewer than {@link BLOCK_BYTES} at the end of the content. */
export function blockLength({ size }: { readonly size: number }, block: number): number {
  return Math.min(BLOCK_BYTES, size - block * BLOCK_BYTES);
}

/** The file of a block: below the store's directory, one of 256 directories by the key. */
export function extentPath(directory: string, key: string, extent: number): string {
  return join(directory, key.slice(0, 2), `${key}-${extent}`);
}

/** Whether a file with this name may be one of ours. */
export function isExtentName(name: string): boolean {
  return /^[0-9a-f]{64}-\d+$/.test(name);
}

/** Files that a content has when all of it is there. */
export function extentCount(content: { readonly size: number }): number {
  return Math.ceil(blockCount(content) / DISK_EXTENT_BLOCKS);
}

export function extentOf(block: number): number {
  return Math.floor(block / DISK_EXTENT_BLOCKS);
}

/** Where the slot of a block begins in its file. */
export function slotOffset(block: number): number {
  return (block % DISK_EXTENT_BLOCKS) * SLOT_BYTES;
}

/** Makes the header that stands behind a block. */
export function slotHeader(
  content: DiskContent,
  block: number,
  bytes: Uint8Array,
  { isVerified, isLocal }: SlotMarks,
): Buffer {
  const header = Buffer.alloc(SLOT_HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt32LE(VERSION, 8);
  header.writeUInt32LE((isVerified ? VERIFIED : 0) | (isLocal ? LOCAL : 0), 12);
  header.write(content.key, 16, 'hex');
  header.writeUInt32LE(block, 48);
  header.writeUInt32LE(bytes.length, 52);
  header.writeUInt32LE(crc32(bytes), 56);
  header.writeUInt32LE(crc32(header.subarray(0, 60)), 60);
  return header;
}

/** What a header says that belongs to this block; `empty` where nothing was written, `corrupt` for all else. */
export function readSlotHeader(
  content: DiskContent,
  block: number,
  header: Buffer,
): (SlotMarks & { readonly crc: number }) | 'empty' | 'corrupt' {
  if (header.length === SLOT_HEADER_BYTES && header.every((byte) => byte === 0)) return 'empty';
  const isGood =
    header.length === SLOT_HEADER_BYTES &&
    header.readUInt32LE(60) === crc32(header.subarray(0, 60)) &&
    header.subarray(0, 8).equals(MAGIC) &&
    header.readUInt32LE(8) === VERSION &&
    header.toString('hex', 16, 48) === content.key &&
    header.readUInt32LE(48) === block &&
    header.readUInt32LE(52) === blockLength(content, block);
  if (!isGood) return 'corrupt';
  const flags = header.readUInt32LE(12);
  return {
    crc: header.readUInt32LE(56),
    isVerified: (flags & VERIFIED) !== 0,
    isLocal: (flags & LOCAL) !== 0,
  };
}

/** Whether the bytes are those that the header of their slot was written for. */
export function isSlotData(header: { readonly crc: number }, bytes: Uint8Array): boolean {
  return crc32(bytes) === header.crc;
}
