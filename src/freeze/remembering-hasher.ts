import type { BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../clock.ts';
import {
  FREEZE_BUFFERED_MAX_BYTES,
  REMEMBERED_MD5_MIN_AGE_MS,
  REMEMBERED_MD5_WAITING_MAX,
  REMEMBERED_MD5S_MAX,
  SINGLE_PUT_MAX_BYTES,
} from '../limits.ts';
import type { FileHasher, PartedMd5 } from './file-hasher.ts';

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
  /** Paths to hash, by when they were written last. */
  readonly #waiting = new Map<string, number>();
  readonly #ending = new AbortController();
  #working: Promise<void> | undefined;

  constructor(hasher: FileHasher, clock: Clock) {
    this.#hasher = hasher;
    this.#clock = clock;
  }

  async md5(path: string, signal: AbortSignal): Promise<string> {
    const known = this.#known.get(path);
    if (known && isSame(known.stats, await stat(path, { bigint: true }))) return known.md5;
    return this.#hasher.md5(path, signal);
  }

  async md5OfParts(path: string, partBytes: number, signal: AbortSignal): Promise<PartedMd5> {
    return this.#hasher.md5OfParts(path, partBytes, signal);
  }

  /**
   * A file may have been written, and is closed. Small ones, those that go in parts, and more than fit, are left for the
   * freeze to hash.
   */
  prepare(path: string): void {
    this.#waiting.delete(path);
    if (this.#ending.signal.aborted || this.#waiting.size === REMEMBERED_MD5_WAITING_MAX) return;
    this.#waiting.set(path, this.#clock.monotonic());
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
      const [path, writtenAt] = next;
      try {
        const age = this.#clock.monotonic() - writtenAt;
        if (age < REMEMBERED_MD5_MIN_AGE_MS) {
          await this.#clock.sleep(REMEMBERED_MD5_MIN_AGE_MS - age, signal);
          // Written again meanwhile, it is young again.
          if (this.#waiting.get(path) !== writtenAt) continue;
        }
        this.#waiting.delete(path);
        await this.#hash(path, signal);
      } catch {
        // Gone, unreadable, or the end: who needs the MD5 finds out.
        this.#waiting.delete(path);
      }
    }
  }

  #next(): readonly [string, number] | undefined {
    return this.#waiting.entries().next().value;
  }

  async #hash(path: string, signal: AbortSignal): Promise<void> {
    const before = await stat(path, { bigint: true });
    if (!before.isFile() || before.size <= FREEZE_BUFFERED_MAX_BYTES || before.size > SINGLE_PUT_MAX_BYTES)
      return;
    const known = this.#known.get(path);
    if (known && isSame(known.stats, before)) return;
    const md5 = await this.#hasher.md5(path, signal);
    if (isSame(before, await stat(path, { bigint: true }))) this.#known.set(path, { md5, stats: before });
  }
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
