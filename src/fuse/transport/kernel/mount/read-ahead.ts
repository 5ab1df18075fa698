import { writeFile } from 'node:fs/promises';
import { messageOf } from '../../../../errors.ts';
import { KERNEL_READ_AHEAD_BYTES, KiB } from '../../../../limits.ts';
import type { Logger } from '../../../../log.ts';

/**
 * Raises the kernel's read-ahead of a mount, which is 128 KiB whatever INIT says. Only root may; failing is no more
 * than slower, since our own read-ahead goes on behind it.
 *
 * @param device number of the file system as `major:minor`
 */
export async function raiseReadAhead(device: string, log: Logger): Promise<void> {
  const path = `/sys/class/bdi/${device}/read_ahead_kb`;
  try {
    await writeFile(path, String(KERNEL_READ_AHEAD_BYTES / KiB));
  } catch (error) {
    log.debug({ path, error: messageOf(error) }, "the kernel's read-ahead stays as it is");
  }
}
