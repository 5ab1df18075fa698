import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  readdirSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { hasErrorCode } from '../errors.ts';
import { isOurs } from '../private-files.ts';
import {
  BLOCK_BYTES,
  DISK_EXTENT_BLOCKS,
  DISK_FILE_OVERHEAD_BYTES,
  DISK_FREE_MIN_PART,
  DISK_TRIM_ABOVE_PART,
  DISK_TRIM_TO_PART,
} from '../limits.ts';
import {
  type DiskContent,
  SLOT_HEADER_BYTES,
  blockCount,
  blockLength,
  extentCount,
  extentPath,
  isExtentName,
  isSlotData,
  readSlotHeader,
  slotHeader,
  slotOffset,
} from './disk-slot.ts';

/**
 * What takes long in the disk cache: it looks at every file, or at every byte of a content. Written without waiting, for
 * a thread; see {@link ThreadedDiskTasks}.
 */
export interface DiskTasks {
  /**
   * Removes the extents that were not used for the longest time where the cache takes more than it may, or the file
   * system is nearly full, and files among them that are none of its own.
   */
  trim(directory: string, maxBytes: number): Promise<DiskUsage>;
  /**
   * Holds a whole content against its MD5 and remembers on disk when it has it. One that has another is removed.
   *
   * @param again also when it was found to be good before
   */
  verify(directory: string, content: DiskContent, again?: boolean): Promise<Verdict>;
  /** How much of each content is on disk, by what the headers of its blocks say. */
  present(directory: string, contents: readonly DiskContent[]): Promise<readonly Presence[]>;
  /** Removes contents. */
  evict(directory: string, contents: readonly DiskContent[]): Promise<void>;
  close(): Promise<void>;
}

export interface DiskUsage {
  /** What the cache takes on disk, of all processes together. */
  readonly bytes: number;
  readonly files: number;
  /** Bytes that can be added before the file system is too full; less than 0 where it is already. */
  readonly spareBytes: number;
}

/** How much of a content is on disk. */
export interface Presence {
  readonly bytes: number;
  /** Bytes of these that a freeze has put there from local files, see `SlotMarks`. */
  readonly localBytes: number;
}

/** `incomplete` when a block is missing or damaged on disk; else the MD5 that the content has is given. */
export type Verdict =
  | { readonly verdict: 'verified' }
  | { readonly verdict: 'incomplete' }
  | { readonly verdict: 'mismatch'; readonly md5: string };

/** See {@link DiskTasks.trim}. */
export function trim(directory: string, maxBytes: number): DiskUsage {
  const found: { readonly path: string; readonly usedAt: number; readonly bytes: number }[] = [];
  let bytes = 0;
  for (const shard of namesIn(directory)) {
    if (!/^[0-9a-f]{2}$/.test(shard)) continue;
    for (const name of namesIn(join(directory, shard))) {
      const path = join(directory, shard, name);
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (!stat || stat.isDirectory()) continue;
      if (!stat.isFile() || !isExtentName(name) || !name.startsWith(shard)) {
        remove(path);
        continue;
      }
      const taken = stat.blocks * 512 + DISK_FILE_OVERHEAD_BYTES;
      bytes += taken;
      found.push({ path, usedAt: stat.mtimeMs, bytes: taken });
    }
  }
  const { bsize, blocks, bavail } = statfsSync(directory);
  let missing = blocks * bsize * DISK_FREE_MIN_PART - bavail * bsize;
  let surplus = bytes > maxBytes * DISK_TRIM_ABOVE_PART ? bytes - maxBytes * DISK_TRIM_TO_PART : 0;
  let files = found.length;
  if (missing > 0 || surplus > 0) {
    for (const file of found.toSorted((a, b) => a.usedAt - b.usedAt)) {
      if (missing <= 0 && surplus <= 0) break;
      remove(file.path);
      bytes -= file.bytes;
      missing -= file.bytes;
      surplus -= file.bytes;
      files -= 1;
    }
  }
  return { bytes, files, spareBytes: -missing };
}

/** See {@link DiskTasks.verify}. */
export function verify(directory: string, content: DiskContent, again = false): Verdict {
  const hash = createHash('md5');
  const buffer = Buffer.allocUnsafe(BLOCK_BYTES + SLOT_HEADER_BYTES);
  const unmarked: { readonly block: number; readonly header: Buffer }[] = [];
  if (!again && content.size > 0 && isMarked(directory, content)) return { verdict: 'verified' };
  const isWhole = eachSlot(directory, content, constants.O_RDONLY, (file, block) => {
    const length = blockLength(content, block);
    const slot = buffer.subarray(0, readFully(file, buffer, length + SLOT_HEADER_BYTES, slotOffset(block)));
    const bytes = slot.subarray(0, length);
    const header = readSlotHeader(content, block, slot.subarray(length));
    if (typeof header === 'string' || !isSlotData(header, bytes)) return false;
    hash.update(bytes);
    const marks = { isVerified: true, isLocal: header.isLocal };
    if (!header.isVerified) unmarked.push({ block, header: slotHeader(content, block, bytes, marks) });
    return true;
  });
  if (!isWhole) return { verdict: 'incomplete' };
  const md5 = hash.digest('hex');
  if (md5 !== content.md5) {
    evict(directory, [content]);
    return { verdict: 'mismatch', md5 };
  }
  // A slot that another process has written anew meanwhile no longer fits the header, and is then no block at all.
  const marks = new Map(unmarked.map(({ block, header }) => [block, header]));
  if (marks.size > 0) {
    eachSlot(directory, content, constants.O_WRONLY, (file, block) => {
      const header = marks.get(block);
      if (header) writeSync(file, header, 0, header.length, slotOffset(block) + blockLength(content, block));
      return true;
    });
  }
  return { verdict: 'verified' };
}

/** See {@link DiskTasks.present}. */
export function present(directory: string, contents: readonly DiskContent[]): readonly Presence[] {
  return contents.map((content) => {
    let bytes = 0;
    let localBytes = 0;
    for (let extent = 0; extent < extentCount(content); extent += 1) {
      withExtent(directory, content, extent, constants.O_RDONLY, (file, block) => {
        const header = headerAt(file, content, block);
        if (typeof header === 'string') return true;
        bytes += blockLength(content, block);
        if (header.isLocal) localBytes += blockLength(content, block);
        return true;
      });
    }
    return { bytes, localBytes };
  });
}

/** See {@link DiskTasks.evict}. */
export function evict(directory: string, contents: readonly DiskContent[]): void {
  for (const content of contents) {
    for (let extent = 0; extent < extentCount(content); extent += 1)
      remove(extentPath(directory, content.key, extent));
  }
}

/** Whether every block is there by its header, and was found to be part of a good whole. */
function isMarked(directory: string, content: DiskContent): boolean {
  return eachSlot(directory, content, constants.O_RDONLY, (file, block) => {
    const header = headerAt(file, content, block);
    return typeof header !== 'string' && header.isVerified;
  });
}

function headerAt(file: number, content: DiskContent, block: number): ReturnType<typeof readSlotHeader> {
  const header = Buffer.alloc(SLOT_HEADER_BYTES);
  const length = readFully(file, header, header.length, slotOffset(block) + blockLength(content, block));
  return readSlotHeader(content, block, header.subarray(0, length));
}

/** Visits the blocks of a content in order. @returns false as soon as a file is missing or a visit says false */
function eachSlot(
  directory: string,
  content: DiskContent,
  flags: number,
  visit: (file: number, block: number) => boolean,
): boolean {
  for (let extent = 0; extent < extentCount(content); extent += 1)
    if (!withExtent(directory, content, extent, flags, visit)) return false;
  return true;
}

function withExtent(
  directory: string,
  content: DiskContent,
  extent: number,
  flags: number,
  visit: (file: number, block: number) => boolean,
): boolean {
  let file: number;
  try {
    file = openSync(
      extentPath(directory, content.key, extent),
      flags | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
  } catch {
    return false;
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile() || !isOurs(stat)) return false;
    const first = extent * DISK_EXTENT_BLOCKS;
    const end = Math.min(blockCount(content), first + DISK_EXTENT_BLOCKS);
    for (let block = first; block < end; block += 1) if (!visit(file, block)) return false;
    return true;
  } finally {
    closeSync(file);
  }
}

function readFully(file: number, buffer: Buffer, length: number, position: number): number {
  let done = 0;
  while (done < length) {
    const read = readSync(file, buffer, done, length - done, position + done);
    if (read === 0) break;
    done += read;
  }
  return done;
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT') || hasErrorCode(error, 'ENOTDIR')) return [];
    throw error;
  }
}

function remove(path: string): void {
  rmSync(path, { force: true });
}
