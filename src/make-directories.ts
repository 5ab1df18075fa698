import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hasErrorCode } from './errors.ts';

/**
 * Makes a directory with mode 0700, and those above it that are missing; one that is there stays as it is. Node's own
 * recursive mkdir never ends where a file system says ENOENT of a directory that it does not make, as /proc and autofs do.
 *
 * @param path absolute
 * @throws the file system's error
 */
export async function makeDirectories(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT') && !(await isThere(dirname(path)))) {
      await makeDirectories(dirname(path));
      return makeDirectories(path);
    }
    if (!hasErrorCode(error, 'EEXIST') || !(await stat(path)).isDirectory()) throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => !hasErrorCode(error, 'ENOENT'),
  );
}
