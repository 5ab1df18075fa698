import type { Clock } from './clock.ts';

/**
 * Waits for something that never rejects, but only so long.
 *
 * @throws the signal's reason as soon as it aborts
 */
export async function waitAtMost(
  ms: number,
  promise: Promise<void>,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const over = new AbortController();
  // The signal may live as long as the mount, and AbortSignal.any would leave something behind in it at every call.
  const giveUp = (): void => over.abort();
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    await Promise.race([promise, clock.sleep(ms, over.signal)]);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', giveUp);
    over.abort();
  }
}
