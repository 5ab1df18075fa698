import type { ContainedDirectory } from '../contained-directory.ts';
import { SymbolicLinkError } from '../contained-directory.ts';
import { hasErrorCode, messageOf } from '../errors.ts';
import { FREEZE_METADATA_MAX_BYTES, MiB } from '../limits.ts';
import type { FreezeProblems } from './problems.ts';

/** The end of a sentence about a link where a file or directory of metadata belongs. */
export const METADATA_LINK = 'is a symbolic link, and metadata is read through none; put a copy in its place';

/**
 * A file of metadata as a whole. It is read through no symbolic link, also where that stays inside.
 *
 * @param path below the folder
 * @returns undefined when there is none, or a problem with it
 */
export async function readMetadataFile(
  folder: ContainedDirectory,
  path: string,
  problems: FreezeProblems,
  maxBytes = FREEZE_METADATA_MAX_BYTES,
): Promise<Buffer | undefined> {
  try {
    const found = await folder.lstat(path);
    if (found.isSymbolicLink()) throw new SymbolicLinkError(path);
    if (!found.isFile()) throw new Error('it is no regular file');
    await using handle = await folder.openPlain(path);
    const stats = await handle.stat();
    if (!stats.isFile()) throw new Error('it is no regular file');
    if (stats.size > maxBytes) throw new Error(`it is larger than ${maxBytes / MiB} MiB`);
    return await handle.readFile();
  } catch (error) {
    refuse(path, error, problems);
    return undefined;
  }
}

/** The names in a directory of metadata, sorted; none when it is missing. */
export async function listMetadataFiles(
  folder: ContainedDirectory,
  path: string,
  problems: FreezeProblems,
): Promise<readonly string[]> {
  try {
    return (await folder.readDirectory(path)).map(({ name }) => name.toString()).toSorted();
  } catch (error) {
    refuse(path, error, problems);
    return [];
  }
}

function refuse(path: string, error: unknown, problems: FreezeProblems): void {
  if (error instanceof SymbolicLinkError) problems.refuse(error.place, METADATA_LINK);
  else if (!hasErrorCode(error, 'ENOENT')) problems.refuse(path, `can't be read: ${messageOf(error)}`);
}
