import { BLOCK_BYTES, BLOCK_OVERHEAD_BYTES, READ_AHEAD_CACHE_PARTS } from '../../src/limits.ts';

/** The memory that a cache needs to hold so many blocks that were read, in bytes; there is no disk cache. */
export function roomFor(blocks: number): number {
  return Math.ceil((blocks * (BLOCK_BYTES + BLOCK_OVERHEAD_BYTES)) / (1 - 1 / READ_AHEAD_CACHE_PARTS));
}
