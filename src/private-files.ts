import { fchmodSync, fstatSync, openSync } from 'node:fs';
import { chmod, mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { UserError } from './errors.ts';

/**
 * Makes sure that a directory of this program's own is there and lets nobody else in: a missing one is made with mode
 * 0700, as are those above it; one that others may look into is closed to them.
 *
 * @param path absolute; a symbolic link counts as what it leads to
 * @throws UserError when what is in it may not be ours: the directory is somebody else's, or everybody may write to it or
 *   put another in its place; the file system's error when it can't be made
 */
export async function makePrivateDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const { uid, mode } = await stat(path);
  const user = process.getuid?.() ?? uid;
  if (uid !== user) {
    throw new UserError(
      `${path} belongs to another user (${uid})`,
      'Remove it, or give a directory of yours.',
    );
  }
  if ((mode & WRITABLE_BY_ALL) !== 0) {
    throw new UserError(
      `everybody may write to ${path}`,
      'Look at what is in it, then make it yours: chmod 700, or remove it.',
    );
  }
  const above = dirname(path);
  const { mode: modeAbove } = await stat(above);
  if ((modeAbove & WRITABLE_BY_ALL) !== 0 && (modeAbove & STICKY) === 0) {
    throw new UserError(
      `everybody may put something else in the place of ${path}`,
      `Give a directory that only you may write to, or make this one so: chmod o-w ${above}`,
    );
  }
  if ((mode & OF_OTHERS) !== 0) await chmod(path, 0o700);
}

/**
 * Opens a file to append to: a missing one is made with mode 0600, a regular one that others may read or write is closed
 * to them.
 *
 * @returns its descriptor
 * @throws the file system's error, also where the file is somebody else's and open to others
 */
export function openPrivateFile(path: string): number {
  const file = openSync(path, 'a', 0o600);
  const found = fstatSync(file);
  if (found.isFile() && (found.mode & OF_OTHERS) !== 0) fchmodSync(file, 0o600);
  return file;
}

const OF_OTHERS = 0o077;
const WRITABLE_BY_ALL = 0o002;
const STICKY = 0o1000;
