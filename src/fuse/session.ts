import { constants } from 'node:fs';
import { access, readdir, stat } from 'node:fs/promises';
import { FsError, UserError } from '../errors.ts';
import { FS_TYPE, findMount } from './mount-table.ts';
import { Operations } from './operations.ts';
import type { MountedTransport, Transport, TransportOptions } from './transport/transport.ts';
import type { Tree } from './tree/node.ts';
import { unmount } from './unmount.ts';

/** A tree that is mounted. */
export interface Session {
  /** Files and directories that are open now. */
  readonly openHandles: number;
  /** Resolves when the mount is gone, whoever ended it. */
  readonly closed: Promise<void>;
  /** Unmounts, lazily if somebody is still in there; their requests end with EINTR. */
  unmount(): Promise<void>;
}

/**
 * Mounts a tree at a directory. A dead mount of ours that is found there (its process was killed) is cleared first.
 *
 * @param mountpoint absolute path
 * @throws UserError when the mountpoint or the system does not allow it; nothing is left mounted then
 */
export async function startSession(
  mountpoint: string,
  tree: Tree,
  transport: Transport,
  options: TransportOptions,
): Promise<Session> {
  await clearDeadMount(mountpoint);
  await checkMountpoint(mountpoint, options.allowNonEmpty);
  await checkDevice();
  const operations = new Operations(tree);
  const mounted: MountedTransport = await transport.mount(mountpoint, operations, options);
  return {
    get openHandles() {
      return operations.openHandles;
    },
    closed: mounted.closed.then(() => operations.releaseAll()),
    unmount: () => mounted.unmount(),
  };
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

async function isDead(mountpoint: string): Promise<boolean> {
  try {
    await stat(mountpoint);
    return false;
  } catch (error) {
    // Which of the two depends on whether the kernel was just waiting for an answer when the process ended.
    return ['ENOTCONN', 'ECONNABORTED'].includes(codeOf(error) ?? '');
  }
}

async function checkMountpoint(mountpoint: string, allowNonEmpty: boolean): Promise<void> {
  let entries: readonly string[];
  try {
    entries = await readdir(mountpoint);
    await access(mountpoint, constants.W_OK);
  } catch (error) {
    throw mountpointError(mountpoint, codeOf(error), error);
  }
  if (entries.length > 0 && !allowNonEmpty) {
    throw new UserError(
      `${mountpoint} is not empty: what is in it would be hidden`,
      'Mount on an empty directory, or add --allow-non-empty.',
    );
  }
}

function mountpointError(mountpoint: string, code: string | undefined, cause: unknown): UserError {
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
  return new UserError(`${mountpoint} can't be used (${code ?? String(cause)})`, undefined, { cause });
}

/** Why this system can't mount anything, or undefined when nothing speaks against it. */
export async function fuseObstacle(): Promise<string | undefined> {
  const isRoot = process.getuid?.() === 0;
  try {
    // A user's mount is opened by fusermount, which is root; who is root opens it here.
    await access('/dev/fuse', isRoot ? constants.R_OK | constants.W_OK : constants.F_OK);
    return undefined;
  } catch (error) {
    return codeOf(error) === 'ENOENT'
      ? '/dev/fuse is missing: this system has no FUSE'
      : `/dev/fuse can't be opened (${codeOf(error) ?? String(error)})`;
  }
}

async function checkDevice(): Promise<void> {
  const obstacle = await fuseObstacle();
  if (obstacle === undefined) return;
  throw new UserError(
    obstacle,
    'As root: "modprobe fuse"; a container needs "--device /dev/fuse --cap-add SYS_ADMIN".',
  );
}

function codeOf(error: unknown): string | undefined {
  if (error instanceof FsError) return error.code;
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
