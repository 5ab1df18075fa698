import type { Clock } from '../clock.ts';
import { decorate } from './decorated-object-store.ts';
import { StoreError, type ObjectStore } from './object-store.ts';

/** Stores accept signatures whose date is up to 15 minutes from theirs; less than this is no reason to refuse one. */
const SKEW_MIN_MS = 5 * 60_000;

/**
 * The date of one store: ours, until the store refuses it; then ours by as much as the store's Date is ahead or behind. It
 * is learned anew whenever a date is refused, so neither clock need ever be right, and either may step.
 */
export class StoreClock {
  readonly #clock: Clock;
  #aheadMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds since the epoch, to sign with. */
  now(): number {
    return this.#clock.now() + this.#aheadMs;
  }

  /** Whether the Date of an answer is so far from ours that the store may refuse what we sign. */
  isFarFrom(date: string | undefined): boolean {
    return Math.abs(Date.parse(date ?? '') - this.now()) > SKEW_MIN_MS;
  }

  /** Takes the Date of an answer that has refused ours; one that is missing or no date changes nothing. */
  learn(date: string | undefined): void {
    const ms = Date.parse(date ?? '');
    if (!Number.isNaN(ms)) this.#aheadMs = ms - this.#clock.now();
  }
}

/**
 * Repeats a request once that the store has refused because of its date; the store below has learned the store's date from
 * the refusal, and signs anew. The store has done nothing that it refused, so everything may be repeated.
 */
export function createSkewCorrectingObjectStore(store: ObjectStore): ObjectStore {
  return decorate(store, async ({ options }, run) => {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof StoreError) || error.reason !== 'clock-skew') throw error;
      options.signal?.throwIfAborted();
      return run();
    }
  });
}
