import { type Clock, systemClock } from '../../src/clock.ts';

/** The clock of a store, which a soak steps while the mounts keep their own: one is as wrong as the other. */
export class SteppedClock implements Clock {
  #offsetMs = 0;

  now(): number {
    return systemClock.now() + this.#offsetMs;
  }

  monotonic(): number {
    return systemClock.monotonic();
  }

  elapsed(): number {
    return systemClock.elapsed();
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return systemClock.sleep(ms, signal);
  }

  /** Sets the clock to so many milliseconds ahead of the right time; below zero for behind it. */
  setOffset(ms: number): void {
    this.#offsetMs = ms;
  }

  /** Steps the clock on. */
  step(ms: number): void {
    this.#offsetMs += ms;
  }
}
