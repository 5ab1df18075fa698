import { systemClock } from '../clock.ts';
import { askMount } from '../control.ts';
import { UserError } from '../errors.ts';
import { FS_TYPE, findMount } from '../fuse/mount-table.ts';
import { canonicalMountpoint, clearDeadMount, hasServerEnded } from '../fuse/mountpoint.ts';
import { unmount } from '../fuse/unmount.ts';
import type { StagedStatus } from '../freeze/staged-buckets.ts';
import { isProcessAlive } from '../process-alive.ts';
import { print, printable } from './terminal.ts';

/** Folders that are named one by one. */
const FOLDERS_NAMED_MAX = 10;
/** How long the process of a mount may take to end once it is unmounted, and how often to look. */
const PROCESS_END_WAIT_MS = 10_000;
const PROCESS_POLL_MS = 20;

/**
 * Ends a mount, and the process that serves it. A mount whose process is gone is cleared.
 *
 * @throws UserError when nothing of ours is mounted there
 */
export async function umountCommand(mountpoint: string): Promise<void> {
  const path = await canonicalMountpoint(mountpoint);
  const found = await findMount(path);
  if (!found) throw new UserError(`nothing is mounted at ${path}`);
  if (found.type !== FS_TYPE) {
    throw new UserError(
      `${path} is not a mount of ours: ${found.source} (${found.type})`,
      'umount(8) may end it.',
    );
  }
  if ((await hasServerEnded(path)) && (await clearDeadMount(path))) return;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a mount of ours answers with nothing else
  const served = (await askMount(path, 'unmount')) as Unmounted | undefined;
  // One that does not listen any more is helped.
  if (served === undefined) await unmount(path);
  else {
    tellStaged(served.staging ?? []);
    await untilGone(served.pid);
  }
}

/** What a mount answers. An earlier version says nothing of staging. */
interface Unmounted {
  readonly pid: number;
  readonly staging?: readonly StagedStatus[];
}

/** Names the folders that are not frozen: nobody sees them any more until the bucket is mounted again. */
function tellStaged(staging: readonly StagedStatus[]): void {
  const open = staging.filter(({ state }) => state !== 'frozen');
  if (open.length === 0) return;
  const names = open.slice(0, FOLDERS_NAMED_MAX).map(({ bucket, name }) => `${bucket}/staging/${name}`);
  if (open.length > names.length) names.push('…');
  print(
    printable(
      `Not frozen: ${names.join(', ')}. It stays on this computer, and is there when its bucket is next mounted.`,
    ),
  );
}

async function untilGone(pid: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < PROCESS_END_WAIT_MS; waitedMs += PROCESS_POLL_MS) {
    if (!(await isProcessAlive(pid))) return;
    await systemClock.sleep(PROCESS_POLL_MS);
  }
  throw new UserError(`it is unmounted, but process ${pid} is still there`, `"kill ${pid}" ends it.`);
}
