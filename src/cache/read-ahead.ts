import type { ObjectStore } from '../ecs/object-store.ts';
import { READ_STREAMS_MAX } from '../limits.ts';
import type { BlockCache } from './block-cache.ts';
import type { Content } from './block-key.ts';
import { NEAR_BYTES, ReadStream } from './read-stream.ts';

/**
 * Reads one open file through the block cache and fetches ahead of those who go through it: forward, backward or in
 * equal steps, several at a time. Reads here and there fetch nothing ahead. A jump drops what was fetched ahead, unless
 * readers were seen to come back to where they had been: several share the handle then.
 */
export class ContentReader {
  readonly #cache: BlockCache;
  readonly #store: ObjectStore;
  readonly #content: Content;
  /** The one that was last followed comes first. */
  #streams: ReadStream[] = [];
  /** Whether a stream was followed again after a read elsewhere. */
  #isShared = false;
  #lastOffset: number | undefined;
  #lastStep: number | undefined;

  constructor(cache: BlockCache, store: ObjectStore, content: Content) {
    this.#cache = cache;
    this.#store = store;
    this.#content = content;
  }

  /** As {@link BlockCache.read}. */
  async read<T>(
    offset: number,
    length: number,
    signal: AbortSignal,
    use: (parts: readonly Uint8Array[]) => T,
  ): Promise<T> {
    // What is read is asked for first, so that it goes before what is fetched ahead.
    const reading = this.#cache.read(this.#store, this.#content, offset, length, signal, use);
    const end = Math.min(this.#content.size, offset + length);
    if (end > offset) this.#follow(offset, end);
    return reading;
  }

  /** Gives up what is fetched ahead. */
  close(): void {
    for (const stream of this.#streams) stream.drop();
    this.#streams = [];
  }

  #follow(offset: number, end: number): void {
    const step = this.#lastOffset === undefined ? undefined : offset - this.#lastOffset;
    const index = this.#streams.findIndex((stream, place) => stream.continues(offset, end, place === 0));
    const [followed] = index === -1 ? [] : this.#streams.splice(index, 1);
    if (followed) {
      if (index > 0) this.#isShared = true;
      this.#streams.unshift(followed);
      followed.follow(offset, end);
    } else {
      this.#begin(offset, end, step);
    }
    this.#lastOffset = offset;
    this.#lastStep = step;
  }

  #begin(offset: number, end: number, step: number | undefined): void {
    if (!this.#isShared) for (const stream of this.#streams) stream.drop();
    const inSteps = step !== undefined && step === this.#lastStep && Math.abs(step) > NEAR_BYTES;
    const source = { cache: this.#cache, store: this.#store, content: this.#content };
    const stream = new ReadStream(source, offset, end, inSteps ? step : undefined);
    this.#streams.unshift(stream);
    if (inSteps) stream.ahead(end - offset);
    for (const old of this.#streams.splice(READ_STREAMS_MAX)) old.drop();
  }
}
