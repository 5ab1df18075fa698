import type { Clock } from '../clock.ts';
import { messageOf } from '../errors.ts';
import { ABSENT_BUCKET_PAUSE_FIRST_MS, ABSENT_BUCKET_PAUSE_MAX_MS } from '../limits.ts';

interface AbsentBucketsOptions {
  /** Brings a bucket into the mount; rejects where it still can't be used. */
  readonly open: (bucket: string) => Promise<void>;
  /** Hears of each attempt that failed, and why. */
  readonly onFailure: (bucket: string, reason: string) => void;
  readonly clock: Clock;
  /** Ends it all. */
  readonly signal: AbortSignal;
}

/**
 * The buckets of a mount that can't be used yet: their store is away, or keys are missing. Each is opened again and again,
 * with growing pauses, until it can be used.
 */
export class AbsentBuckets {
  readonly #options: AbsentBucketsOptions;
  readonly #names: Set<string>;
  #attempt: Promise<void> | undefined;

  constructor(names: Iterable<string>, options: AbsentBucketsOptions) {
    this.#names = new Set(names);
    this.#options = options;
  }

  /** Tries until all are there, or the signal aborts; never rejects. */
  async wait(): Promise<void> {
    const { clock, signal } = this.#options;
    let pause = ABSENT_BUCKET_PAUSE_FIRST_MS;
    while (this.#names.size > 0) {
      await clock.sleep(pause, signal).catch(() => {});
      if (signal.aborted) return this.#attempt;
      await this.tryNow();
      pause = Math.min(pause * 2, ABSENT_BUCKET_PAUSE_MAX_MS);
    }
  }

  /** Tries all at once, or joins an attempt that is under way; resolves when it has ended, well or not. */
  async tryNow(): Promise<void> {
    this.#attempt ??= this.#tryAll().finally(() => (this.#attempt = undefined));
    return this.#attempt;
  }

  async #tryAll(): Promise<void> {
    const { open, onFailure, signal } = this.#options;
    const attempts = Array.from(this.#names, async (bucket) => {
      try {
        await open(bucket);
        this.#names.delete(bucket);
      } catch (error) {
        if (!signal.aborted) onFailure(bucket, messageOf(error));
      }
    });
    await Promise.all(attempts);
  }
}
