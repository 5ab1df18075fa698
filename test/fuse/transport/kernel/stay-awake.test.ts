import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { StayAwake } from '../../../../src/fuse/transport/kernel/receive/stay-awake.ts';
import { AWAKE_AFTER_REPLY_MS, AWAKE_PAUSE_MAX_MS } from '../../../../src/limits.ts';

/** Whether the event loop has something to run at once, and so does not sleep. */
const isAwake = (): boolean => process.getActiveResourcesInfo().includes('Immediate');

/** Resolves after so many milliseconds in which the event loop may sleep. */
const pause = async (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test.skipIf(availableParallelism() < 2)(
  'requests that follow each other closely keep the loop awake, for a moment each; a single one does not',
  async () => {
    const awake = new StayAwake();
    awake.served();
    expect(isAwake()).toBe(false);
    await pause(10 * AWAKE_PAUSE_MAX_MS + 1);
    awake.served();
    expect(isAwake()).toBe(false);
    // Two in a row, however slow this machine is: the clock decides whether they were close.
    let start: number;
    do {
      awake.served();
      start = performance.now();
      awake.served();
    } while (performance.now() - start > AWAKE_PAUSE_MAX_MS);
    expect(isAwake()).toBe(true);
    await expect.poll(isAwake).toBe(false);
    expect(performance.now() - start).toBeGreaterThanOrEqual(AWAKE_AFTER_REPLY_MS);
  },
);
