import { expect, test } from 'vitest';
import { heapLimitOptions } from '../../src/commands/mount/heap-limit.ts';
import { GiB } from '../../src/limits.ts';

test('a mount may use half of the memory for its heap', () => {
  expect(heapLimitOptions(64 * GiB, [])).toEqual(['--max-old-space-size=32768']);
  const [option = ''] = heapLimitOptions(undefined, []);
  expect(Number(/^--max-old-space-size=(\d+)$/.exec(option)?.[1])).toBeGreaterThan(100);
});

test('a bound that the user has set stays', () => {
  for (const given of ['--max-old-space-size=1024', '--max_old_space_size=1', '--max-heap-size=7']) {
    expect(heapLimitOptions(64 * GiB, ['--enable-source-maps', given])).toEqual([]);
  }
});
