import { dirname } from 'node:path';
import { askAllMounts, askMount } from '../control.ts';
import type { UserError } from '../errors.ts';
import type { MountStatus } from '../mount.ts';

/**
 * What the running mounts of this user tell of themselves.
 *
 * @param onSilent hears of each that does not answer; what it throws ends the asking
 */
export async function runningMounts(onSilent: (silent: UserError) => void): Promise<readonly MountStatus[]> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a mount of ours answers with nothing else
  return (await askAllMounts('status', onSilent)) as readonly MountStatus[];
}

/** Where a path is in a running mount. */
export interface MountedPlace {
  readonly mount: MountStatus;
  /** Undefined for the top of a mount that has several. */
  readonly bucket: string | undefined;
  /** The names that lead there from the bucket's root. */
  readonly names: readonly string[];
}

/**
 * Finds the mount that a path is in, the innermost where mounts lie in each other; no other is asked.
 *
 * @param path absolute; it need not exist
 * @throws UserError when the mount does not answer
 */
export async function findPlace(path: string): Promise<MountedPlace | undefined> {
  for (let mountpoint = path; ; mountpoint = dirname(mountpoint)) {
    const answer = await askMount(mountpoint, 'status');
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a mount of ours answers with nothing else
    if (answer !== undefined) return placeIn(answer as MountStatus, path);
    if (mountpoint === dirname(mountpoint)) return undefined;
  }
}

function placeIn(mount: MountStatus, path: string): MountedPlace {
  const names = path.slice(mount.mountpoint.length).split('/').filter(Boolean);
  const bucket = mount.bucketDirectories ? names.shift() : mount.buckets[0]?.bucket;
  return { mount, bucket, names };
}
