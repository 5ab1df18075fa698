import { describe, expect, test } from 'vitest';
import { Refreshing } from '../../../src/fuse/tree/refreshing.ts';
import { REFRESH_WAIT_MS } from '../../../src/limits.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const TTL_MS = 60_000;
const never = new AbortController().signal;

/** A value whose loads end when the test says so: each is a number, counted from 1. */
function counted() {
  const clock = new ManualClock();
  const lifetime = new AbortController();
  const errors: unknown[] = [];
  const loads: {
    readonly previous: number | undefined;
    readonly signal: AbortSignal;
    readonly finish: (value: number) => void;
    readonly fail: (error: Error) => void;
  }[] = [];
  const refreshing = new Refreshing<number>(
    async (previous, signal) =>
      new Promise((finish, fail) => {
        loads.push({ previous, signal, finish, fail });
        signal.addEventListener('abort', () => fail(signal.reason));
      }),
    { clock, lifetime: lifetime.signal, timeToLiveMs: TTL_MS, onError: (error) => errors.push(error) },
  );
  const loaded = async (value: number): Promise<void> => {
    const got = refreshing.get(never);
    loads.at(-1)?.finish(value);
    expect(await got).toBe(value);
  };
  return { clock, lifetime, errors, loads, refreshing, loaded };
}

async function settle(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}

describe('a value that is refreshed', () => {
  test('is loaded once for all who ask, and not again while it is young', async () => {
    const { clock, loads, refreshing } = counted();
    const asking = [refreshing.get(never), refreshing.get(never)];
    expect(loads.length).toBe(1);
    loads[0]?.finish(1);
    expect(await Promise.all(asking)).toEqual([1, 1]);
    clock.advance(TTL_MS - 1);
    expect(await refreshing.get(never)).toBe(1);
    expect(loads.length).toBe(1);
  });

  test.each([1, -1])('is as old as it is, whatever the wall clock is set to (%i year)', async (years) => {
    const { clock, loads, refreshing, loaded } = counted();
    await loaded(1);
    clock.step(years * 31_557_600_000);
    expect(await refreshing.get(never)).toBe(1);
    expect(loads.length).toBe(1);
    clock.advance(TTL_MS);
    const got = refreshing.get(never);
    expect(loads.length).toBe(2);
    loads[1]?.finish(2);
    expect(await got).toBe(2);
  });

  test('is old after a suspend', async () => {
    const { clock, loads, refreshing, loaded } = counted();
    await loaded(1);
    clock.suspend(TTL_MS - 1);
    expect(await refreshing.get(never)).toBe(1);
    clock.suspend(1);
    const got = refreshing.get(never);
    expect(loads.length).toBe(2);
    loads[1]?.finish(2);
    expect(await got).toBe(2);
  });

  test('is loaded anew when it is old, from what it was', async () => {
    const { clock, loads, refreshing, loaded } = counted();
    await loaded(1);
    clock.advance(TTL_MS);
    const got = refreshing.get(never);
    expect(loads[1]?.previous).toBe(1);
    loads[1]?.finish(2);
    expect(await got).toBe(2);
    expect(clock.sleeping).toBe(0);
  });

  test('is served old after a while when the refresh takes long, and new once that has ended', async () => {
    const { clock, loads, refreshing, loaded } = counted();
    await loaded(1);
    clock.advance(TTL_MS);
    const got = refreshing.get(never);
    clock.advance(REFRESH_WAIT_MS);
    expect(await got).toBe(1);
    loads[1]?.finish(2);
    await settle();
    expect(await refreshing.get(never)).toBe(2);
    expect(loads.length).toBe(2);
  });

  test('is served old at once where that is enough, and refreshed behind', async () => {
    const { clock, loads, refreshing, loaded } = counted();
    await loaded(1);
    clock.advance(TTL_MS);
    expect(await refreshing.get(never, (value) => value === 1)).toBe(1);
    loads[1]?.finish(2);
    await settle();
    expect(refreshing.latest).toBe(2);
  });

  test('outlives a refresh that fails, which is reported and not repeated at every look', async () => {
    const { clock, errors, loads, refreshing, loaded } = counted();
    await loaded(1);
    clock.advance(TTL_MS);
    const got = refreshing.get(never);
    loads[1]?.fail(new Error('away'));
    expect(await got).toBe(1);
    expect(errors.map(String)).toEqual(['Error: away']);
    expect(await refreshing.get(never)).toBe(1);
    expect(loads.length).toBe(2);
    clock.advance(TTL_MS);
    const again = refreshing.get(never);
    loads[2]?.finish(3);
    expect(await again).toBe(3);
  });

  test('throws what the first load throws, and tries again for the next one', async () => {
    const { errors, loads, refreshing, loaded } = counted();
    const got = refreshing.get(never);
    loads[0]?.fail(new Error('away'));
    await expect(got).rejects.toThrow('away');
    expect(errors).toEqual([]);
    await loaded(2);
    expect(loads.length).toBe(2);
  });

  test('is expired even by who learns of a change while a load is under way', async () => {
    const { loads, refreshing, loaded } = counted();
    const got = refreshing.get(never);
    refreshing.expire();
    loads[0]?.finish(1);
    expect(await got).toBe(1);
    await loaded(2);
    expect(loads.length).toBe(2);
  });
});

describe('giving up', () => {
  test('the first load ends with the last one who waits for it', async () => {
    const { loads, refreshing, loaded } = counted();
    const [first, second] = [new AbortController(), new AbortController()];
    const asking = [refreshing.get(first.signal), refreshing.get(second.signal)];
    first.abort();
    await expect(asking[0]).rejects.toThrow('aborted');
    expect(loads[0]?.signal.aborted).toBe(false);
    second.abort();
    await expect(asking[1]).rejects.toThrow('aborted');
    expect(loads[0]?.signal.aborted).toBe(true);
    await loaded(2);
  });

  test('a refresh goes on without the one who started it, and ends with the mount', async () => {
    const { clock, errors, lifetime, loads, refreshing, loaded } = counted();
    await loaded(1);
    clock.advance(TTL_MS);
    const reader = new AbortController();
    const got = refreshing.get(reader.signal);
    reader.abort(new Error('interrupted'));
    await expect(got).rejects.toThrow('interrupted');
    expect(clock.sleeping).toBe(0);
    expect(loads[1]?.signal.aborted).toBe(false);
    lifetime.abort();
    await settle();
    expect(loads[1]?.signal.aborted).toBe(true);
    expect(errors).toEqual([]);
  });

  test('a load that was given up but ends all the same does not undo a newer one', async () => {
    const finish: ((value: number) => void)[] = [];
    const refreshing = new Refreshing<number>(async () => new Promise((resolve) => finish.push(resolve)), {
      clock: new ManualClock(),
      lifetime: never,
      timeToLiveMs: TTL_MS,
      onError: () => {},
    });
    const reader = new AbortController();
    const given = refreshing.get(reader.signal);
    reader.abort();
    await expect(given).rejects.toThrow('aborted');
    const got = refreshing.get(never);
    finish[1]?.(2);
    expect(await got).toBe(2);
    finish[0]?.(1);
    await settle();
    expect(await refreshing.get(never)).toBe(2);
  });
});
