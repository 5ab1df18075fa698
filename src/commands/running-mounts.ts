import { dirname } from 'node:path';
import { askAllMounts, askMount } from '../control.ts';
import type { UserError } from '../errors.ts';
import type { MountStatus } from '../mount.ts';

/**
 * What the running mounts of this user tell of themselves.
 *
 * @param onSilent hears of each that does not answer
 */
export async function runningMounts(onSilent: (silent: UserError) => void): Promise<readonly MountStatus[]> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a mount of ours answers with nothing else
  return (await askAllMounts('status', onSilent)) as readonly MountStatus[];
}

/**
 * What the mount tells of itself that a path is in, the innermost where mounts lie in each other; no other is asked.
 *
 * @param path absolute; it need not exist
 * @throws UserError when it does not answer
 */
export async function mountOf(path: string): Promise<MountStatus | undefined> {
  const answer = await askMount(path, 'status');
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a mount of ours answers with nothing else
  if (answer !== undefined) return answer as MountStatus;
  const parent = dirname(path);
  return parent === path ? undefined : mountOf(parent);
}
