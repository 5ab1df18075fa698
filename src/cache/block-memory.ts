import { BLOCK_BYTES } from '../limits.ts';

/** Somebody who looks at blocks. Only who it is counts. */
export type Holder = object;

/**
 * Memory for blocks that is used again when nobody looks at a block any more. New memory for each would make V8 collect
 * all garbage once for every 20 MiB or so, which takes more of the processor than all else that a read does.
 *
 * Whoever looks at a block holds it: who took the memory from the beginning, and others from the moment on at which
 * somebody who holds it shows it to them. When the last one lets go, the memory becomes that of another block. To let go
 * twice does no harm. Who never lets go costs no more than this: the memory is then the garbage collector's, like that
 * of blocks that were not made here.
 */
export class BlockMemory {
  readonly #freeMaxBytes: number;
  readonly #free: ArrayBuffer[] = [];
  /** Of the blocks that are in use. A block is a new view each time, so nobody has to do with the one before. */
  readonly #holders = new WeakMap<Uint8Array, Set<Holder>>();

  /** @param freeMaxBytes what may wait to be used again; default: nothing, and blocks are whose who has them */
  constructor(freeMaxBytes = 0) {
    this.#freeMaxBytes = freeMaxBytes;
  }

  /** Memory that waits to be used again. */
  get freeBytes(): number {
    return this.#free.length * BLOCK_BYTES;
  }

  /** Gives back what waits to be used again. */
  clear(): void {
    this.#free.length = 0;
  }

  /** Memory for a block, with anything in it. Only that of whole blocks is used again. */
  take(length: number, holder: Holder): Uint8Array {
    if (length !== BLOCK_BYTES) return Buffer.allocUnsafeSlow(length);
    const memory = this.#free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES).buffer;
    const block = Buffer.from(memory);
    this.#holders.set(block, new Set([holder]));
    return block;
  }

  /** Looks at a block, which somebody holds. */
  hold(block: Uint8Array, holder: Holder): void {
    this.#holders.get(block)?.add(holder);
  }

  /** Looks at a block no longer, nor at any part of it. */
  release(block: Uint8Array, holder: Holder): void {
    const holders = this.#holders.get(block);
    if (!holders?.delete(holder) || holders.size > 0) return;
    this.#holders.delete(block);
    const { buffer } = block;
    if (buffer instanceof ArrayBuffer && this.freeBytes + BLOCK_BYTES <= this.#freeMaxBytes) {
      this.#free.push(buffer);
    }
  }
}

/** Blocks that somebody holds until he is through with all of them. */
export class HeldBlocks implements Disposable {
  readonly #memory: BlockMemory;
  readonly #blocks: Uint8Array[] = [];
  #isOver = false;

  constructor(memory: BlockMemory) {
    this.#memory = memory;
  }

  /** @returns false when he is through already: the block is not his */
  hold(block: Uint8Array): boolean {
    if (this.#isOver) return false;
    this.#memory.hold(block, this);
    this.#blocks.push(block);
    return true;
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    for (const block of this.#blocks.splice(0)) this.#memory.release(block, this);
  }
}
