import { opendir, realpath, stat } from 'node:fs/promises';
import { UserError, messageOf } from '../../../../errors.ts';
import { mountAsUser } from './fusermount.ts';
import type { MountedDevice } from './mounted-device.ts';
import type { MountOptions } from './options.ts';
import { mountAsRoot } from './root.ts';

const OPEN_DEVICE = /^\/dev\/fd\/(\d{1,9})$/;

/**
 * Mounts on a directory: as root by mount(8), else by fusermount3. `/dev/fd/N` stands for a device that the caller has
 * opened and mounted already; it is taken over.
 *
 * @throws UserError; nothing is mounted then
 */
export async function mountDevice(
  mountpoint: string,
  options: MountOptions & { readonly allowNonEmpty: boolean },
): Promise<MountedDevice> {
  const open = OPEN_DEVICE.exec(mountpoint)?.[1];
  if (open !== undefined) return takeOver(Number(open));
  const directory = await checkMountpoint(mountpoint, options.allowNonEmpty);
  return process.getuid?.() === 0 ? mountAsRoot(directory, options) : mountAsUser(directory, options);
}

async function takeOver(fd: number): Promise<MountedDevice> {
  const path = await realpath(`/proc/self/fd/${fd}`).catch(messageOf);
  if (path !== '/dev/fuse') throw new UserError(`/dev/fd/${fd} is not an open /dev/fuse but ${path}`);
  return { fd, mountpoint: undefined };
}

async function checkMountpoint(mountpoint: string, allowNonEmpty: boolean): Promise<string> {
  let directory: string;
  try {
    directory = await realpath(mountpoint);
    if (!(await stat(directory)).isDirectory()) throw new UserError(`${mountpoint} is not a directory`);
    if (!allowNonEmpty && (await hasEntries(directory))) {
      throw new UserError(
        `${mountpoint} is not empty`,
        'Choose an empty directory, or mount over its contents with --allow-non-empty.',
      );
    }
    return directory;
  } catch (error) {
    if (error instanceof UserError) throw error;
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    throw new UserError(
      `can't use ${mountpoint} as mount point: ${messageOf(error)}`,
      code === 'ENOTCONN'
        ? `A mount whose program has died is still there: \`umount -l\` or \`fusermount3 -u\` it first.`
        : undefined,
      { cause: error },
    );
  }
}

async function hasEntries(directory: string): Promise<boolean> {
  const entries = await opendir(directory);
  try {
    return (await entries.read()) !== null;
  } finally {
    await entries.close();
  }
}
