import { constants } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { hasErrorCode, messageOf } from '../errors.ts';
import { FREEZE_METADATA_MAX_BYTES, MiB } from '../limits.ts';
import type { FreezeProblems } from './problems.ts';

/**
 * A file of metadata as a whole.
 *
 * @param path below the root
 * @returns undefined when there is none, or a problem with it
 */
export async function readMetadataFile(
  root: string,
  path: string,
  problems: FreezeProblems,
  maxBytes = FREEZE_METADATA_MAX_BYTES,
): Promise<Buffer | undefined> {
  try {
    await using handle = await open(join(root, path), constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (!stats.isFile()) throw new Error('it is no regular file');
    if (stats.size > maxBytes) throw new Error(`it is larger than ${maxBytes / MiB} MiB`);
    return await handle.readFile();
  } catch (error) {
    if (!hasErrorCode(error, 'ENOENT')) problems.refuse(path, `can't be read: ${messageOf(error)}`);
    return undefined;
  }
}

/** The names in a directory of metadata, sorted; none when it is missing. */
export async function listMetadataFiles(
  root: string,
  path: string,
  problems: FreezeProblems,
): Promise<readonly string[]> {
  try {
    return (await readdir(join(root, path))).toSorted();
  } catch (error) {
    if (!hasErrorCode(error, 'ENOENT')) problems.refuse(path, `can't be read: ${messageOf(error)}`);
    return [];
  }
}
