import { constants } from 'node:fs';
import { access, readdir, realpath, statfs } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { UserError } from '../errors.ts';
import { servingProcess } from '../control.ts';
import { MOUNT_ANSWER_WAIT_MS } from '../limits.ts';
import { isProcessAlive } from '../process-alive.ts';
import { FS_TYPE, findMount } from './mount-table.ts';
import { abortConnection, unmount } from './unmount.ts';

const POLL_MS = 10;
const OPEN_DEVICE = /^\/dev\/fd\/\d{1,9}$/;

/** Whether a mountpoint stands for a FUSE device that the caller has opened and mounted already. */
export function isOpenDevice(mountpoint: string): boolean {
  return OPEN_DEVICE.test(mountpoint);
}

/**
 * The path of a mountpoint as the kernel knows it: absolute and without symbolic links. It need not exist, and its mount
 * may be dead.
 */
export async function canonicalMountpoint(path: string): Promise<string> {
  const absolute = resolve(path);
  // Nobody may answer for a mount.
  if (isOpenDevice(absolute) || (await findMount(absolute))) return absolute;
  try {
    return await realpath(absolute);
  } catch {
    // A dead mount can't be looked at, but the directory that it is in can.
    return join(await realpath(dirname(absolute)).catch(() => dirname(absolute)), basename(absolute));
  }
}

/**
 * Makes sure that a directory can be mounted on. A dead mount of ours that is found there (its process was killed) is
 * cleared first.
 *
 * @param mountpoint canonical
 * @throws UserError that says what is in the way
 */
export async function prepareMountpoint(mountpoint: string, allowNonEmpty: boolean): Promise<void> {
  if (!(await clearKilledMount(mountpoint))) await clearDeadMount(mountpoint);
  let entries: readonly string[];
  try {
    entries = await readdir(mountpoint);
    await access(mountpoint, constants.W_OK);
  } catch (error) {
    throw mountpointError(mountpoint, error);
  }
  if (entries.length > 0 && !allowNonEmpty) {
    throw new UserError(
      `${mountpoint} is not empty: what is in it would be hidden`,
      'Mount on an empty directory, or add --allow-non-empty.',
    );
  }
}

async function clearDeadMount(mountpoint: string): Promise<void> {
  const found = await findMount(mountpoint);
  if (!found) return;
  if (found.type !== FS_TYPE) {
    throw new UserError(
      `${mountpoint} is a mountpoint already: ${found.source} (${found.type})`,
      'Mount somewhere else, or unmount that first.',
    );
  }
  if (!(await isDead(mountpoint))) {
    throw new UserError(
      `${mountpoint} is mounted already: ${found.source}`,
      `"dtool-ecs-mount umount ${mountpoint}" ends that mount.`,
    );
  }
  await unmount(mountpoint);
}

/**
 * Takes away the mount at a place if its process was killed, as far as this user knows, and nothing else serves it. Where
 * a thread of that hangs in the kernel, which keeps the mount from failing and the process from ending, whoever waits for
 * the mount is freed first.
 *
 * @param mountpoint canonical
 * @returns whether there was such a mount
 * @throws UserError when the system refuses
 */
export async function clearKilledMount(mountpoint: string): Promise<boolean> {
  const found = await findMount(mountpoint);
  const pid = await servingProcess(mountpoint);
  if (found?.type !== FS_TYPE || pid === undefined || (await isProcessAlive(pid))) return false;
  if (!(await isDead(mountpoint))) return false;
  await abortConnection(mountpoint, found.device);
  await unmount(mountpoint);
  for (let waitedMs = 0; (await hasThreads(pid)) && waitedMs < MOUNT_ANSWER_WAIT_MS; waitedMs += POLL_MS)
    await sleep(POLL_MS);
  return true;
}

/** Whether a process that has ended holds on to what it had open, because not all of its threads could end. */
async function hasThreads(pid: number): Promise<boolean> {
  return (await readdir(`/proc/${pid}/task`).catch(() => [])).length > 1;
}

/** Whether the process of a mount is gone. Waits as long as a mount that lives does not answer. */
export async function isDead(mountpoint: string): Promise<boolean> {
  // Not stat: the kernel answers that from its cache, of the dead as well.
  const answer = statfs(mountpoint).then(
    () => false,
    // Which of the two depends on whether the kernel was just waiting for an answer when the process ended.
    (error: unknown) => ['ENOTCONN', 'ECONNABORTED'].includes(systemCodeOf(error)),
  );
  // Somebody else's mount may be at its place by now, and that answers.
  const pid = await servingProcess(mountpoint);
  if (pid !== undefined && !(await isProcessAlive(pid)))
    return Promise.race([answer, sleep(MOUNT_ANSWER_WAIT_MS, true)]);
  return answer;
}

function mountpointError(mountpoint: string, cause: unknown): UserError {
  const code = systemCodeOf(cause);
  if (code === 'ENOENT') {
    return new UserError(`${mountpoint} does not exist`, `Make it first: mkdir -p ${mountpoint}`, { cause });
  }
  if (code === 'ENOTDIR') {
    return new UserError(`${mountpoint} is not a directory`, 'Mount on an empty directory.', { cause });
  }
  if (code === 'EACCES' || code === 'EROFS') {
    const advice = 'Mount on a directory that you may write to.';
    return new UserError(`${mountpoint} is not yours to mount on`, advice, { cause });
  }
  return new UserError(`${mountpoint} can't be used: ${String(cause)}`, undefined, { cause });
}

/** The code of an error of the system, such as ENOENT; empty for any other error. */
export function systemCodeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
