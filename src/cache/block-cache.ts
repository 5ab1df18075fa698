import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { ObjectInfo, ObjectStore, Priority } from '../ecs/object-store.ts';
import { FsError } from '../errors.ts';
import { BLOCK_BYTES, RANGED_GET_MAX_BYTES } from '../limits.ts';
import { SharedTask } from '../shared-task.ts';
import { type Content, blockKey } from './block-key.ts';

/** What the cache did since it was made, in blocks and bytes. */
export interface BlockCacheStatistics {
  /** Blocks that a read found in memory, and those it had to wait for. */
  readonly hits: number;
  readonly misses: number;
  readonly blocks: number;
  readonly bytes: number;
  readonly maxBytes: number;
  /** Bytes that came from the store. */
  readonly fetchedBytes: number;
}

/** A run of neighbouring blocks on its way from the store. */
type Flight = SharedTask<readonly Uint8Array[]>;

/**
 * Blocks of remote content in memory, the least recently used dropped first. A block is fetched once however many
 * ask for it at the same time, neighbouring blocks come in one request, and a request that nobody waits for any more
 * is cancelled. Blocks are shared: they must not be written to.
 *
 * Deleting everything in it is always safe.
 */
export class BlockCache {
  readonly #blocks: LRUCache<string, Uint8Array>;
  readonly #flights = new Map<string, { readonly flight: Flight; readonly position: number }>();
  #hits = 0;
  #misses = 0;
  #fetchedBytes = 0;

  /** @param maxBytes what the blocks in the cache may take together, in bytes; those on their way come on top */
  constructor(maxBytes: number) {
    this.#blocks = new LRUCache({ maxSize: maxBytes, sizeCalculation: (block) => Math.max(1, block.length) });
  }

  get statistics(): BlockCacheStatistics {
    return {
      hits: this.#hits,
      misses: this.#misses,
      blocks: this.#blocks.size,
      bytes: this.#blocks.calculatedSize,
      maxBytes: this.#blocks.maxSize,
      fetchedBytes: this.#fetchedBytes,
    };
  }

  /**
   * Reads a range as parts that follow each other: `length` bytes, fewer only where the content ends.
   *
   * @throws FsError EIO when the object in the store is missing or is not this content, ESTALE when it has another
   *   ETag; StoreError when it can't be had
   */
  async read(
    store: ObjectStore,
    content: Content,
    offset: number,
    length: number,
    signal: AbortSignal,
  ): Promise<readonly Uint8Array[]> {
    const end = Math.min(content.size, offset + length);
    if (offset >= end) return [];
    const first = Math.floor(offset / BLOCK_BYTES);
    const last = Math.floor((end - 1) / BLOCK_BYTES);
    const blocks: Uint8Array[] = [];
    const missing: number[] = [];
    for (let block = first; block <= last; block += 1) {
      const cached = this.#blocks.get(blockKey(content, block));
      if (cached) blocks[block - first] = cached;
      else missing.push(block);
    }
    this.#hits += last - first + 1 - missing.length;
    this.#misses += missing.length;
    if (missing.length > 0) {
      // From here to the last wait() nothing yields: no flight can land or be cancelled before we have joined it.
      this.#startFlights(store, content, missing, 'read');
      await Promise.all(
        missing.map(async (block) => {
          blocks[block - first] = await this.#wait(store, content, block, signal);
        }),
      );
    }
    return blocks.map((block, index) => {
      const start = (first + index) * BLOCK_BYTES;
      return block.subarray(Math.max(0, offset - start), Math.min(block.length, end - start));
    });
  }

  /**
   * Fetches a range ahead of its readers, with the lowest priority. Resolves when it is in the cache, on failure too:
   * whoever reads the range then gets the error. An abort gives up what nobody else waits for.
   */
  async prefetch(
    store: ObjectStore,
    content: Content,
    offset: number,
    length: number,
    signal: AbortSignal,
  ): Promise<void> {
    const end = Math.min(content.size, offset + length);
    const missing: number[] = [];
    for (let block = Math.floor(offset / BLOCK_BYTES); block * BLOCK_BYTES < end; block += 1) {
      if (!this.#blocks.has(blockKey(content, block))) missing.push(block);
    }
    this.#startFlights(store, content, missing, 'background');
    const flights = new Set(missing.map((block) => this.#flights.get(blockKey(content, block))?.flight));
    await Promise.allSettled([...flights].map((flight) => flight?.wait(signal)));
  }

  /** One block from the flight that carries it, or from a new one when that was cancelled before we joined it. */
  async #wait(store: ObjectStore, content: Content, block: number, signal: AbortSignal): Promise<Uint8Array> {
    this.#startFlights(store, content, [block], 'read');
    const carried = this.#flights.get(blockKey(content, block));
    const buffer = (await carried?.flight.wait(signal))?.[carried?.position ?? 0];
    if (!buffer) throw new FsError('EIO', `${store.bucket}/${content.key}: block ${block} was not fetched`);
    return buffer;
  }

  /** Starts requests for those of the given blocks (ascending) that are on no flight yet. */
  #startFlights(store: ObjectStore, content: Content, blocks: readonly number[], priority: Priority): void {
    let run: number[] = [];
    const start = (): void => {
      if (run.length > 0) this.#startFlight(store, content, run, priority);
      run = [];
    };
    for (const block of blocks) {
      const flying = this.#flights.get(blockKey(content, block));
      if (flying && !flying.flight.abandoned) continue;
      const previous = run.at(-1);
      const joins = previous === block - 1 && (run.length + 1) * BLOCK_BYTES <= RANGED_GET_MAX_BYTES;
      if (!joins) start();
      run.push(block);
    }
    start();
  }

  #startFlight(store: ObjectStore, content: Content, run: readonly number[], priority: Priority): void {
    const flight: Flight = new SharedTask(async (signal) => {
      try {
        const buffers = await fetchBlocks(store, content, run, { signal, priority });
        run.forEach((block, position) => {
          const buffer = buffers[position];
          if (buffer) this.#blocks.set(blockKey(content, block), buffer);
        });
        this.#fetchedBytes += buffers.reduce((sum, buffer) => sum + buffer.length, 0);
        return buffers;
      } finally {
        for (const block of run) {
          const key = blockKey(content, block);
          if (this.#flights.get(key)?.flight === flight) this.#flights.delete(key);
        }
      }
    });
    run.forEach((block, position) => this.#flights.set(blockKey(content, block), { flight, position }));
  }
}

async function fetchBlocks(
  store: ObjectStore,
  content: Content,
  run: readonly number[],
  options: { readonly signal: AbortSignal; readonly priority: Priority },
): Promise<readonly Uint8Array[]> {
  const offset = (run[0] ?? 0) * BLOCK_BYTES;
  const buffers = run.map((block) =>
    Buffer.allocUnsafeSlow(Math.min(BLOCK_BYTES, content.size - block * BLOCK_BYTES)),
  );
  const info = await store.getRange(content.key, offset, buffers, options).catch((error: unknown) => {
    if (error instanceof FsError && error.code === 'ENOENT')
      throw altered(store, content, 'is missing', error);
    throw error;
  });
  verify(store, content, info, buffers);
  return buffers;
}

function verify(
  store: ObjectStore,
  content: Content,
  info: ObjectInfo,
  buffers: readonly Uint8Array[],
): void {
  if (content.etag !== undefined && info.etag !== content.etag) {
    throw new FsError('ESTALE', `${store.bucket}/${content.key}: was replaced while it was read`);
  }
  if (info.size !== content.size) {
    throw altered(store, content, `has ${info.size} bytes and should have ${content.size}`);
  }
  const [whole] = buffers;
  if (content.md5 !== undefined && whole?.length === content.size) {
    const md5 = createHash('md5').update(whole).digest('hex');
    if (md5 !== content.md5) throw altered(store, content, `has MD5 ${md5} and should have ${content.md5}`);
  }
}

function altered(store: ObjectStore, content: Content, what: string, cause?: unknown): FsError {
  return new FsError('EIO', `${store.bucket}/${content.key}: the object ${what}`, { cause });
}
