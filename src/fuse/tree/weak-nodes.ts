/** So many entries are looked at for each that is added: more than one, so that the dead ones don't gather. */
const LOOKED_AT = 2;

/** Nodes by number, for as long as somebody else holds them: whoever asks meanwhile gets the same one. */
export class WeakNodes<T extends object> {
  readonly #nodes = new Map<number, WeakRef<T>>();
  #sweep = this.#nodes.entries();

  get(number: number, make: () => T): T {
    const known = this.#nodes.get(number)?.deref();
    if (known) return known;
    const node = make();
    this.#nodes.set(number, new WeakRef(node));
    for (let looked = 0; looked < LOOKED_AT; looked++) this.#sweepOne();
    return node;
  }

  clear(): void {
    this.#nodes.clear();
  }

  #sweepOne(): void {
    const next = this.#sweep.next();
    if (next.done) {
      this.#sweep = this.#nodes.entries();
      return;
    }
    const [number, node] = next.value;
    if (node.deref() === undefined) this.#nodes.delete(number);
  }
}
