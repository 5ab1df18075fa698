import type { Clock } from '../clock.ts';
import { messageOf } from '../errors.ts';
import { DISK_QUEUE_CACHE_PARTS } from '../limits.ts';
import type { Logger } from '../log.ts';
import { DiskStore } from './disk-store.ts';
import { ThreadedDiskTasks } from './threaded-disk-tasks.ts';

/** Which disk cache is wanted. */
export interface DiskCacheChoice {
  /** Absolute path. */
  readonly directory: string;
  /** What all processes together may keep there, in bytes. */
  readonly maxBytes: number;
  /** Whether it is an error when it can't be used; else it is done without. */
  readonly isRequired: boolean;
}

/**
 * Opens the disk cache in a directory, with threads of its own.
 *
 * @param memoryBytes what all blocks in memory may take; those that wait to be written are a part of it
 * @returns undefined when the directory can't be used and need not be
 * @throws UserError when it has to be
 */
export async function openDiskStore(options: {
  readonly choice: DiskCacheChoice;
  readonly memoryBytes: number;
  readonly clock: Clock;
  readonly log: Logger;
}): Promise<DiskStore | undefined> {
  const { choice, memoryBytes, clock, log } = options;
  const queueMaxBytes = Math.floor(memoryBytes / DISK_QUEUE_CACHE_PARTS);
  const tasks = new ThreadedDiskTasks();
  try {
    return await DiskStore.open({ ...choice, queueMaxBytes, tasks, clock, log });
  } catch (error) {
    await tasks.close();
    if (choice.isRequired) throw error;
    log.warn(messageOf(error));
    return undefined;
  }
}
