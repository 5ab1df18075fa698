import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { forEachBounded } from '../src/for-each-bounded.ts';

const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

async function* failingSource(): AsyncGenerator<number> {
  yield* numbers(3);
  throw new Error('no more pages');
}

describe('forEachBounded', () => {
  test('runs every item once, never more at once than allowed, and as many as that', async () => {
    const seen: number[] = [];
    let running = 0;
    let most = 0;
    const full = new AbortController();
    const isFull = once(full.signal, 'abort');
    await forEachBounded(numbers(50), 4, async (n) => {
      running += 1;
      most = Math.max(most, running);
      if (running === 4) full.abort();
      await isFull;
      running -= 1;
      seen.push(n);
    });
    expect(seen.toSorted((a, b) => a - b)).toEqual(numbers(50));
    expect(most).toBe(4);
  });

  test('takes items no faster than places become free', async () => {
    let taken = 0;
    async function* endless(): AsyncGenerator<number> {
      for (;;) {
        taken += 1;
        yield taken;
      }
    }
    const failing = forEachBounded(endless(), 3, async (n) => {
      await Promise.resolve();
      if (n === 10) throw new Error('ten');
    });
    await expect(failing).rejects.toThrow('ten');
    expect(taken).toBeLessThan(20);
  });

  test('the first failure stops the others, is what is thrown, and waits for them', async () => {
    const aborted: number[] = [];
    const started: number[] = [];
    let closed = false;
    function* source(): Generator<number> {
      try {
        yield* numbers(100);
      } finally {
        closed = true;
      }
    }
    const run = forEachBounded(source(), 3, async (n, signal) => {
      started.push(n);
      if (n === 2) throw new Error('two');
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve());
      });
      aborted.push(n);
      signal.throwIfAborted();
    });
    await expect(run).rejects.toThrow('two');
    expect(started).toEqual([0, 1, 2]);
    expect(aborted).toEqual([0, 1]);
    expect(closed).toBe(true);
  });

  test('a source that fails', async () => {
    const done: number[] = [];
    const run = forEachBounded(failingSource(), 2, async (n) => {
      await Promise.resolve();
      done.push(n);
    });
    await expect(run).rejects.toThrow('no more pages');
    expect(done).toEqual([0, 1, 2]);
  });

  test('the caller aborts', async () => {
    const controller = new AbortController();
    let started = 0;
    const run = forEachBounded(
      numbers(10),
      2,
      (_, signal) => {
        started += 1;
        return new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
          if (started === 2) controller.abort(new Error('enough'));
        });
      },
      controller.signal,
    );
    await expect(run).rejects.toThrow('enough');
    expect(started).toBe(2);
  });

  test('the caller has aborted already', async () => {
    const run = forEachBounded(
      [1],
      1,
      () => Promise.reject(new Error('started all the same')),
      AbortSignal.abort(new Error('enough')),
    );
    await expect(run).rejects.toThrow('enough');
  });
});
