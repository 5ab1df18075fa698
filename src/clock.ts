import { uptime } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Time, injected so that tests need not wait for it. There are three clocks, and each question has its own:
 *
 * | question | clock | because |
 * |---|---|---|
 * | what date is it for others: signatures, `created_at`, `frozen_at`, mtimes that processes compare | `now` | they compare it with their own date |
 * | how long did this take, how long to wait: latencies, pauses between tries, silence of a connection, answers of a mount or of a command on this computer | `monotonic`, `sleep`, timers of Node | nothing happens in a suspend, at this end or between processes of one computer |
 * | how old is this copy of a thing that others change: lists, credentials, unused connections | `elapsed` | they go on while this computer is suspended |
 *
 * Signatures carry a date, so they are kept by `now`, corrected to the store's clock (`StoreClock`). A connection in use
 * is given up when the computer was suspended for longer than its silence may last. The kernel counts the lifetimes of
 * names and attributes in time awake, at most `KERNEL_CHANGING_SECONDS_MAX` of it.
 */
export interface Clock {
  /** Milliseconds since the epoch, as the wall clock has it. It may be wrong, and step to any time. */
  now(): number;
  /** Milliseconds that never step and stand still while the computer is suspended; only differences mean anything. */
  monotonic(): number;
  /**
   * Milliseconds that never step and go on while the computer is suspended; only differences mean anything. A suspend may
   * show up to {@link UPTIME_INTERVAL_MS} after its end.
   */
  elapsed(): number;
  /** Resolves after `ms` milliseconds of {@link monotonic}; rejects with the AbortError as soon as the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** How often the uptime is asked for, which takes 7 µs. */
export const UPTIME_INTERVAL_MS = 100;

/**
 * Makes {@link Clock.elapsed} of a clock that stands still in a suspend and is exact, and of one that goes on and is
 * coarse.
 *
 * @param uptimeSeconds since the start of the computer, suspends included (Linux: /proc/uptime, CLOCK_BOOTTIME)
 */
export function elapsedTime(monotonic: () => number, uptimeSeconds: () => number): () => number {
  const ahead = (awake: number): number => uptimeSeconds() * 1000 - awake;
  let checkedAt = monotonic();
  /** By how much the uptime is ahead; the largest that was seen, since it is coarse and must not go back. */
  let suspended = ahead(checkedAt);
  return () => {
    const awake = monotonic();
    if (awake - checkedAt >= UPTIME_INTERVAL_MS) {
      checkedAt = awake;
      suspended = Math.max(suspended, ahead(awake));
    }
    return awake + suspended;
  };
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  elapsed: elapsedTime(() => performance.now(), uptime),
  sleep: (ms, signal) => sleep(ms, undefined, signal ? { signal } : {}),
};
