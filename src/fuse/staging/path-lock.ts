/**
 * Keeps paths true while they are used: who uses one shares the lock, who changes what paths stand for has it alone.
 * Whoever comes first gets it first, so that nobody waits for ever.
 */
export class PathLock {
  readonly #waiting: { readonly alone: boolean; readonly start: () => void }[] = [];
  /** Holders that share it; -1 while one has it alone. */
  #holders = 0;

  async shared<T>(work: () => Promise<T>): Promise<T> {
    return this.#run(false, work);
  }

  /** Waits for all that hold it; nobody else gets it until `work` has ended. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#run(true, work);
  }

  async #run<T>(alone: boolean, work: () => Promise<T>): Promise<T> {
    if (this.#waiting.length > 0 || !this.#isFree(alone)) {
      await new Promise<void>((start) => {
        this.#waiting.push({ alone, start });
      });
    } else {
      this.#take(alone);
    }
    try {
      return await work();
    } finally {
      this.#holders = alone ? 0 : this.#holders - 1;
      this.#admit();
    }
  }

  #isFree(alone: boolean): boolean {
    return alone ? this.#holders === 0 : this.#holders >= 0;
  }

  #take(alone: boolean): void {
    this.#holders = alone ? -1 : this.#holders + 1;
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next && this.#isFree(next.alone); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#take(next.alone);
      next.start();
    }
  }
}
