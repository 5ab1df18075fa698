import { expect, test } from 'vitest';
import { ABSENT_BUCKET_PAUSE_FIRST_MS, ABSENT_BUCKET_PAUSE_MAX_MS } from '../../src/limits.ts';
import { AbsentBuckets } from '../../src/mount/absent-buckets.ts';
import { ManualClock } from '../support/manual-clock.ts';

function setUp(...names: string[]) {
  const clock = new ManualClock();
  const ending = new AbortController();
  const here = new Set<string>();
  const attempts: string[] = [];
  const failures: string[] = [];
  const buckets = new AbsentBuckets(names, {
    open: async (name) => {
      attempts.push(name);
      if (!here.has(name)) throw new Error(`${name} is away`);
    },
    onFailure: (name, reason) => failures.push(`${name}: ${reason}`),
    clock,
    signal: ending.signal,
  });
  return { clock, ending, here, attempts, failures, buckets };
}

/** Lets what was woken run until it sleeps again. */
const asleep = async (clock: ManualClock): Promise<void> => expect.poll(() => clock.sleeping).toBe(1);

test('each is tried with growing pauses until it is there, and then no more', async () => {
  const { clock, here, attempts, failures, buckets } = setUp('a', 'b');
  const waiting = buckets.wait();
  let pause = ABSENT_BUCKET_PAUSE_FIRST_MS;
  for (let n = 1; n <= 10; n++) {
    await asleep(clock);
    clock.advance(pause - 1);
    expect(attempts.length).toBe(2 * (n - 1));
    clock.advance(1);
    await asleep(clock);
    expect(attempts.length).toBe(2 * n);
    pause = Math.min(pause * 2, ABSENT_BUCKET_PAUSE_MAX_MS);
  }
  expect(pause).toBe(ABSENT_BUCKET_PAUSE_MAX_MS);
  expect(failures.slice(0, 2)).toEqual(['a: a is away', 'b: b is away']);
  attempts.length = 0;
  here.add('a');
  await buckets.tryNow();
  await buckets.tryNow();
  expect(attempts).toEqual(['a', 'b', 'b']);
  here.add('b');
  clock.advance(pause);
  await waiting;
  expect(attempts).toEqual(['a', 'b', 'b', 'b']);
});

test('the end of the mount ends the waiting, and is no failure', async () => {
  const { clock, ending, failures, buckets } = setUp('a');
  const waiting = buckets.wait();
  await asleep(clock);
  ending.abort();
  await waiting;
  await buckets.tryNow();
  expect(failures).toEqual([]);
});
