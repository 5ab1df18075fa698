import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { forEachBounded } from '../../for-each-bounded.ts';
import { LOCAL_PATH_MAX_BYTES, NAME_MAX_BYTES } from '../../limits.ts';

/** So that a slash and any name may follow. */
const DIRECTORY_PATH_MAX_BYTES = LOCAL_PATH_MAX_BYTES - 1 - NAME_MAX_BYTES;

/** Files that are deleted at once. */
const DELETED_AT_ONCE = 4;

/**
 * Deletes a directory with all that is in it, of any depth, and whatever the modes of directories, which keep their owner
 * out as well. Directories that are too deep for a path are moved beside it first; after a crash they are there.
 *
 * Not by rm of Node: that rejects at the first obstacle, and goes on deleting meanwhile.
 */
export async function deleteTree(path: string): Promise<void> {
  const tops = [path];
  const moveUp = async (directory: string): Promise<void> => {
    const top = join(dirname(path), randomBytes(8).toString('hex'));
    await fs.rename(directory, top);
    tops.push(top);
  };
  for (let top = tops.pop(); top !== undefined; top = tops.pop()) await deleteOne(top, moveUp);
}

async function deleteOne(directory: string, moveUp: (directory: string) => Promise<void>): Promise<void> {
  await fs.chmod(directory, 0o700);
  const entries = await fs.readdir(directory, { withFileTypes: true });
  const [directories, files] = [true, false].map((wanted) =>
    entries.filter((entry) => entry.isDirectory() === wanted).map(({ name }) => join(directory, name)),
  );
  await forEachBounded(files ?? [], DELETED_AT_ONCE, async (path) => fs.unlink(path));
  for (const path of directories ?? []) {
    if (Buffer.byteLength(path) > DIRECTORY_PATH_MAX_BYTES) await moveUp(path);
    else await deleteOne(path, moveUp);
  }
  await fs.rmdir(directory);
}
