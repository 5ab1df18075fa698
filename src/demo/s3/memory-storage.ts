import { MiB } from '../../limits.ts';
import type { Content, ContentReader, ContentWriter, Storage } from './storage.ts';

/** Content is kept in blocks of this size, the last one shorter: a range is found by division and sent uncopied. */
const BLOCK_BYTES = 4 * MiB;

/** Keeps everything in memory, for as long as the process lives. */
export class MemoryStorage implements Storage {
  newContent(): Promise<ContentWriter> {
    return Promise.resolve(new MemoryWriter());
  }

  // The table of buckets and objects is all there is to keep: the rest has nothing to do.
  load(): [] {
    return [];
  }
  saveBucket(): void {}
  removeBucket(): void {}
  saveObject(): void {}
  removeObject(): void {}
  close(): void {}
}

class MemoryWriter implements ContentWriter {
  readonly #blocks: Buffer[] = [];
  /** Pieces of the block that is being filled. */
  #pieces: Buffer[] = [];
  #pieceBytes = 0;

  write(piece: Buffer): void {
    let rest = piece;
    while (rest.length > 0) {
      const head = rest.subarray(0, BLOCK_BYTES - this.#pieceBytes);
      this.#pieces.push(Buffer.from(head));
      this.#pieceBytes += head.length;
      if (this.#pieceBytes === BLOCK_BYTES) this.#endBlock();
      rest = rest.subarray(head.length);
    }
  }

  #endBlock(): void {
    this.#blocks.push(Buffer.concat(this.#pieces));
    this.#pieces = [];
    this.#pieceBytes = 0;
  }

  finish(): Promise<Content> {
    if (this.#pieceBytes > 0) this.#endBlock();
    return Promise.resolve(new MemoryContent(this.#blocks));
  }

  discard(): Promise<void> {
    return Promise.resolve();
  }
}

class MemoryContent implements Content, ContentReader {
  readonly #blocks: readonly Buffer[];

  constructor(blocks: readonly Buffer[]) {
    this.#blocks = blocks;
  }

  *read(start: number, end: number): Generator<Buffer, void, undefined> {
    for (let at = start; at < end; ) {
      const offset = at % BLOCK_BYTES;
      const block = this.#blocks[(at - offset) / BLOCK_BYTES];
      if (!block) throw new RangeError('The range ends after the content');
      const piece = block.subarray(offset, offset + end - at);
      yield piece;
      at += piece.length;
    }
  }

  open(): ContentReader {
    return this;
  }
  close(): void {}
  discard(): void {}
}
