import { deadSockets } from '../../control.ts';
import { servingProcess } from '../../control-path.ts';
import { messageOf } from '../../errors.ts';
import { forEachBounded } from '../../for-each-bounded.ts';
import { readJournals } from '../../freeze/journal.ts';
import { FS_TYPE, readMountTable } from '../../fuse/mount-table.ts';
import { type MountState, mountState } from '../../fuse/mountpoint.ts';
import { describeFolders } from '../../fuse/staging/known-areas.ts';
import { MOUNT_ANSWER_WAIT_MS, MOUNTS_ASKED_AT_ONCE_MAX } from '../../limits.ts';
import { journalDirectory } from '../../state-directory.ts';
import { hiddenAreas } from '../hidden-areas.ts';
import { runningMounts } from '../running-mounts.ts';
import { type Check, findingsOf } from './finding.ts';

const { ok, warn, fail } = findingsOf('left behind');

/** What earlier mounts and freezes have left on this computer. */
export async function* checkLeftBehind(): Check {
  let clean = true;
  const ours = (await readMountTable()).filter(({ type }) => type === FS_TYPE);
  const states = new Map<string, MountState>();
  // Side by side: each may take its time, and not one after the other.
  await forEachBounded(ours, MOUNTS_ASKED_AT_ONCE_MAX, async ({ mountpoint }) => {
    states.set(mountpoint, await mountState(mountpoint));
  });
  for (const { mountpoint } of ours) {
    const state = states.get(mountpoint);
    if (state === 'alive') continue;
    clean = false;
    const umount = `"dtool-ecs-mount umount ${mountpoint}" clears it.`;
    yield state === 'dead'
      ? fail(`the process of the mount at ${mountpoint} has died`, umount)
      : fail(
          `the mount at ${mountpoint} does not answer within ${MOUNT_ANSWER_WAIT_MS / 1000} s`,
          `If its process, ${(await servingProcess(mountpoint)) ?? "another user's"}, does not go on: kill -KILL it, then ${umount}`,
        );
  }
  const dead = await deadSockets();
  // Asking the mounts removes them. Those that are silent have been told of.
  const mounts = await runningMounts(() => {});
  if (dead.length > 0) {
    clean = false;
    yield warn(`sockets of mounts that died, removed now: ${dead.join(', ')}`);
  }
  for (const area of await hiddenAreas(mounts)) {
    clean = false;
    yield warn(`no mount shows what was staged for bucket ${area.bucket}: ${describeFolders(area)}`);
  }
  const unreadable: string[] = [];
  const told = new Set(mounts.flatMap(({ unfinished, staging }) => [...unfinished, ...staging].map(uuidOf)));
  const journals = await readJournals(journalDirectory(), (error) => unreadable.push(messageOf(error)));
  for (const reason of unreadable) yield warn(reason, 'Remove it if that freeze is of no use any more.');
  for (const { state, uuid, bucket, directory, reason = 'it was interrupted' } of journals) {
    if (state === 'frozen' || uuid === undefined || told.has(uuid)) continue;
    clean = false;
    yield warn(
      `a freeze of ${directory} into ${bucket} was not finished: ${reason}`,
      `"dtool-ecs-mount freeze" on the directory goes on with it, "dtool-ecs-mount discard ${uuid}" removes what it left.`,
    );
  }
  if (clean && unreadable.length === 0) yield ok(`nothing but ${mounts.length} running mounts`);
}

function uuidOf(known: object): string | undefined {
  return 'uuid' in known && typeof known.uuid === 'string' ? known.uuid : undefined;
}
