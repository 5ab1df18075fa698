import { setTimeout as sleep } from 'node:timers/promises';

/** Time, injected so that tests need not wait for it. */
export interface Clock {
  /** Milliseconds since the epoch, as the wall clock has it. */
  now(): number;
  /** Milliseconds on a clock that never steps; only differences mean anything. */
  monotonic(): number;
  /** Resolves after `ms` milliseconds; rejects with the AbortError as soon as the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, signal ? { signal } : {}),
};
