import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { UserError, messageOf } from '../errors.ts';
import { findMount } from './mount-table.ts';

const run = promisify(execFile);

/**
 * Takes a mount away: at once when nobody uses it, else lazily (it vanishes from the tree now, and for those who have
 * files open when they close them). A path where nothing is mounted is no error.
 *
 * @param mountpoint absolute path
 * @throws UserError when the system refuses
 */
export async function unmount(mountpoint: string): Promise<void> {
  let failure: unknown;
  for (const [command, ...flags] of unmountCommands()) {
    if (!(await findMount(mountpoint))) return;
    try {
      await run(command, [...flags, '--', mountpoint]);
      return;
    } catch (error) {
      failure = error;
    }
  }
  if (!(await findMount(mountpoint))) return;
  throw new UserError(`${mountpoint} could not be unmounted: ${messageOf(failure).trim()}`, undefined, {
    cause: failure,
  });
}

/** First the gentle way, then the lazy one; fusermount is there for users, who may not call umount(8). */
function unmountCommands(): readonly (readonly [string, ...string[]])[] {
  return process.getuid?.() === 0
    ? [['umount'], ['umount', '-l']]
    : [
        ['fusermount3', '-u', '-q'],
        ['fusermount3', '-u', '-z'],
        ['fusermount', '-u', '-z'],
      ];
}
