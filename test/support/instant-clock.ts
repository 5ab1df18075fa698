import type { Clock } from '../../src/clock.ts';

/** A clock on which every sleep is over at once; time passes by what was slept and nothing else. */
export class InstantClock implements Clock {
  /** The length of every sleep so far, in milliseconds. */
  readonly sleeps: number[] = [];
  #elapsed = 0;

  now(): number {
    return this.#elapsed;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  elapsed(): number {
    return this.#elapsed;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.sleeps.push(ms);
    this.#elapsed += ms;
    await Promise.resolve();
  }
}
