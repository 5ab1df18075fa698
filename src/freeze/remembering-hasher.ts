import type { BigIntStats } from 'node:fs';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../clock.ts';
import {
  FREEZE_BUFFERED_MAX_BYTES,
  REMEMBERED_MD5_MIN_AGE_MS,
  REMEMBERED_MD5_WAITING_MAX,
  REMEMBERED_MD5S_MAX,
  SINGLE_PUT_MAX_BYTES,
} from '../limits.ts';
import type { FileHasher, OpenableFile, PartedMd5 } from './file-hasher.ts';

/** The MD5 of a file, and what the file was then. */
interface Remembered {
  readonly md5: string;
  readonly stats: BigIntStats;
}

/**
 * Hashes files beforehand, so that a freeze need not. `prepare` hears of files that were written; one that has been left
 * alone for {@link REMEMBERED_MD5_MIN_AGE_MS} is hashed, one at a time. Whether it is still the same is told by its ctime,
 * which nobody can set: by then it is older than a tick of the kernel's clock, so a write after it makes another one.
 */
export class RememberingFileHasher implements FileHasher {
  readonly #hasher: FileHasher;
  readonly #clock: Clock;
  readonly #known = new LRUCache<string, Remembered>({ max: REMEMBERED_MD5S_MAX });
  /** Files to hash by path, and when they were written last. */
  readonly #waiting = new Map<string, { readonly file: OpenableFile; readonly writtenAt: number }>();
  readonly #ending = new AbortController();
  #working: Promise<void> | undefined;

  constructor(hasher: FileHasher, clock: Clock) {
    this.#hasher = hasher;
    this.#clock = clock;
  }

  async md5(file: OpenableFile, signal: AbortSignal): Promise<string> {
    const known = this.#known.get(file.path);
    if (known && isSame(known.stats, await statOf(file))) return known.md5;
    return this.#hasher.md5(file, signal);
  }

  async md5OfParts(file: OpenableFile, partBytes: number, signal: AbortSignal): Promise<PartedMd5> {
    return this.#hasher.md5OfParts(file, partBytes, signal);
  }

  /**
   * A file may have been written, and is closed. Small ones, those that go in parts, and more than fit, are left for the
   * freeze to hash.
   */
  prepare(file: OpenableFile): void {
    this.#waiting.delete(file.path);
    if (this.#ending.signal.aborted || this.#waiting.size === REMEMBERED_MD5_WAITING_MAX) return;
    this.#waiting.set(file.path, { file, writtenAt: this.#clock.monotonic() });
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
  }

  /** Resolves when nothing is left to hash. */
  async settled(): Promise<void> {
    await this.#working;
  }

  async close(): Promise<void> {
    this.#ending.abort();
    this.#waiting.clear();
    await this.#working;
    await this.#hasher.close();
  }

  async #work(): Promise<void> {
    const { signal } = this.#ending;
    for (let next = this.#next(); next; next = this.#next()) {
      const [path, { file, writtenAt }] = next;
      try {
        const age = this.#clock.monotonic() - writtenAt;
        if (age < REMEMBERED_MD5_MIN_AGE_MS) {
          await this.#clock.sleep(REMEMBERED_MD5_MIN_AGE_MS - age, signal);
          // Written again meanwhile, it is young again.
          if (this.#waiting.get(path) !== next[1]) continue;
        }
        this.#waiting.delete(path);
        await this.#hash(file, signal);
      } catch {
        // Gone, unreadable, or the end: who needs the MD5 finds out.
        this.#waiting.delete(path);
      }
    }
  }

  #next(): readonly [string, { readonly file: OpenableFile; readonly writtenAt: number }] | undefined {
    return this.#waiting.entries().next().value;
  }

  async #hash(file: OpenableFile, signal: AbortSignal): Promise<void> {
    const before = await statOf(file);
    if (!before.isFile() || before.size <= FREEZE_BUFFERED_MAX_BYTES || before.size > SINGLE_PUT_MAX_BYTES)
      return;
    const known = this.#known.get(file.path);
    if (known && isSame(known.stats, before)) return;
    const md5 = await this.#hasher.md5(file, signal);
    if (isSame(before, await statOf(file))) this.#known.set(file.path, { md5, stats: before });
  }
}

async function statOf(file: OpenableFile): Promise<BigIntStats> {
  await using handle = await file.open();
  return await handle.stat({ bigint: true });
}

function isSame(a: BigIntStats, b: BigIntStats): boolean {
  return (
    a.dev === b.dev &&
    a.ino === b.ino &&
    a.size === b.size &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs
  );
}
