import { totalmem } from 'node:os';
import { MiB } from '../../limits.ts';

/** The kernel takes three times as much for each file that it remembers, and so never gets to the end of this part. */
const MEMORY_PARTS = 2;
const OPTION = /^--max[-_](old[-_]space|heap)[-_]size/;

/**
 * Returns the option of Node that bounds the heap of a mount by the memory of the machine, or of the container. Node's own
 * bound, 4 GiB at most, is for programs whose heap should not grow; a mount's grows with what the kernel remembers.
 *
 * @param memoryBytes of the machine or the container
 * @param given options that Node has already; one that bounds the heap counts more
 */
export function heapLimitOptions(
  memoryBytes = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
  given: readonly string[] = [...process.execArgv, ...(process.env['NODE_OPTIONS'] ?? '').split(/\s+/)],
): readonly string[] {
  if (given.some((option) => OPTION.test(option))) return [];
  return [`--max-old-space-size=${Math.floor(memoryBytes / MEMORY_PARTS / MiB)}`];
}
