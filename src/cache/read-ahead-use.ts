/** What became of what was fetched ahead of readers since the start, in bytes of whole blocks. */
export interface ReadAheadStatistics {
  /** Fetched before a reader asked for it; what is neither used nor wasted still waits in memory. */
  readonly fetchedBytes: number;
  /** Of these, in blocks of which something was read. */
  readonly usedBytes: number;
  /** Of these, in blocks that left memory unread. */
  readonly wastedBytes: number;
}

/** Follows blocks from the moment they were fetched ahead to their first reader, or to their end without one. */
export class ReadAheadUse {
  readonly #unread = new WeakSet<Uint8Array>();
  #fetchedBytes = 0;
  #usedBytes = 0;
  #wastedBytes = 0;

  get statistics(): ReadAheadStatistics {
    return {
      fetchedBytes: this.#fetchedBytes,
      usedBytes: this.#usedBytes,
      wastedBytes: this.#wastedBytes,
    };
  }

  /** A block came ahead of its readers. */
  fetched(block: Uint8Array): void {
    this.#unread.add(block);
    this.#fetchedBytes += block.length;
  }

  /** A block is read, wherever it came from. */
  used(block: Uint8Array): void {
    if (this.#unread.delete(block)) this.#usedBytes += block.length;
  }

  /** A block leaves memory. */
  dropped(block: Uint8Array): void {
    if (this.#unread.delete(block)) this.#wastedBytes += block.length;
  }
}
