/**
 * Places that users take: each may have half of what the others leave, rounded up. So nobody can take all of them, and
 * somebody who has none finds one until hardly any is left.
 */
export class Shares {
  readonly #places: number;
  readonly #of = new Map<number, number>();
  #taken = 0;

  /** @param places for all users together */
  constructor(places: number) {
    this.#places = places;
  }

  /** Takes a place for a user; false where the user has its share already. */
  take(uid: number): boolean {
    const own = this.#of.get(uid) ?? 0;
    const left = this.#places - (this.#taken - own);
    if (own >= Math.ceil(left / 2)) return false;
    this.#of.set(uid, own + 1);
    this.#taken += 1;
    return true;
  }

  /** Gives a place back that the user has taken. */
  giveBack(uid: number): void {
    const own = this.#of.get(uid) ?? 0;
    if (own === 0) return;
    this.#taken -= 1;
    if (own === 1) this.#of.delete(uid);
    else this.#of.set(uid, own - 1);
  }
}
