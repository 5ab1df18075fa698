import { constants } from 'node:fs';
import { type FileHandle, open, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LRUCache } from 'lru-cache';
import PQueue from 'p-queue';
import type { Clock } from '../clock.ts';
import { UserError, hasErrorCode, messageOf } from '../errors.ts';
import { makeDirectories } from '../make-directories.ts';
import { isOurs, makePrivateDirectory } from '../private-files.ts';
import {
  DISK_PAGE_BYTES,
  DISK_TOUCHED_FILES_MAX,
  DISK_WRITERS_MAX,
  DISK_TOUCH_INTERVAL_MS,
  DISK_WRITES_MAX,
  DISK_WRITE_GRANT_PART,
  DISK_WRITE_PAUSE_MS,
} from '../limits.ts';
import type { Logger } from '../log.ts';
import type { BlockMemory } from './block-memory.ts';
import {
  type DiskContent,
  SLOT_HEADER_BYTES,
  blockLength,
  extentOf,
  extentPath,
  isSlotData,
  readSlotHeader,
  slotHeader,
  slotOffset,
} from './disk-slot.ts';
import type { DiskTasks, DiskUsage, Presence, Verdict } from './disk-tasks.ts';

/** What a disk cache did since it was opened, and what it holds, of all processes that share it. */
export interface DiskStoreStatistics {
  readonly directory: string;
  /** As of the last look at all of it, with what this process has written since; undefined before the first. */
  readonly bytes: number | undefined;
  readonly files: number | undefined;
  readonly maxBytes: number;
  /** Blocks that were found, and those that were looked for in vain. */
  readonly hits: number;
  readonly misses: number;
  /** Bytes of the blocks that were found. */
  readonly hitBytes: number;
  /** Blocks that were not served since they were damaged or none of this content. */
  readonly corruptBlocks: number;
  readonly writtenBlocks: number;
  /** Blocks that were not kept: the disk was too slow, full or broken. */
  readonly droppedBlocks: number;
  readonly queuedBytes: number;
  /** Why nothing is written now; undefined when all is well. */
  readonly paused: string | undefined;
}

export interface DiskStoreOptions {
  /** Absolute path; a directory of ours is made in it. */
  readonly directory: string;
  /** What all processes that share the directory may keep in it, in bytes. */
  readonly maxBytes: number;
  /** Blocks that may wait to be written, in bytes. */
  readonly queueMaxBytes: number;
  readonly tasks: DiskTasks;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface WriteOptions {
  /** Waits for its turn however much is to be written; else blocks are dropped when too much is. Default: false. */
  readonly isEager?: boolean;
  /** The blocks come from a local file and not from the store. Default: false. */
  readonly isLocal?: boolean;
}

/** A block from disk. */
export interface DiskBlock {
  readonly bytes: Uint8Array;
  /** Whether it is part of a whole that was found to have its MD5. */
  readonly isVerified: boolean;
}

/** A version of the format has a directory of its own. */
const FORMAT_DIRECTORY = 'blocks-1';

/**
 * Blocks on disk, for all processes of a user that are given the same directory, at once and one after the other. No
 * process locks anything or knows of the others: a slot says for itself whether it is good (see disk-slot.ts), and what
 * is on disk is known by looking. What fails on the disk is never the reader's trouble: the block counts as missing.
 */
export class DiskStore {
  readonly #options: DiskStoreOptions;
  readonly #directory: string;
  readonly #writes = new PQueue({ concurrency: DISK_WRITES_MAX });
  readonly #touched = new LRUCache<string, number>({ max: DISK_TOUCHED_FILES_MAX });
  #usage: DiskUsage | undefined;
  #looking: Promise<void> | undefined;
  /** Bytes that may be written before the next look. */
  #grantBytes = 0;
  /** Bytes that were written since the last look. */
  #writtenBytes = 0;
  #queuedBytes = 0;
  #pausedUntil = 0;
  #pauseReason: string | undefined;
  #hits = 0;
  #misses = 0;
  #hitBytes = 0;
  #corruptBlocks = 0;
  #writtenBlocks = 0;
  #droppedBlocks = 0;

  private constructor(options: DiskStoreOptions) {
    this.#options = options;
    this.#directory = join(options.directory, FORMAT_DIRECTORY);
  }

  /** @throws UserError when the directory can't be made or written */
  static async open(options: DiskStoreOptions): Promise<DiskStore> {
    const store = new DiskStore(options);
    try {
      await store.#look();
    } catch (error) {
      throw new UserError(
        `the cache directory ${options.directory} can't be used: ${messageOf(error)}`,
        'Give another with --cache-dir, or do without: --cache-size none.',
        { cause: error },
      );
    }
    return store;
  }

  get statistics(): DiskStoreStatistics {
    return {
      directory: this.#options.directory,
      bytes: this.#usage && this.#usage.bytes + this.#writtenBytes,
      files: this.#usage?.files,
      maxBytes: this.#options.maxBytes,
      hits: this.#hits,
      misses: this.#misses,
      hitBytes: this.#hitBytes,
      corruptBlocks: this.#corruptBlocks,
      writtenBlocks: this.#writtenBlocks,
      droppedBlocks: this.#droppedBlocks,
      queuedBytes: this.#queuedBytes,
      paused: this.#isPaused ? this.#pauseReason : undefined,
    };
  }

  /**
   * What of the given blocks (ascending) is on disk and good.
   *
   * @param memory where they are put; this store holds them
   */
  async read(
    content: DiskContent,
    blocks: readonly number[],
    memory: BlockMemory,
  ): Promise<ReadonlyMap<number, DiskBlock>> {
    const found = new Map<number, DiskBlock>();
    await Promise.all(
      runsOf(blocks).map(async (run) => {
        try {
          await this.#readRun(content, run, memory, found);
        } catch (error) {
          if (!hasErrorCode(error, 'ENOENT'))
            this.#options.log.debug({ error: messageOf(error) }, 'cache read failed');
        }
      }),
    );
    this.#hits += found.size;
    this.#misses += blocks.length - found.size;
    for (const { bytes } of found.values()) this.#hitBytes += bytes.length;
    return found;
  }

  /**
   * Keeps blocks that are known to be this content's. They must not be written to any more.
   *
   * @returns whether they are on disk now
   */
  async write(
    content: DiskContent,
    blocks: ReadonlyMap<number, Uint8Array>,
    { isEager = false, isLocal = false }: WriteOptions = {},
  ): Promise<boolean> {
    const bytes = [...blocks.values()].reduce((sum, block) => sum + block.length, 0);
    if (this.#isPaused || (!isEager && this.#queuedBytes + bytes > this.#options.queueMaxBytes)) {
      this.#droppedBlocks += blocks.size;
      return false;
    }
    this.#queuedBytes += bytes;
    try {
      return await this.#writes.add(async () => this.#writeAll(content, blocks, isLocal));
    } finally {
      this.#queuedBytes -= bytes;
    }
  }

  /** See {@link DiskTasks.verify}; what fails on the disk makes it incomplete. */
  async verify(content: DiskContent, again = false): Promise<Verdict> {
    try {
      return await this.#options.tasks.verify(this.#directory, content, again);
    } catch (error) {
      this.#options.log.debug({ error: messageOf(error) }, 'content was not verified');
      return { verdict: 'incomplete' };
    }
  }

  /** See {@link DiskTasks.present}. */
  async present(contents: readonly DiskContent[]): Promise<readonly Presence[]> {
    return this.#options.tasks.present(this.#directory, contents);
  }

  /** See {@link DiskTasks.evict}. */
  async evict(contents: readonly DiskContent[]): Promise<void> {
    return this.#options.tasks.evict(this.#directory, contents);
  }

  /** Ends when what waits to be written is on disk. */
  async close(): Promise<void> {
    await this.#writes.onIdle();
    await this.#options.tasks.close();
  }

  get #isPaused(): boolean {
    return this.#options.clock.monotonic() < this.#pausedUntil;
  }

  async #readRun(
    content: DiskContent,
    run: readonly number[],
    memory: BlockMemory,
    found: Map<number, DiskBlock>,
  ): Promise<void> {
    const [first = 0] = run;
    const path = extentPath(this.#directory, content.key, extentOf(first));
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stat = await file.stat();
    // Another user who may write above has put a directory in the place of ours.
    if (!stat.isFile() || !isOurs(stat)) return;
    const { size } = stat;
    // Memory that is taken for what is not there would be most of what a first reader leaves to the garbage collector.
    const present = run.filter((block) => slotOffset(block) < size);
    if (present.length === 0) return;
    const targets = present.map((block) => ({
      block,
      bytes: memory.take(blockLength(content, block), this),
      // What lies between the end of this block and the next one is as long as a page; behind a short block nothing comes.
      tail: Buffer.alloc(DISK_PAGE_BYTES),
    }));
    const buffers = targets.flatMap(({ bytes, tail }) => [bytes, tail]);
    const { bytesRead } = await file.readv(buffers, slotOffset(first));
    let end = 0;
    for (const { block, bytes, tail } of targets) {
      end += bytes.length + SLOT_HEADER_BYTES;
      const header =
        end > bytesRead ? 'empty' : readSlotHeader(content, block, tail.subarray(0, SLOT_HEADER_BYTES));
      end += DISK_PAGE_BYTES - SLOT_HEADER_BYTES;
      if (header === 'empty') {
        memory.release(bytes, this);
        continue;
      }
      if (header === 'corrupt' || !isSlotData(header, bytes)) {
        this.#corruptBlocks += 1;
        continue;
      }
      found.set(block, { bytes, isVerified: header.isVerified });
    }
    if (found.size > 0) this.#touch(path);
  }

  /** Marks a file as used, for who looks for the oldest. */
  #touch(path: string): void {
    const now = this.#options.clock.monotonic();
    const last = this.#touched.get(path);
    if (last !== undefined && now - last < DISK_TOUCH_INTERVAL_MS) return;
    this.#touched.set(path, now);
    const time = this.#options.clock.now() / 1000;
    utimes(path, time, time).catch(() => this.#touched.delete(path));
  }

  async #writeAll(
    content: DiskContent,
    blocks: ReadonlyMap<number, Uint8Array>,
    isLocal: boolean,
  ): Promise<boolean> {
    try {
      for (const run of runsOf([...blocks.keys()].toSorted((a, b) => a - b))) {
        for (let rest = run; rest.length > 0; ) {
          const granted = await this.#granted(content, rest);
          await this.#writeRun(content, rest.slice(0, granted), blocks, isLocal);
          this.#writtenBlocks += granted;
          rest = rest.slice(granted);
        }
      }
      return true;
    } catch (error) {
      this.#droppedBlocks += blocks.size;
      if (!this.#isPaused) this.#pause(messageOf(error));
      return false;
    }
  }

  /** @returns how many of the blocks may be written now, one or more */
  async #granted(content: DiskContent, blocks: readonly number[]): Promise<number> {
    for (let looks = 0; ; looks += 1) {
      let count = 0;
      for (const block of blocks) {
        const bytes = blockLength(content, block) + 2 * DISK_PAGE_BYTES;
        if (bytes > this.#grantBytes) break;
        this.#grantBytes -= bytes;
        this.#writtenBytes += bytes;
        count += 1;
      }
      if (count > 0) return count;
      if (looks > LOOKS_PER_WRITE_MAX) throw new Error('the disk is nearly full');
      await this.#look();
    }
  }

  async #writeRun(
    content: DiskContent,
    run: readonly number[],
    blocks: ReadonlyMap<number, Uint8Array>,
    isLocal: boolean,
  ): Promise<void> {
    const [first = 0] = run;
    const path = extentPath(this.#directory, content.key, extentOf(first));
    const buffers = run.flatMap((block, index) => {
      const bytes = blocks.get(block);
      if (bytes?.length !== blockLength(content, block)) throw new Error(`block ${block} has another length`);
      const header = slotHeader(content, block, bytes, { isVerified: false, isLocal });
      if (index === run.length - 1) return [bytes, header];
      return [bytes, header, PADDING];
    });
    const expected = buffers.reduce((sum, { length }) => sum + length, 0);
    await using file = await openForWriting(path);
    const { bytesWritten } = await file.writev(buffers, slotOffset(first));
    if (bytesWritten !== expected)
      throw new Error(`only ${bytesWritten} of ${expected} bytes could be written`);
  }

  /** Looks at what all have written, makes room where it is needed, and grants what may be written next. */
  async #look(): Promise<void> {
    this.#looking ??= (async () => {
      const { tasks, maxBytes } = this.#options;
      await makePrivateDirectory(this.#directory);
      const usage = await tasks.trim(this.#directory, maxBytes);
      this.#usage = usage;
      this.#writtenBytes = 0;
      // What others may write before they look again has to fit as well.
      const spareBytes = usage.spareBytes / DISK_WRITERS_MAX;
      this.#grantBytes = Math.max(0, Math.min(maxBytes * DISK_WRITE_GRANT_PART, spareBytes));
    })().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  #pause(reason: string): void {
    this.#pausedUntil = this.#options.clock.monotonic() + DISK_WRITE_PAUSE_MS;
    this.#pauseReason = reason;
    this.#options.log.warn(
      { directory: this.#options.directory, reason },
      'nothing is kept on disk for a while',
    );
  }
}

/** Others may write with what one look has granted. */
const LOOKS_PER_WRITE_MAX = 2;

const PADDING = Buffer.alloc(DISK_PAGE_BYTES - SLOT_HEADER_BYTES);

/** Blocks (ascending) that lie one after the other in one file. */
function runsOf(blocks: readonly number[]): readonly (readonly number[])[] {
  const runs: number[][] = [];
  for (const block of blocks) {
    const last = runs.at(-1);
    const before = last?.at(-1);
    if (last && before === block - 1 && extentOf(before) === extentOf(block)) last.push(block);
    else runs.push([block]);
  }
  return runs;
}

async function openForWriting(path: string): Promise<FileHandle> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(path, flags, 0o600).catch(async (error: unknown) => {
    if (!hasErrorCode(error, 'ENOENT')) throw error;
    await makeDirectories(dirname(path));
    return open(path, flags, 0o600);
  });
  const stat = await file.stat();
  if (stat.isFile() && isOurs(stat)) return file;
  await file.close();
  throw new Error(`${path} is not ours`);
}
