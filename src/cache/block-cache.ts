import { LRUCache } from 'lru-cache';
import type { ObjectStore, Priority } from '../ecs/object-store.ts';
import {
  BLOCK_BYTES,
  BLOCK_OVERHEAD_BYTES,
  DISK_QUEUE_CACHE_PARTS,
  LENT_CACHE_PARTS,
  RANGED_GET_MAX_BYTES,
  READ_AHEAD_CACHE_PARTS,
} from '../limits.ts';
import { type Content, blockKey } from './block-key.ts';
import { BlockMemory, HeldBlocks } from './block-memory.ts';
import { BlockSource } from './block-source.ts';
import type { DiskStoreStatistics } from './disk-store.ts';
import { Flight } from './flight.ts';
import { ReadAheadBudget } from './read-ahead-budget.ts';
import { type ReadAheadStatistics, ReadAheadUse } from './read-ahead-use.ts';

/** What the cache did since it was made, in blocks and bytes. */
export interface BlockCacheStatistics {
  /** Blocks that a read found in memory, and those it had to wait for. */
  readonly hits: number;
  readonly misses: number;
  /** What reads took of the blocks that they found in memory. */
  readonly hitBytes: number;
  readonly blocks: number;
  readonly bytes: number;
  readonly maxBytes: number;
  /** What came from the store, for reads and ahead of them. */
  readonly fetchedBlocks: number;
  readonly fetchedBytes: number;
  readonly readAhead: ReadAheadStatistics;
  /** Undefined without a disk cache. */
  readonly disk?: DiskStoreStatistics | undefined;
}

/**
 * Blocks of remote content in memory, the least recently used dropped first. A block is fetched once however many
 * ask for it at the same time, neighbouring blocks come in one request, and a request that nobody waits for any more is
 * cancelled; each block is there for its readers as soon as its last byte is. Blocks are shared: they must not be
 * written to, and the memory of one that is dropped is used for others as soon as nobody reads it.
 *
 * Deleting everything in it is always safe.
 */
export class BlockCache {
  /** What the readers of this cache may fetch ahead, over all files together. */
  readonly readAhead: ReadAheadBudget;
  readonly #blocks: LRUCache<string, Uint8Array>;
  readonly #flights = new Map<string, Flight>();
  /** What others have of the memory for blocks. */
  #lentBytes = 0;
  #hits = 0;
  #misses = 0;
  #hitBytes = 0;
  readonly #ahead = new ReadAheadUse();
  readonly #source: BlockSource;
  readonly #memory: BlockMemory;

  /**
   * @param maxBytes what blocks may take together, in bytes, each with {@link BLOCK_OVERHEAD_BYTES}: those that are
   *   fetched ahead have one of {@link READ_AHEAD_CACHE_PARTS}, those that wait to be written to a disk cache one of
   *   {@link DISK_QUEUE_CACHE_PARTS}, those that were read the rest; what somebody waits for comes on top
   * @param source where blocks come from that are not in memory; default: straight from the store
   */
  constructor(maxBytes: number, source = new BlockSource()) {
    this.#source = source;
    source.onDamaged((content) => {
      for (let number = 0; number * BLOCK_BYTES < content.size; number += 1)
        this.#blocks.delete(blockKey(content, number));
    });
    const readAheadBytes = Math.floor(maxBytes / READ_AHEAD_CACHE_PARTS);
    this.readAhead = new ReadAheadBudget(readAheadBytes);
    // What has come ahead and pushed others out leaves so much for what comes next.
    this.#memory = new BlockMemory(readAheadBytes);
    const queuePart = source.diskStatistics ? 1 / DISK_QUEUE_CACHE_PARTS : 0;
    this.#blocks = new LRUCache({
      maxSize: Math.max(1, Math.floor(maxBytes * (1 - 1 / READ_AHEAD_CACHE_PARTS - queuePart))),
      sizeCalculation: (block) => block.length + BLOCK_OVERHEAD_BYTES,
      dispose: (block) => {
        this.#ahead.dropped(block);
        this.#memory.release(block, this);
      },
    });
  }

  get statistics(): BlockCacheStatistics {
    return {
      hits: this.#hits,
      misses: this.#misses,
      hitBytes: this.#hitBytes,
      blocks: this.#blocks.size,
      bytes: this.#blocks.calculatedSize,
      maxBytes: this.#blocks.maxSize,
      fetchedBlocks: this.#source.fetchedBlocks,
      fetchedBytes: this.#source.fetchedBytes,
      readAhead: this.#ahead.statistics,
      disk: this.#source.diskStatistics,
    };
  }

  /**
   * Reads a range: `length` bytes, fewer only where the content ends.
   *
   * @param use has them as parts that follow each other, for the time of the call
   * @returns what that returns
   * @throws FsError EIO when the object in the store is missing or is not this content, ESTALE instead when the
   *   content has an ETag; StoreError when it can't be had
   */
  async read<T>(
    store: ObjectStore,
    content: Content,
    offset: number,
    length: number,
    signal: AbortSignal,
    use: (parts: readonly Uint8Array[]) => T,
  ): Promise<T> {
    this.check(store, content);
    const end = Math.min(content.size, offset + length);
    if (offset >= end) return use([]);
    const first = Math.floor(offset / BLOCK_BYTES);
    const last = Math.floor((end - 1) / BLOCK_BYTES);
    const parts: Uint8Array[] = [];
    const missing: number[] = [];
    using held = new HeldBlocks(this.#memory);
    const take = (number: number, block: Uint8Array): number => {
      if (!held.hold(block)) return 0;
      const start = number * BLOCK_BYTES;
      const part = block.subarray(Math.max(0, offset - start), Math.min(block.length, end - start));
      parts[number - first] = part;
      this.#ahead.used(block);
      return part.length;
    };
    for (let number = first; number <= last; number += 1) {
      const block = this.#blocks.get(blockKey(content, number));
      if (block) this.#hitBytes += take(number, block);
      else missing.push(number);
    }
    this.#hits += last - first + 1 - missing.length;
    this.#misses += missing.length;
    if (missing.length === 0) return use(parts);

    // Nothing yields before the flights are waited for, so none can land or be cancelled before we have joined it.
    const flights = this.#flightsOf(store, content, missing, 'read');
    await Promise.all(Array.from(flights, async ([flight, numbers]) => flight.wait(numbers, signal, take)));
    return use(parts);
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
    for (let number = Math.floor(offset / BLOCK_BYTES); number * BLOCK_BYTES < end; number += 1) {
      if (!this.#blocks.has(blockKey(content, number))) missing.push(number);
    }
    const flights = this.#flightsOf(store, content, missing, 'background');
    await Promise.allSettled(Array.from(flights, async ([flight, numbers]) => flight.wait(numbers, signal)));
  }

  /**
   * Keeps a block of a local file that is known to be this content's. On disk it is marked as not seen in the store.
   *
   * @param block as long as the block is; must not be written to any more
   */
  insertLocal(store: { readonly bucket: string }, content: Content, number: number, block: Uint8Array): void {
    this.#put(blockKey(content, number), block);
    this.#source.keepLocal(store, content, new Map([[number, block]]));
  }

  /**
   * Lends others memory of the blocks', of which {@link LENT_CACHE_PARTS} tells how much they keep in any case.
   *
   * @param bytes what is taken, however much is left
   * @returns gives it back; to be called once
   */
  lend(bytes: number): () => void {
    this.#lentBytes += bytes;
    this.#makeRoom();
    this.#memory.clear();
    return () => {
      this.#lentBytes -= bytes;
    };
  }

  /** @throws FsError EIO when it turned out that the object in the store is another than this content */
  check(store: { readonly bucket: string }, content: Content): void {
    this.#source.check(store, content);
  }

  #put(key: string, block: Uint8Array): void {
    this.#memory.hold(block, this);
    this.#blocks.set(key, block);
    this.#makeRoom();
  }

  #makeRoom(): void {
    const { maxSize } = this.#blocks;
    const room = Math.max(maxSize - this.#lentBytes, maxSize / LENT_CACHE_PARTS);
    while (this.#blocks.calculatedSize > room) this.#blocks.pop();
  }

  /** The given blocks (ascending) by the flight that carries them; requests are started for those that are on none yet. */
  #flightsOf(
    store: ObjectStore,
    content: Content,
    blocks: readonly number[],
    priority: Priority,
  ): ReadonlyMap<Flight, readonly number[]> {
    const flights = new Map<Flight, number[]>();
    let run: number[] = [];
    const start = (): void => {
      if (run.length > 0) flights.set(this.#startFlight(store, content, run, priority), run);
      run = [];
    };
    for (const block of blocks) {
      const flying = this.#flights.get(blockKey(content, block));
      if (flying && !flying.abandoned) {
        if (priority === 'read') flying.promote();
        flights.set(flying, [...(flights.get(flying) ?? []), block]);
        continue;
      }
      const joins = run.at(-1) === block - 1 && (run.length + 1) * BLOCK_BYTES <= RANGED_GET_MAX_BYTES;
      if (!joins) start();
      run.push(block);
    }
    start();
    return flights;
  }

  #startFlight(store: ObjectStore, content: Content, run: readonly number[], priority: Priority): Flight {
    const flight: Flight = new Flight(
      run,
      async (options) => {
        await this.#source.load(store, content, run, { ...options, priority, memory: this.#memory });
      },
      (number, block) => {
        const key = blockKey(content, number);
        if (this.#flights.get(key) === flight) this.#flights.delete(key);
        if (!block) return;
        if (priority === 'background') this.#ahead.fetched(block);
        this.#put(key, block);
      },
    );
    for (const number of run) this.#flights.set(blockKey(content, number), flight);
    return flight;
  }
}
