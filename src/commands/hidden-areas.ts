import { dirname } from 'node:path';
import { type KnownArea, readAreas } from '../fuse/staging/known-areas.ts';
import type { MountStatus } from '../mount.ts';
import { defaultStagingDirectory } from '../state-directory.ts';

/**
 * The staging areas with folders that no running mount of this user shows, where areas usually are and where those
 * mounts have theirs.
 *
 * @throws the file system's error
 */
export async function hiddenAreas(mounts: readonly MountStatus[]): Promise<readonly KnownArea[]> {
  const shown = new Set(
    mounts.flatMap(({ buckets }) => buckets.flatMap(({ stagingArea }) => stagingArea ?? [])),
  );
  const directories = new Set([defaultStagingDirectory(), ...Array.from(shown, (area) => dirname(area))]);
  const areas = await Promise.all(Array.from(directories, async (directory) => readAreas(directory)));
  return areas.flat().filter(({ path, folders }) => folders.length > 0 && !shown.has(path));
}
