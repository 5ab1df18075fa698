/** Neighbours share a weak reference: one for each node would keep the garbage collector busy. */
const HOME_NODES_LOG2 = 5;
/** So many entries are looked at for each that is added: more than one, so that the dead ones don't gather. */
const LOOKED_AT = 2;

/** Some neighbouring nodes, those of them that were asked for. */
type Home<T> = (T | undefined)[];

/**
 * Nodes by number, for as long as somebody else holds them or one of their neighbours: whoever asks meanwhile gets the
 * same one.
 */
export class WeakNodes<T extends { readonly home: object }> {
  readonly #homes = new Map<number, WeakRef<Home<T>>>();
  #sweep = this.#homes.entries();

  /** @param make gets what the node must hold as its `home` */
  get(number: number, make: (home: object) => T): T {
    const place = number & ((1 << HOME_NODES_LOG2) - 1);
    const home = this.#home(number >>> HOME_NODES_LOG2);
    return (home[place] ??= make(home));
  }

  clear(): void {
    this.#homes.clear();
  }

  #home(number: number): Home<T> {
    const known = this.#homes.get(number)?.deref();
    if (known) return known;
    const home: Home<T> = [];
    this.#homes.set(number, new WeakRef(home));
    for (let looked = 0; looked < LOOKED_AT; looked++) this.#sweepOne();
    return home;
  }

  #sweepOne(): void {
    const next = this.#sweep.next();
    if (next.done) {
      this.#sweep = this.#homes.entries();
      return;
    }
    const [number, home] = next.value;
    if (home.deref() === undefined) this.#homes.delete(number);
  }
}
