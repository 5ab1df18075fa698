import { constants, type FileHandle, mkdir, open, rename, stat } from 'node:fs/promises';
import { constants as system } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KiB } from '../../src/limits.ts';
import { knownBytes, type KnownFile, nameOf } from './known-content.ts';
import type { Load } from './load.ts';
import { readRange } from './read-range.ts';
import { monotonicMs } from './monotonic.ts';

const FILES_MAX = 4;
const FILE_MAX_BYTES = 600 * KiB;
const CHUNK_MAX_BYTES = 100 * KiB;
/** So that a mount that is away is not asked all the time. */
const PAUSE_MS = 20;
/** A file that is missing for longer is not missing because the mount is away. */
const AWAY_AT_MOST_MS = 30_000;
/** What is frozen has to be seen within this. */
const VISIBLE_WITHIN_MS = 120_000;

/** What a freeze may say that is not lost, by number: Node has no name for one of them. */
const { EINPROGRESS, EBUSY, ENOENT, EEXIST } = system.errno;
const { O_CREAT, O_RDWR } = constants;
const ON_ITS_WAY: ReadonlySet<number> = new Set([EINPROGRESS, EBUSY, ENOENT, EEXIST]);

/** A part of a file, and how far it is: not written or in doubt, answered by write(2), or by fsync(2), too. */
interface Chunk {
  readonly offset: number;
  readonly bytes: Buffer;
  state: 'open' | 'written' | 'synced';
}

interface StagedFile {
  readonly name: string;
  readonly content: Buffer;
  readonly chunks: readonly Chunk[];
}

/**
 * Makes one folder after the other: writes files in pieces and in any order, syncs, freezes by renaming, and reads what
 * came of it. After every error it holds what is there against what it was told was written.
 */
export class Stager {
  readonly #load: Load;
  readonly #random: () => number;
  readonly #name: string;

  /** @param name which nobody else has */
  constructor(load: Load, random: () => number, name: string) {
    this.#load = load;
    this.#random = random;
    this.#name = name;
  }

  async run(): Promise<void> {
    for (let round = 0; !this.#load.isStopping; round += 1) {
      const folder = `${this.#name}-${round}`;
      await this.#make(folder);
      const files: StagedFile[] = [];
      for (let left = 1 + this.#upTo(FILES_MAX); left > 0; left -= 1) {
        const file = this.#newFile();
        files.push(file);
        while (!(await this.#write(folder, file))) await this.#check(folder, files);
      }
      if (!(await this.#freeze(folder))) return;
      await this.#readBack(folder, files);
      this.#load.figures.add('datasets frozen');
      this.#load.tell({ tell: 'frozen', name: folder, items: files.map(({ name }) => name) });
    }
  }

  #upTo(count: number): number {
    return Math.floor(this.#random() * count);
  }

  #newFile(): StagedFile {
    const file: KnownFile = {
      seed: this.#upTo(2 ** 30),
      length: 1 + Math.floor(this.#random() ** 2 * FILE_MAX_BYTES),
    };
    const content = knownBytes(file);
    const chunks: Chunk[] = [];
    for (let offset = 0; offset < content.length; ) {
      const bytes = content.subarray(offset, offset + 1 + this.#upTo(CHUNK_MAX_BYTES));
      chunks.splice(this.#upTo(chunks.length + 1), 0, { offset, bytes, state: 'open' });
      offset += bytes.length;
    }
    return { name: nameOf(file), content, chunks };
  }

  async #make(folder: string): Promise<void> {
    const path = `staging/${folder}`;
    for (;;) {
      const made = await this.#load.call('mkdir', path, async () =>
        mkdir(this.#at(path)).catch((error: NodeJS.ErrnoException) => {
          // An earlier call was not answered, and done.
          if (error.code !== 'EEXIST') throw error;
        }),
      );
      if ('value' in made) return;
      await sleep(PAUSE_MS);
    }
  }

  /**
   * Writes what is not written yet.
   *
   * @returns false after an error
   */
  async #write(folder: string, { name, chunks }: StagedFile): Promise<boolean> {
    const path = `staging/${folder}/${name}`;
    const from = monotonicMs();
    // It may be there already. One call: between two the mount may come back.
    const flags = O_RDWR | O_CREAT;
    const opened = await this.#load.call('open', path, async () => open(this.#at(path), flags));
    if ('code' in opened) return false;
    const { value: file } = opened;
    const isDone = await this.#writeTo(file, path, chunks, from);
    const closed = await this.#load.call('close', path, async () => file.close(), from);
    return isDone && 'value' in closed;
  }

  async #writeTo(file: FileHandle, path: string, chunks: readonly Chunk[], from: number): Promise<boolean> {
    for (const chunk of chunks.filter(({ state }) => state === 'open')) {
      const { bytes, offset } = chunk;
      const wrote = await this.#load.call(
        'write',
        path,
        async () => file.write(bytes, 0, bytes.length, offset),
        from,
      );
      if ('code' in wrote) return false;
      if (wrote.value.bytesWritten !== bytes.length) continue;
      chunk.state = 'written';
      this.#load.figures.add('bytes written', bytes.length);
      if (this.#random() < 0.3 && !(await this.#sync(file, path, chunks, from))) return false;
    }
    return this.#sync(file, path, chunks, from);
  }

  async #sync(file: FileHandle, path: string, chunks: readonly Chunk[], from: number): Promise<boolean> {
    const synced = await this.#load.call('fsync', path, async () => file.sync(), from);
    if ('code' in synced) return false;
    this.#load.figures.add('fsyncs');
    for (const chunk of chunks) if (chunk.state === 'written') chunk.state = 'synced';
    return chunks.every(({ state }) => state === 'synced');
  }

  /** Holds what is in the folder against what was answered. */
  async #check(folder: string, files: readonly StagedFile[]): Promise<void> {
    for (const { name, chunks } of files) {
      // It may never have been made.
      if (chunks.every(({ state }) => state === 'open')) continue;
      const path = `staging/${folder}/${name}`;
      const found = await this.#readAll(path, AWAY_AT_MOST_MS);
      for (const { offset, bytes, state } of chunks) {
        if (state === 'open' || found.subarray(offset, offset + bytes.length).equals(bytes)) continue;
        this.#load.violation(
          state === 'synced' ? 'lost-after-fsync' : 'lost-after-write',
          `${path}: ${bytes.length} bytes at ${offset}, of a file of ${found.length}`,
        );
      }
      this.#load.figures.add('staged files checked');
    }
  }

  /** The content of a file, as soon as the mount is back; nothing of one that stays missing for so long. */
  async #readAll(path: string, patienceMs: number): Promise<Buffer> {
    let deadline = Infinity;
    for (;;) {
      const read = await this.#load.call('read all', path, async () => {
        const file = await open(this.#at(path));
        try {
          return await readRange(file, 0, (await file.stat()).size);
        } finally {
          // What was read was read.
          await file.close().catch(() => {});
        }
      });
      if ('value' in read) return read.value;
      if (read.code !== 'ENOENT') deadline = Infinity;
      else if (deadline === Infinity) deadline = monotonicMs() + patienceMs;
      else if (monotonicMs() > deadline) return Buffer.alloc(0);
      await sleep(PAUSE_MS);
    }
  }

  /** @returns false when it could not be done in any reasonable time, which was told */
  async #freeze(folder: string): Promise<boolean> {
    const staged = `staging/${folder}`;
    let deadline = Infinity;
    for (;;) {
      const frozen = await this.#load.call('freeze', staged, async () =>
        rename(this.#at(staged), this.#at(folder)).catch((error: NodeJS.ErrnoException) => {
          // It goes on, or an earlier freeze, whose call was not answered, is under way or done.
          if (!ON_ITS_WAY.has(-(error.errno ?? 0))) throw error;
        }),
      );
      if ('value' in frozen) {
        const [isStaged, isFrozen] = await Promise.all([this.#isThere(staged), this.#isThere(folder)]);
        if (isStaged === false && isFrozen === true) return true;
        // A folder is either staged or frozen; where it is neither, it has to be seen some time.
        if (isStaged === true || isStaged === undefined || isFrozen === undefined) deadline = Infinity;
        else if (deadline === Infinity) deadline = monotonicMs() + VISIBLE_WITHIN_MS;
        if (monotonicMs() > deadline) {
          this.#load.violation('lost-after-fsync', `${folder} is neither staged nor frozen`);
          return false;
        }
      }
      await sleep(PAUSE_MS);
    }
  }

  /** @returns undefined when nobody can say */
  async #isThere(path: string): Promise<boolean | undefined> {
    const found = await this.#load.call('look', path, async () => {
      // The mount itself may be away.
      await stat(this.#at('staging'));
      return stat(this.#at(path)).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOENT') return false;
          throw error;
        },
      );
    });
    return 'value' in found ? found.value : undefined;
  }

  async #readBack(folder: string, files: readonly StagedFile[]): Promise<void> {
    for (const { name, content } of files) {
      const path = `${folder}/data/${name}`;
      const found = await this.#readAll(path, VISIBLE_WITHIN_MS);
      this.#load.figures.add('bytes read', found.length);
      if (!found.equals(content)) this.#load.violation('wrong-bytes', `${path}: ${found.length} bytes`);
    }
  }

  #at(path: string): string {
    return join(this.#load.mountpoint, path);
  }
}
