import { readFile } from 'node:fs/promises';
import { DESCRIPTORS_RESERVED, HANDLES_MAX } from '../limits.ts';

/** Where the system does not tell: what POSIX systems give at least. */
const UNKNOWN_LIMIT = 256;

/**
 * Returns how many descriptors the open files of users may take, at most {@link HANDLES_MAX}. The rest, at least half of a low
 * limit, stays for the mount's own work: connections, cache, freezes, log and configuration.
 */
export async function userDescriptorsMax(): Promise<number> {
  const limit = await descriptorLimit();
  return Math.min(HANDLES_MAX, limit - Math.min(DESCRIPTORS_RESERVED, Math.floor(limit / 2)));
}

/** The soft limit of this process, which Node raises to the hard one when it starts; see getrlimit(2) and proc_pid_limits(5). */
async function descriptorLimit(): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const [, soft] = /^Max open files\s+(\d+|unlimited)/m.exec(limits) ?? [];
  return soft === undefined ? UNKNOWN_LIMIT : soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}
