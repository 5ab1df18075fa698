import { uptime } from 'node:os';
import { expect, test } from 'vitest';
import { elapsedTime, systemClock, UPTIME_INTERVAL_MS } from '../src/clock.ts';

/** A computer whose uptime is known to the second. */
function computer() {
  const time = { awake: 5_000.25, suspended: 0 };
  const elapsed = elapsedTime(
    () => time.awake,
    () => Math.floor((time.awake + time.suspended) / 1000),
  );
  return { time, elapsed };
}

test('elapsed time goes on as the exact clock does while the computer is awake', () => {
  const { time, elapsed } = computer();
  const start = elapsed();
  time.awake += 0.25;
  expect(elapsed() - start).toBe(0.25);
  let last = elapsed();
  for (let step = 0; step < 1_000; step += 1) {
    time.awake += 37;
    const next = elapsed();
    expect(next - last).toBeGreaterThanOrEqual(37);
    // The uptime is no finer than a second.
    expect(Math.abs(next - start - (time.awake - 5_000.25))).toBeLessThan(1_000);
    last = next;
  }
});

test('a suspend counts once the uptime was looked at again', () => {
  const { time, elapsed } = computer();
  const start = elapsed();
  time.suspended = 3_600_000;
  expect(elapsed()).toBe(start);
  time.awake += UPTIME_INTERVAL_MS;
  expect(elapsed() - start).toBeGreaterThanOrEqual(3_600_000);
  expect(elapsed() - start).toBeLessThan(3_602_000);
});

test('the clock of the system: its elapsed time is that since the start of the computer', () => {
  expect(Math.abs(systemClock.elapsed() / 1000 - uptime())).toBeLessThan(2);
});
