import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  LATENCY_BOUNDS_MS,
  LatencyHistogram,
  latenciesSince,
  latencyQuantileMs,
  sumOfLatencies,
} from '../src/latency-histogram.ts';

function histogramOf(times: readonly number[]) {
  const histogram = new LatencyHistogram();
  for (const ms of times) histogram.observe(ms);
  return histogram.snapshot();
}

/** The slot of a time: the first whose bound it does not exceed. */
function slotOf(ms: number): number {
  const slot = LATENCY_BOUNDS_MS.findIndex((bound) => ms <= bound);
  return slot === -1 ? LATENCY_BOUNDS_MS.length : slot;
}

/** Among them bounds themselves and what is just beyond them. */
const someMs = fc.oneof(
  fc.double({ min: 0, max: 100_000, noNaN: true }),
  fc.double({ min: 0, max: 3, noNaN: true }),
  fc.constantFrom(...LATENCY_BOUNDS_MS, ...LATENCY_BOUNDS_MS.map((bound) => bound * 1.000001)),
);
const someTimes = fc.array(someMs, { maxLength: 60 });

test('bounds ascend, from below a millisecond to half a minute', () => {
  expect(LATENCY_BOUNDS_MS).toEqual(LATENCY_BOUNDS_MS.toSorted((a, b) => a - b));
  expect(new Set(LATENCY_BOUNDS_MS).size).toBe(LATENCY_BOUNDS_MS.length);
  expect(LATENCY_BOUNDS_MS.at(-1)).toBe(30_000);
});

test('everything is counted once, in its slot', () => {
  fc.assert(
    fc.property(someTimes, (times) => {
      const { count, sumMs, counts } = histogramOf(times);
      expect(count).toBe(times.length);
      expect(sumMs).toBeCloseTo(
        times.reduce((sum, ms) => sum + ms, 0),
        3,
      );
      const slots = LATENCY_BOUNDS_MS.map(() => 0);
      slots.push(0);
      for (const ms of times) slots[slotOf(ms)] = (slots[slotOf(ms)] ?? 0) + 1;
      expect(counts).toEqual(slots);
    }),
  );
});

test('a quantile is in the slot of the true one, and grows with its part', () => {
  fc.assert(
    fc.property(
      fc.array(someMs, { minLength: 1, maxLength: 60 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (times, one, other) => {
        const histogram = histogramOf(times);
        const [low, high] = [Math.min(one, other), Math.max(one, other)];
        for (const part of [low, high]) {
          const rank = Math.max(1, Math.ceil(part * times.length));
          const slot = slotOf(times.toSorted((a, b) => a - b)[rank - 1] ?? Number.NaN);
          const estimate = latencyQuantileMs(histogram, part) ?? Number.NaN;
          expect(estimate).toBeLessThanOrEqual(LATENCY_BOUNDS_MS[slot] ?? 30_000);
          expect(estimate).toBeGreaterThanOrEqual(LATENCY_BOUNDS_MS[slot - 1] ?? 0);
        }
        expect(latencyQuantileMs(histogram, low)).toBeLessThanOrEqual(
          latencyQuantileMs(histogram, high) ?? Number.NaN,
        );
      },
    ),
  );
});

test('the sum of histograms is the histogram of all', () => {
  fc.assert(
    fc.property(fc.array(someTimes, { maxLength: 4 }), (parts) => {
      const sum = sumOfLatencies(parts.map(histogramOf));
      const all = histogramOf(parts.flat());
      expect(sum).toEqual({ ...all, sumMs: expect.closeTo(all.sumMs, 3) });
    }),
  );
});

test('what was counted between two looks is what came in between', () => {
  fc.assert(
    fc.property(someTimes, someTimes, (before, after) => {
      const between = latenciesSince(histogramOf(before), histogramOf([...before, ...after]));
      const expected = histogramOf(after);
      expect(between).toEqual({ ...expected, sumMs: expect.closeTo(expected.sumMs, 3) });
      expect(latenciesSince(undefined, expected)).toBe(expected);
    }),
  );
});

test('of nothing there is no quantile, and what is beyond all bounds counts as the last', () => {
  expect(latencyQuantileMs(histogramOf([]), 0.5)).toBeUndefined();
  expect(latencyQuantileMs(histogramOf([1e9]), 0.5)).toBe(30_000);
  expect(latencyQuantileMs(histogramOf([1.5, 1.5]), 0.5)).toBe(1.5);
});
