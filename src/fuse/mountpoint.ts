import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, readdir, realpath } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { UserError } from '../errors.ts';
import { servingProcess } from '../control-path.ts';
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
 * Makes sure that a directory can be mounted on.
 *
 * @param mountpoint canonical
 * @throws UserError that says what is in the way
 */
export async function prepareMountpoint(mountpoint: string, allowNonEmpty: boolean): Promise<void> {
  await requireNoMount(mountpoint);
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

async function requireNoMount(mountpoint: string): Promise<void> {
  const found = await findMount(mountpoint);
  if (!found) return;
  if (found.type === FS_TYPE) {
    throw new UserError(
      `${mountpoint} is mounted already: ${found.source}`,
      `"dtool-ecs-mount umount ${mountpoint}" ends that mount.`,
    );
  }
  throw new UserError(
    `${mountpoint} is a mountpoint already: ${found.source} (${found.type})`,
    'Mount somewhere else, or unmount that first.',
  );
}

/**
 * Takes away the mount of ours at a place if its process is gone. Where a thread of that hangs in the kernel, which keeps
 * the mount from failing and the process from ending, whoever waits for the mount is freed first.
 *
 * @param mountpoint canonical
 * @returns whether there was such a mount
 * @throws UserError when the system refuses
 */
export async function clearDeadMount(mountpoint: string): Promise<boolean> {
  const found = await findMount(mountpoint);
  if (found?.type !== FS_TYPE || (await mountState(mountpoint)) !== 'dead') return false;
  await abortConnection(mountpoint, found.device);
  await unmount(mountpoint);
  const pid = await servingProcess(mountpoint);
  for (let waitedMs = 0; (await isEnding(pid)) && waitedMs < MOUNT_ANSWER_WAIT_MS; waitedMs += POLL_MS)
    await sleep(POLL_MS);
  return true;
}

/** Whether a process that was killed holds on to what it had open, because not all of its threads have ended. */
async function isEnding(pid: number | undefined): Promise<boolean> {
  if (pid === undefined || (await isProcessAlive(pid))) return false;
  return (await readdir(`/proc/${pid}/task`).catch(() => [])).length > 1;
}

/** `silent`: its process is there, as far as this user knows, and has not answered for {@link MOUNT_ANSWER_WAIT_MS}. */
export type MountState = 'alive' | 'dead' | 'silent';

/**
 * What C libraries call ENOTCONN and ECONNABORTED; which of the two it is depends on whether the kernel was just waiting for
 * an answer when the process ended.
 */
const DEAD = /not connected|connection abort/i;

/** Asks a mount whether its process lives, which costs no request to a store. */
export async function mountState(mountpoint: string): Promise<MountState> {
  // By another process, since one whose call is never answered can't end. Of the file system: attributes of files the
  // kernel has in its cache, of the dead as well.
  const asking = spawn('stat', ['-f', '--', mountpoint], {
    cwd: '/',
    env: { ...process.env, LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  asking.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const answered = new AbortController();
  const silence = sleep(MOUNT_ANSWER_WAIT_MS, undefined, answered).catch(() => {});
  try {
    if (await Promise.race([once(asking, 'close'), silence])) return DEAD.test(said) ? 'dead' : 'alive';
    // Somebody else's mount may be at its place by now, but that answers.
    return (await hasServerEnded(mountpoint)) ? 'dead' : 'silent';
  } finally {
    answered.abort();
    asking.kill('SIGKILL');
    asking.stderr.destroy();
    asking.unref();
  }
}

/** Whether the process that served a mount has ended; false where this user knows of none. */
export async function hasServerEnded(mountpoint: string): Promise<boolean> {
  const pid = await servingProcess(mountpoint);
  return pid !== undefined && !(await isProcessAlive(pid));
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
