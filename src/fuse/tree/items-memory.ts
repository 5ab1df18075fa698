interface Kept {
  readonly bytes: number;
  readonly drop: () => void;
  readonly giveBack: () => void;
}

/**
 * Bounds what the items of all datasets take in memory: those that were not used for longest are dropped, and read again
 * on demand. The last ones stay, whatever their size.
 */
export class ItemsMemory {
  readonly #maxBytes: number;
  readonly #lend: (bytes: number) => () => void;
  /** By whom they belong to, the least recently used first. */
  readonly #kept = new Map<object, Kept>();
  #bytes = 0;

  /**
   * @param maxBytes what they may take together
   * @param lend is asked for the memory of each, and returns what gives it back; default: there is enough
   */
  constructor(maxBytes: number, lend: (bytes: number) => () => void = () => () => {}) {
    this.#maxBytes = maxBytes;
    this.#lend = lend;
  }

  /** What they take now. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Somebody has read items, in place of those that he had.
   *
   * @param drop is called when they have to go, and never after {@link remove} or for those that others take the place of
   */
  keep(owner: object, bytes: number, drop: () => void): void {
    this.remove(owner);
    this.#kept.set(owner, { bytes, drop, giveBack: this.#lend(bytes) });
    this.#bytes += bytes;
    for (const [oldest, kept] of this.#kept) {
      if (this.#bytes <= this.#maxBytes || oldest === owner) return;
      this.remove(oldest);
      kept.drop();
    }
  }

  /** Somebody's items are used, if they are kept. */
  use(owner: object): void {
    const kept = this.#kept.get(owner);
    if (!kept) return;
    this.#kept.delete(owner);
    this.#kept.set(owner, kept);
  }

  /** Somebody has dropped his items. */
  remove(owner: object): void {
    const kept = this.#kept.get(owner);
    if (!kept) return;
    this.#kept.delete(owner);
    this.#bytes -= kept.bytes;
    kept.giveBack();
  }
}
