import { resolve } from 'node:path';
import { askMount } from '../control.ts';
import { UserError } from '../errors.ts';
import { FS_TYPE, findMount } from '../fuse/mount-table.ts';
import { unmount } from '../fuse/unmount.ts';

/**
 * Ends a mount, and the process that serves it. A mount whose process is gone is cleared.
 *
 * @throws UserError when nothing of ours is mounted there
 */
export async function umountCommand(mountpoint: string): Promise<void> {
  const path = resolve(mountpoint);
  const found = await findMount(path);
  if (!found) throw new UserError(`nothing is mounted at ${path}`);
  if (found.type !== FS_TYPE) {
    throw new UserError(
      `${path} is not a mount of ours: ${found.source} (${found.type})`,
      'umount(8) may end it.',
    );
  }
  // The process unmounts itself and answers when that is done; one that does not listen any more is helped.
  if ((await askMount(path, 'unmount')) === undefined) await unmount(path);
}
