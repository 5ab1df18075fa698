import type { Clock } from '../../src/clock.ts';

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #elapsed = 0;
  #stepped = 0;
  #suspended = 0;
  readonly #sleepers = new Set<{ readonly until: number; readonly wake: () => void }>();

  /** How many sleep now. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  now(): number {
    return this.#elapsed + this.#suspended + this.#stepped;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  elapsed(): number {
    return this.#elapsed + this.#suspended;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const leave = (settle: () => void) => (): void => {
        this.#sleepers.delete(sleeper);
        signal?.removeEventListener('abort', giveUp);
        settle();
      };
      const sleeper = { until: this.#elapsed + ms, wake: leave(resolve) };
      const giveUp = leave(() => reject(signal?.reason));
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', giveUp);
    });
  }

  /** Somebody sets the wall clock, forward or back; no time passes. */
  step(ms: number): void {
    this.#stepped += ms;
  }

  /** The computer is suspended for so long: nobody's sleep gets any shorter. */
  suspend(ms: number): void {
    this.#suspended += ms;
  }

  /** Lets time pass and wakes those whose sleep is over. */
  advance(ms: number): void {
    this.#elapsed += ms;
    for (const { until, wake } of this.#sleepers) if (until <= this.#elapsed) wake();
  }
}
