import { askAllMounts } from '../control.ts';
import type { MountStatus } from '../mount.ts';

/** What the running mounts of this user tell of themselves. */
export async function runningMounts(): Promise<readonly MountStatus[]> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a mount of ours answers with nothing else
  return (await askAllMounts('status')) as readonly MountStatus[];
}
