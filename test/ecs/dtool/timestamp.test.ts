import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { isItemTime, itemTimestamp } from '../../../src/ecs/dtool/timestamp.ts';
import { timestampOfSeconds } from '../../../src/fuse/tree/attributes.ts';

const SECOND = 1_000_000_000n;

test('times of files as the manifest has them', () => {
  for (const [nanoseconds, timestamp] of [
    [0n, 0],
    [-1n, -0.000001],
    [-1_500_000_000n, -1.5],
    [1_700_000_000_123_456_999n, 1_700_000_000.123456],
    [9_007_199_254_740_993n * 1_000n, 9_007_199_254.740993],
    [253_402_300_799_999_900_000n, 253_402_300_799.9999],
    [-62_135_596_800n * SECOND, -62_135_596_800],
  ] as const) {
    expect(itemTimestamp(nanoseconds)).toBe(timestamp);
  }
});

test('the range of Python’s datetime', () => {
  expect([-62_135_596_800n, 253_402_300_799n].map((seconds) => isItemTime(seconds * SECOND))).toEqual([
    true,
    true,
  ]);
  expect([-62_135_596_801n, 253_402_300_800n].map((seconds) => isItemTime(seconds * SECOND))).toEqual([
    false,
    false,
  ]);
});

test('the end of 9999, which a double takes for the next year', () => {
  expect([253_402_300_799_999_900_000n, 253_402_300_799_999_999_000n].map(isItemTime)).toEqual([true, false]);
});

test('property: what a double can hold to the microsecond comes back to the microsecond before', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 52n) * 1_000n, max: 2n ** 52n * 1_000n }), (nanoseconds) => {
      const shown = timestampOfSeconds(itemTimestamp(nanoseconds));
      const back = BigInt(shown.seconds) * SECOND + BigInt(shown.nanoseconds);
      expect(nanoseconds - back >= 0n && nanoseconds - back < 1_000n).toBe(true);
    }),
  );
});

test('any time that a manifest may have is shown, of each side of 1970', () => {
  expect(timestampOfSeconds(-1.25)).toEqual({ seconds: -2, nanoseconds: 750_000_000 });
  expect(timestampOfSeconds(-0.0000001)).toEqual({ seconds: 0, nanoseconds: 0 });
  expect(timestampOfSeconds(253_402_300_800)).toEqual({ seconds: 253_402_300_800, nanoseconds: 0 });
  expect(timestampOfSeconds(-8.64e12)).toEqual({ seconds: -8.64e12, nanoseconds: 0 });
  for (const nonsense of [Number.NaN, Infinity, 1e20])
    expect(timestampOfSeconds(nonsense)).toEqual({ seconds: 0, nanoseconds: 0 });
});
