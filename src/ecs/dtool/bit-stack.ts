/** A stack of yes and no, a bit each, that grows as it needs. */
export class BitStack {
  #words = new Uint32Array(4);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The newest; false when there is none. */
  get top(): boolean {
    const index = this.#size - 1;
    return index >= 0 && (((this.#words[index >>> 5] ?? 0) >>> (index & 31)) & 1) === 1;
  }

  push(bit: boolean): void {
    const word = this.#size >>> 5;
    if (word >= this.#words.length) {
      const larger = new Uint32Array(2 * this.#words.length);
      larger.set(this.#words);
      this.#words = larger;
    }
    const mask = 1 << (this.#size & 31);
    this.#words[word] = bit ? (this.#words[word] ?? 0) | mask : (this.#words[word] ?? 0) & ~mask;
    this.#size++;
  }

  pop(): void {
    if (this.#size > 0) this.#size--;
  }
}
