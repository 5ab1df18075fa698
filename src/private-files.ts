import { closeSync, constants, fchmodSync, fstatSync, openSync, type Stats, statSync } from 'node:fs';
import { type FileHandle, chmod, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hasErrorCode, UserError } from './errors.ts';
import { makeDirectories } from './make-directories.ts';

/**
 * Makes sure that a directory of this program's own is there and lets nobody else in: a missing one is made with mode
 * 0700, as are those above it; one that others may look into is closed to them.
 *
 * @param path absolute; a symbolic link counts as what it leads to
 * @throws UserError when what is in it may not be ours: the directory is somebody else's, or everybody may write to it or
 *   put another in its place; the file system's error when it can't be made
 */
export async function makePrivateDirectory(path: string): Promise<void> {
  await makeDirectories(path);
  const { mode } = await assertOurDirectory(path);
  if ((mode & OF_OTHERS) !== 0) await chmod(path, 0o700);
}

/**
 * Makes sure that what is in a directory of this program's own may be believed; changes nothing.
 *
 * @throws UserError as {@link makePrivateDirectory} does; the file system's error, also where there is none
 */
export async function assertOurDirectory(path: string): Promise<Stats> {
  const found = await stat(path);
  const { uid, mode } = found;
  if (!isOurs(found)) {
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
  return found;
}

/**
 * Opens a file to append to: a missing one is made with mode 0600, a regular one that others may read or write is closed
 * to them. Where others may write to its directory, they may have put anything there: the file then has to be a regular one
 * of this user, and no link to one.
 *
 * @returns its descriptor
 * @throws UserError when the file is another user's, or not of the kind that it has to be; the file system's error
 */
export function openPrivateFile(path: string): number {
  const isShared = othersMayWrite(statSync(dirname(path)));
  let file: number;
  try {
    file = openSync(path, appendFlags(isShared), 0o600);
  } catch (error) {
    throw openError(path, isShared, error);
  }
  try {
    if (isOpenToOthers(path, isShared, fstatSync(file))) fchmodSync(file, 0o600);
    return file;
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

/** Whether what stat(2) said this of belongs to the user who runs the program. */
export function isOurs({ uid }: { readonly uid: number }): boolean {
  return uid === (process.getuid?.() ?? uid);
}

/** Whether others may have put anything into a directory. */
function othersMayWrite(directory: Stats): boolean {
  return (directory.mode & WRITABLE_BY_OTHERS) !== 0 || !(directory.uid === 0 || isOurs(directory));
}

function appendFlags(isShared: boolean): number {
  const append = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOCTTY;
  // A FIFO would wait for its reader for ever.
  return isShared ? append | constants.O_NOFOLLOW | constants.O_NONBLOCK : append;
}

function openError(path: string, isShared: boolean, error: unknown): unknown {
  const isNoFile = hasErrorCode(error, 'ELOOP') || hasErrorCode(error, 'ENXIO');
  return isShared && isNoFile ? notOurs(path, 'is a symbolic link or a pipe', error) : error;
}

/** @throws UserError when the file is none that may be used */
function isOpenToOthers(path: string, isShared: boolean, found: Stats): boolean {
  if (isShared && !found.isFile()) throw notOurs(path, 'is no regular file');
  if (found.isFile() && !isOurs(found)) throw notOurs(path, `belongs to another user (${found.uid})`);
  return found.isFile() && (found.mode & OF_OTHERS) !== 0;
}

function notOurs(path: string, flaw: string, cause?: unknown): UserError {
  return new UserError(`${path} ${flaw}, and may have been put there by others`, undefined, { cause });
}

/** A file of this program's own, open to append to. */
export type PrivateFile = FileHandle;

/** As {@link openPrivateFile}, without waiting for the file system. */
export async function openPrivateFileHandle(path: string): Promise<PrivateFile> {
  const isShared = othersMayWrite(await stat(dirname(path)));
  const file = await open(path, appendFlags(isShared), 0o600).catch((error: unknown) => {
    throw openError(path, isShared, error);
  });
  try {
    if (isOpenToOthers(path, isShared, await file.stat())) await file.chmod(0o600);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

const OF_OTHERS = 0o077;
const WRITABLE_BY_ALL = 0o002;
const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;
