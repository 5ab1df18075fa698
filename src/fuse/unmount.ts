import { writeFile } from 'node:fs/promises';
import { UserError, messageOf } from '../errors.ts';
import { runCommand, type CommandResult } from './command.ts';
import { findMount } from './mount-table.ts';

/**
 * Takes a mount away: at once when nobody uses it, else lazily (it vanishes from the tree now, and for those who have
 * files open when they close them). A path where nothing is mounted is no error.
 *
 * @param mountpoint absolute path
 * @throws UserError when the system refuses
 */
export async function unmount(mountpoint: string): Promise<void> {
  let message = '';
  for (const lazily of [false, true]) {
    if (!(await findMount(mountpoint))) return;
    const result = await detach(mountpoint, lazily);
    if (result.done) return;
    message = result.message;
  }
  if (!(await findMount(mountpoint))) return;
  throw new UserError(`${mountpoint} could not be unmounted: ${message}`);
}

/**
 * Lets everybody who waits for a mount, or will, have an error (ECONNABORTED), if the system lets us: by the connection's
 * file, which belongs to who mounted (the kernel's Documentation/filesystems/fuse, "Aborting a filesystem connection"), or
 * as root by umount(2) with MNT_FORCE, which does that first and then finds the mount busy.
 *
 * @param device of the mount, as `major:minor`
 */
export async function abortConnection(mountpoint: string, device: string): Promise<void> {
  const [, minor = ''] = device.split(':');
  try {
    await writeFile(`/sys/fs/fuse/connections/${minor}/abort`, '1', { flag: 'r+' });
  } catch {
    if (process.getuid?.() === 0) await runCommand('umount', ['-i', '-c', '-f', '--', mountpoint]);
  }
}

/**
 * Runs the system's command that takes the topmost mount off a path. A command that can't be run has failed.
 *
 * @param mountpoint as realpath(3) gives it
 * @param lazily also when the mount is in use
 */
export async function detach(mountpoint: string, lazily: boolean): Promise<CommandResult> {
  let message = '';
  for (const [command, ...flags] of detachCommands(lazily)) {
    try {
      return await runCommand(command, [...flags, '--', mountpoint]);
    } catch (error) {
      message ||= `can't run ${command}: ${messageOf(error)}`;
    }
  }
  return { done: false, message };
}

/**
 * fusermount is there for users, who may not call umount(8); one of the two is installed. `-i` and `-c` keep umount(8)
 * from calling helpers and from following the path into a dead mount.
 */
function detachCommands(lazily: boolean): readonly (readonly [string, ...string[]])[] {
  if (process.getuid?.() === 0) return [['umount', '-i', '-c', ...(lazily ? ['-l'] : [])]];
  const flags = ['-u', ...(lazily ? ['-z'] : [])];
  return [
    ['fusermount3', ...flags],
    ['fusermount', ...flags],
  ];
}
