import type { ObjectStore } from '../ecs/object-store.ts';
import { BLOCK_BYTES, READ_AHEAD_MIN_BYTES } from '../limits.ts';
import type { BlockCache } from './block-cache.ts';
import type { Content } from './block-key.ts';

/** Where nobody reads in sequence. */
const NOWHERE = -1;

/**
 * Reads one open file through the block cache and fetches ahead of a reader that goes through it in sequence: the
 * second neighbouring read starts a window of {@link READ_AHEAD_MIN_BYTES}, which doubles as long as the reader
 * follows, up to what the cache's budget allows. A jump drops what was fetched ahead in vain.
 */
export class SequentialReader {
  readonly #cache: BlockCache;
  readonly #store: ObjectStore;
  readonly #content: Content;
  /** Where a sequential reader goes on, in bytes. */
  #next = NOWHERE;
  /** The end of what was asked for ahead, in bytes. */
  #ahead = 0;
  #window = 0;
  /** What ends the present window; undefined while nothing is fetched ahead. */
  #stop: (() => void) | undefined;
  #prefetching = new AbortController();

  constructor(cache: BlockCache, store: ObjectStore, content: Content) {
    this.#cache = cache;
    this.#store = store;
    this.#content = content;
  }

  /** As {@link BlockCache.read}. */
  async read(offset: number, length: number, signal: AbortSignal): Promise<readonly Uint8Array[]> {
    // What is read is asked for first, so that it goes before what is fetched ahead.
    const reading = this.#cache.read(this.#store, this.#content, offset, length, signal);
    const end = Math.min(this.#content.size, offset + length);
    // The kernel sends neighbouring reads side by side, so they may arrive out of order by a block or two.
    if (this.#next !== NOWHERE && Math.abs(offset - this.#next) <= 2 * BLOCK_BYTES) this.#advance(end);
    else this.#restart(end);
    return reading;
  }

  /** Gives up what is fetched ahead. */
  close(): void {
    this.#stop?.();
    this.#stop = undefined;
  }

  #restart(end: number): void {
    this.close();
    this.#window = 0;
    this.#next = end;
    this.#ahead = end;
  }

  #advance(end: number): void {
    this.#next = Math.max(this.#next, end);
    // Ask again only when half of the window is used up, so that requests stay large.
    if (this.#ahead - this.#next > this.#window / 2) return;
    const from = Math.max(this.#ahead, this.#next);
    if (from >= this.#content.size) return;
    const budget = this.#cache.readAhead;
    this.#stop ??= this.#start();
    this.#window = Math.min(budget.windowBytes, Math.max(READ_AHEAD_MIN_BYTES, this.#window * 2));
    const wanted = Math.min(this.#content.size, this.#next + this.#window) - from;
    if (wanted <= 0) return;
    const bytes = budget.take(wanted);
    // Less than a block would come as a whole one all the same; only the end of the content is less.
    if (bytes < BLOCK_BYTES && from + bytes < this.#content.size) return budget.give(bytes);
    this.#ahead = from + bytes;
    void this.#cache
      .prefetch(this.#store, this.#content, from, bytes, this.#prefetching.signal)
      .finally(() => budget.give(bytes));
  }

  #start(): () => void {
    const prefetching = new AbortController();
    const leave = this.#cache.readAhead.join();
    this.#prefetching = prefetching;
    return () => {
      prefetching.abort();
      leave();
    };
  }
}
