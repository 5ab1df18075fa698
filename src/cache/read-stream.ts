import { setMaxListeners } from 'node:events';
import type { ObjectStore } from '../ecs/object-store.ts';
import { BLOCK_BYTES, RANGED_GET_MAX_BYTES, READ_AHEAD_MIN_BYTES, READ_AHEAD_STEPS_MAX } from '../limits.ts';
import type { BlockCache } from './block-cache.ts';
import type { Content } from './block-key.ts';

/** The kernel sends neighbouring reads side by side, so they may arrive out of order by a block or two. */
export const NEAR_BYTES = 2 * BLOCK_BYTES;
/** Reads towards the beginning, one next to the other, before it is believed that they go on. */
const BACKWARD_READS = 2;

/**
 * One way through a file: forward, backward, or in equal steps. What lies ahead is fetched in a window that starts with
 * {@link READ_AHEAD_MIN_BYTES} and doubles as long as the reader follows, up to what the cache's budget allows.
 */
export class ReadStream {
  readonly #cache: BlockCache;
  readonly #store: ObjectStore;
  readonly #content: Content;
  /** Bytes from one read to the next, where they are in equal steps. */
  readonly #step: number | undefined;
  #offset: number;
  /** The lowest and the highest byte so far, between which nothing is new. */
  #low: number;
  #high: number;
  /** How many reads went backward since the last that went forward. */
  #backward = 0;
  #isFollowed = false;
  #window = 0;
  /** Where what was asked for ends: a position, or in steps a number of them. */
  #ahead: number | undefined;
  /** What ends the present window; undefined while nothing is fetched ahead. */
  #stop: (() => void) | undefined;
  #prefetching = new AbortController();

  /** @param step of reads that are known to be in equal steps, in bytes */
  constructor(
    source: { readonly cache: BlockCache; readonly store: ObjectStore; readonly content: Content },
    offset: number,
    end: number,
    step?: number,
  ) {
    this.#cache = source.cache;
    this.#store = source.store;
    this.#content = source.content;
    this.#step = step;
    this.#offset = offset;
    this.#low = offset;
    this.#high = end;
  }

  /**
   * Whether a read goes on where the stream is.
   *
   * @param isLast whether nothing was read elsewhere since; else a stream that is a single read so far must be met
   *   exactly, or among reads here and there some would seem to go on
   */
  continues(offset: number, end: number, isLast: boolean): boolean {
    if (this.#step !== undefined) return offset === this.#offset + this.#step;
    const near = isLast || this.#isFollowed ? NEAR_BYTES : 0;
    return Math.abs(offset - this.#high) <= near || Math.abs(end - this.#low) <= near;
  }

  /** The reader went on: fetches what comes after. */
  follow(offset: number, end: number): void {
    this.#isFollowed = true;
    if (this.#step !== undefined) {
      this.#offset = offset;
      // One of the steps that were asked for has been taken.
      this.#ahead = Math.max(0, (this.#ahead ?? 0) - 1);
      this.ahead(end - offset);
      return;
    }
    if (end > this.#high) {
      if (this.#backward >= BACKWARD_READS) this.drop();
      this.#backward = 0;
      this.#high = end;
      this.#fetchForward();
    } else if (offset < this.#low) {
      this.#low = offset;
      this.#backward += 1;
      if (this.#backward === BACKWARD_READS) this.drop();
      if (this.#backward >= BACKWARD_READS) this.#fetchBackward();
    }
  }

  /** Fetches the next steps, of so many bytes each. */
  ahead(length: number): void {
    if (this.#step === undefined) return;
    const blocks = Math.ceil(length / BLOCK_BYTES) + 1;
    const bytes = blocks * BLOCK_BYTES;
    this.#widen();
    const steps = Math.min(READ_AHEAD_STEPS_MAX, Math.floor(this.#window / bytes));
    for (let step = (this.#ahead ?? 0) + 1; step <= steps; step += 1) {
      const offset = this.#offset + step * this.#step;
      if (offset < 0 || offset >= this.#content.size) break;
      const taken = this.#cache.readAhead.take(bytes);
      if (taken < bytes) return this.#cache.readAhead.give(taken);
      this.#fetch(offset, length, taken);
      this.#ahead = step;
    }
  }

  /** Gives up what is fetched ahead. */
  drop(): void {
    this.#stop?.();
    this.#stop = undefined;
    this.#window = 0;
    this.#ahead = undefined;
  }

  #fetchForward(): void {
    const { readAhead } = this.#cache;
    const from = Math.max(this.#ahead ?? 0, this.#high);
    if (from >= this.#content.size || !this.#isDue(from - this.#high)) return;
    this.#widen();
    const wanted = Math.min(this.#content.size, this.#high + this.#window) - from;
    if (wanted <= 0) return;
    const bytes = readAhead.take(wanted);
    // Less than a block would come as a whole one all the same; only the end of the content is less.
    if (bytes < BLOCK_BYTES && from + bytes < this.#content.size) return readAhead.give(bytes);
    this.#ahead = from + bytes;
    this.#fetch(from, bytes, bytes);
  }

  #fetchBackward(): void {
    const { readAhead } = this.#cache;
    const until = Math.min(this.#ahead ?? this.#low, this.#low);
    if (until <= 0 || !this.#isDue(this.#low - until)) return;
    this.#widen();
    const from = Math.max(0, Math.floor((this.#low - this.#window) / BLOCK_BYTES) * BLOCK_BYTES);
    if (from >= until) return;
    const bytes = readAhead.take(until - from);
    if (bytes < until - from) return readAhead.give(bytes);
    this.#ahead = from;
    this.#fetch(from, bytes, bytes);
  }

  /**
   * Whether enough of the window is used up to ask again: requests stay large, and several are under way. A window that
   * still grows makes them large by itself, and must not be late.
   */
  #isDue(aheadBytes: number): boolean {
    const isGrown = this.#window >= this.#cache.readAhead.windowBytes;
    const least = isGrown ? RANGED_GET_MAX_BYTES : RANGED_GET_MAX_BYTES / 2;
    return this.#window - aheadBytes >= Math.min(this.#window / 2, least);
  }

  #widen(): void {
    this.#stop ??= this.#start();
    const { windowBytes } = this.#cache.readAhead;
    this.#window = Math.min(windowBytes, Math.max(READ_AHEAD_MIN_BYTES, this.#window * 2));
  }

  /** @param taken of the budget, which gets it back when it is fetched */
  #fetch(offset: number, length: number, taken: number): void {
    const { signal } = this.#prefetching;
    void this.#cache
      .prefetch(this.#store, this.#content, offset, length, signal)
      .finally(() => this.#cache.readAhead.give(taken));
  }

  #start(): () => void {
    const prefetching = new AbortController();
    // It has as many listeners as there are parts under way: that is no leak.
    setMaxListeners(0, prefetching.signal);
    const leave = this.#cache.readAhead.join();
    this.#prefetching = prefetching;
    return () => {
      prefetching.abort();
      leave();
    };
  }
}
