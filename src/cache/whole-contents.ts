import { LRUCache } from 'lru-cache';
import { BLOCK_BYTES, WHOLE_CONTENTS_BITMAP_MAX_BYTES } from '../limits.ts';
import { type DiskContent, blockCount } from './disk-slot.ts';
import type { DiskStore } from './disk-store.ts';

interface Known {
  /** A bit for each block that is on disk. */
  readonly blocks: Uint8Array;
  missing: number;
  /** Whether all blocks so far are part of a whole that was found good. */
  isVerified: boolean;
  isBeingVerified: boolean;
}

/**
 * Knows when all of a content has come onto the disk, and then has it held against its MD5, once: what was found is
 * remembered there, for all processes. It is a verdict on the bytes in this cache, wherever they come from, and none on
 * the bucket. Contents of one block are left out: they were held against it when they were fetched.
 */
export class WholeContents {
  readonly #disk: DiskStore;
  readonly #known = new LRUCache<string, Known>({
    maxSize: WHOLE_CONTENTS_BITMAP_MAX_BYTES,
    sizeCalculation: ({ blocks }) => blocks.length + 256,
  });

  constructor(disk: DiskStore) {
    this.#disk = disk;
  }

  /**
   * @param onMismatch is called with the MD5 that the content has when it is not its own
   */
  saw(
    content: DiskContent,
    blocks: readonly number[],
    isVerified: boolean,
    onMismatch: (md5: string) => void,
  ): void {
    if (content.size <= BLOCK_BYTES) return;
    const known = this.#known.get(content.key) ?? {
      blocks: new Uint8Array(Math.ceil(blockCount(content) / 8)),
      missing: blockCount(content),
      isVerified: true,
      isBeingVerified: false,
    };
    this.#known.set(content.key, known);
    for (const block of blocks) {
      const [byte, bit] = [block >> 3, 1 << (block & 7)];
      const before = known.blocks[byte] ?? 0;
      if ((before & bit) === 0) known.missing -= 1;
      known.blocks[byte] = before | bit;
    }
    known.isVerified &&= isVerified;
    if (known.missing > 0 || known.isVerified || known.isBeingVerified) return;
    known.isBeingVerified = true;
    void this.#verify(content, onMismatch);
  }

  async #verify(content: DiskContent, onMismatch: (md5: string) => void): Promise<void> {
    try {
      const found = await this.#disk.verify(content);
      if (found.verdict === 'mismatch') onMismatch(found.md5);
    } finally {
      // What is seen of it from now on counts anew.
      this.#known.delete(content.key);
    }
  }
}
