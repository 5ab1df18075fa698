import { LRUCache } from 'lru-cache';
import { type Clock, systemClock } from '../clock.ts';
import type { ObjectStore } from '../ecs/object-store.ts';
import type { FsError } from '../errors.ts';
import { DAMAGED_CONTENTS_MAX } from '../limits.ts';
import type { Content } from './block-key.ts';
import { HeldBlocks } from './block-memory.ts';
import { type DiskContent, diskContent } from './disk-slot.ts';
import type { DiskStore, DiskStoreStatistics } from './disk-store.ts';
import { type LoadOptions, altered, fetchBlocks } from './fetch-blocks.ts';
import { WholeContents } from './whole-contents.ts';

/** A bucket, as far as it tells where bytes come from. */
interface Bucket {
  readonly bucket: string;
}

export interface BlockSourceOptions {
  readonly disk?: DiskStore;
  /** Waits before what is doubtful is asked for again; default: {@link systemClock}. */
  readonly clock?: Clock;
  /** Names the store of a bucket, such as its endpoint: what one says can't be served for what another has. */
  readonly originOf?: (bucket: string) => string;
  /**
   * Whether all blocks are kept, however long that takes, and whoever loads them waits for it; contents are then not held
   * against their MD5 by themselves. Default: false.
   */
  readonly isEager?: boolean;
  /** Hears once of an object that is not what its MD5 says, which a read of all of it has shown. */
  readonly onDamaged?: (bucket: string, key: string, reason: string) => void;
}

/**
 * Where blocks come from that are not in memory: the disk, and else the store, and then they are kept on disk. Once all
 * of a content is on disk it is held against its MD5; one that is another is not served any more.
 */
export class BlockSource {
  readonly #options: BlockSourceOptions;
  readonly #names = new WeakMap<Content, DiskContent>();
  readonly #whole: WholeContents | undefined;
  /** What is wrong with contents, by their key on disk. */
  readonly #damaged = new LRUCache<string, FsError>({ max: DAMAGED_CONTENTS_MAX });
  readonly #forget: ((content: Content) => void)[] = [];
  #fetchedBlocks = 0;
  #fetchedBytes = 0;

  constructor(options: BlockSourceOptions = {}) {
    this.#options = options;
    if (options.disk && options.isEager !== true) this.#whole = new WholeContents(options.disk);
  }

  /** What came from the store. */
  get fetchedBlocks(): number {
    return this.#fetchedBlocks;
  }

  get fetchedBytes(): number {
    return this.#fetchedBytes;
  }

  get diskStatistics(): DiskStoreStatistics | undefined {
    return this.#options.disk?.statistics;
  }

  /** @throws FsError EIO when it turned out that the object in the store is another than this content */
  check(store: Bucket, content: Content): void {
    const error = this.#damaged.size > 0 && this.#damaged.get(this.nameOf(store, content).key);
    if (error) throw error;
  }

  /** @param forget is called with a content that is to be served no more, whatever is held of it */
  onDamaged(forget: (content: Content) => void): void {
    this.#forget.push(forget);
  }

  /** Lets contents be tried again that were another than they should be. */
  forgive(): void {
    this.#damaged.clear();
  }

  /**
   * Loads blocks, and hands over each of them as soon as it is there.
   *
   * @param run numbers that follow each other, within what one request may ask for
   * @throws as {@link fetchBlocks}
   */
  async load(
    store: ObjectStore,
    content: Content,
    run: readonly number[],
    options: LoadOptions,
  ): Promise<void> {
    const { disk } = this.#options;
    if (!disk || !isLasting(content)) return this.#fetch(store, content, run, options);
    const onBlock: LoadOptions['onBlock'] = (number, block) => {
      this.check(store, content);
      options.onBlock(number, block);
    };
    const { memory } = options;
    const onDisk = await disk.read(this.nameOf(store, content), run, memory);
    options.signal.throwIfAborted();
    for (const [number, { isVerified }] of onDisk) this.#saw(store, content, [number], isVerified);
    for (const [number, { bytes }] of onDisk) {
      onBlock(number, bytes);
      memory.release(bytes, disk);
    }
    const missing = run.filter((number) => !onDisk.has(number));
    await Promise.all(
      neighbours(missing).map(async (part) =>
        this.#fetchAndKeep(store, content, part, { ...options, onBlock }),
      ),
    );
  }

  /** Keeps blocks of a local file on disk, if it can, marked as not seen in the store; nobody waits for that. */
  keepLocal(store: Bucket, content: Content, blocks: ReadonlyMap<number, Uint8Array>): void {
    void this.#write(store, content, blocks, true);
  }

  async #write(
    store: Bucket,
    content: Content,
    blocks: ReadonlyMap<number, Uint8Array>,
    isLocal: boolean,
  ): Promise<void> {
    const { disk, isEager = false } = this.#options;
    if (!disk || !isLasting(content)) return;
    const isWritten = await disk.write(this.nameOf(store, content), blocks, { isEager, isLocal });
    if (isWritten) this.#saw(store, content, [...blocks.keys()], false);
  }

  async #fetch(
    store: ObjectStore,
    content: Content,
    run: readonly number[],
    options: LoadOptions,
  ): Promise<void> {
    await fetchBlocks(store, content, run, {
      ...options,
      clock: this.#options.clock ?? systemClock,
      onBlock: (number, block) => {
        this.#fetchedBlocks += 1;
        this.#fetchedBytes += block.length;
        options.onBlock(number, block);
      },
    });
  }

  /** Keeps what has come even where the rest does not. */
  async #fetchAndKeep(
    store: ObjectStore,
    content: Content,
    run: readonly number[],
    options: LoadOptions,
  ): Promise<void> {
    const arrived = new Map<number, Uint8Array>();
    const held = new HeldBlocks(options.memory);
    let keeping: Promise<void>;
    try {
      await this.#fetch(store, content, run, {
        ...options,
        onBlock: (number, block) => {
          held.hold(block);
          arrived.set(number, block);
          options.onBlock(number, block);
        },
      });
    } finally {
      keeping = this.#write(store, content, arrived, false).finally(() => held[Symbol.dispose]());
    }
    if (this.#options.isEager === true) await keeping;
  }

  #saw(store: Bucket, content: Content, blocks: readonly number[], isVerified: boolean): void {
    if (content.md5 === undefined) return;
    const name = this.nameOf(store, content);
    this.#whole?.saw(name, blocks, isVerified, (md5) => {
      const error = altered(store, content, `has MD5 ${md5} and should have ${content.md5}`);
      this.#damaged.set(name.key, error);
      for (const forget of this.#forget) forget(content);
      this.#options.onDamaged?.(store.bucket, content.key, error.message);
    });
  }

  /** A content's name on disk. */
  nameOf(store: Bucket, content: Content): DiskContent {
    let name = this.#names.get(content);
    if (!name) {
      const origin = this.#options.originOf?.(store.bucket) ?? '';
      name = diskContent(`${origin}/${store.bucket}`, content);
      this.#names.set(content, name);
    }
    return name;
  }
}

/** Whether a content's name says enough of it to outlive the mount: its hash, or the store's own name for the version. */
function isLasting({ md5, etag }: Content): boolean {
  return md5 !== undefined || (etag !== undefined && etag !== '');
}

/** Ascending numbers as runs that follow each other. */
function neighbours(numbers: readonly number[]): readonly (readonly number[])[] {
  const runs: number[][] = [];
  for (const number of numbers) {
    const run = runs.at(-1);
    if (run?.at(-1) === number - 1) run.push(number);
    else runs.push([number]);
  }
  return runs;
}
