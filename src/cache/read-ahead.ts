import type { ObjectStore } from '../ecs/object-store.ts';
import { BLOCK_BYTES, READ_AHEAD_MAX_BYTES, READ_AHEAD_MIN_BYTES } from '../limits.ts';
import type { BlockCache } from './block-cache.ts';
import type { Content } from './block-key.ts';

/**
 * Reads one open file through the block cache and fetches ahead of a reader that goes through it in sequence: the
 * second neighbouring read starts a window of {@link READ_AHEAD_MIN_BYTES}, which doubles up to
 * {@link READ_AHEAD_MAX_BYTES} as long as the reader follows. A jump drops what was fetched ahead in vain.
 */
export class SequentialReader {
  readonly #cache: BlockCache;
  readonly #store: ObjectStore;
  readonly #content: Content;
  /** Where a sequential reader goes on, in bytes; nothing has been read before the first one. */
  #next = -1;
  #window = 0;
  /** The end of what was asked for ahead, in bytes. */
  #ahead = 0;
  #prefetching = new AbortController();

  constructor(cache: BlockCache, store: ObjectStore, content: Content) {
    this.#cache = cache;
    this.#store = store;
    this.#content = content;
  }

  /** As {@link BlockCache.read}. */
  async read(offset: number, length: number, signal: AbortSignal): Promise<readonly Uint8Array[]> {
    const end = offset + length;
    // The kernel sends neighbouring reads side by side, so they may arrive out of order by a block or two.
    const sequential = this.#next >= 0 && Math.abs(offset - this.#next) <= 2 * BLOCK_BYTES;
    if (sequential) this.#advance(end);
    else this.#restart(end);
    return this.#cache.read(this.#store, this.#content, offset, length, signal);
  }

  /** Gives up what is fetched ahead. */
  close(): void {
    this.#prefetching.abort();
  }

  #restart(end: number): void {
    if (this.#window > 0) {
      this.#prefetching.abort();
      this.#prefetching = new AbortController();
    }
    this.#window = 0;
    this.#next = end;
    this.#ahead = end;
  }

  #advance(end: number): void {
    this.#next = Math.max(this.#next, end);
    // Ask again only when half of the window is used up, so that requests stay large.
    if (this.#window > 0 && this.#ahead - this.#next > this.#window / 2) return;
    this.#window = Math.min(READ_AHEAD_MAX_BYTES, Math.max(READ_AHEAD_MIN_BYTES, this.#window * 2));
    const from = Math.max(this.#ahead, this.#next);
    const until = Math.min(this.#content.size, this.#next + this.#window);
    if (from >= until) return;
    this.#ahead = until;
    void this.#cache.prefetch(this.#store, this.#content, from, until - from, this.#prefetching.signal);
  }
}
