import { setMaxListeners } from 'node:events';

/**
 * Runs a task for every item, so many at once, while the items are still coming in.
 *
 * @param items taken one by one as places become free
 * @param concurrency how many tasks run at once, 1 or more
 * @param task its signal aborts when the caller's does, or when another task has failed
 * @throws what the source or the first failing task threw, once every started task has settled; no task starts
 *   after that
 */
export async function forEachBounded<T>(
  items: AsyncIterable<T> | Iterable<T>,
  concurrency: number,
  task: (item: T, signal: AbortSignal) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const stop = new AbortController();
  const taskSignal = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  // Every task listens to it, and may do so more than once: that is no leak.
  setMaxListeners(0, taskSignal);
  const source = fromEither(items);
  const failures: unknown[] = [];

  const work = async (): Promise<void> => {
    try {
      while (failures.length === 0) {
        const next = await source.next();
        if (next.done) return;
        taskSignal.throwIfAborted();
        await task(next.value, taskSignal);
      }
    } catch (error) {
      failures.push(error);
      stop.abort();
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  if (failures.length > 0) {
    await source.return();
    throw failures[0];
  }
}

async function* fromEither<T>(items: AsyncIterable<T> | Iterable<T>): AsyncGenerator<T, void, undefined> {
  yield* items;
}
