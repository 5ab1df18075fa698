import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { UserError } from '../errors.ts';
import { type AutoUnmount, startAutoUnmount } from './auto-unmount.ts';
import { userDescriptorsMax } from './descriptor-limit.ts';
import { clearDeadMount, isOpenDevice, prepareMountpoint, systemCodeOf } from './mountpoint.ts';
import { Operations } from './operations.ts';
import type { RequestCounts } from './request-counters.ts';
import type { MountedTransport, Transport, TransportOptions } from './transport/transport.ts';
import type { Tree } from './tree/node.ts';

/** A tree that is mounted. */
export interface Session {
  /** Files and directories that are open now. */
  readonly openHandles: number;
  /** What the kernel has asked since the start. */
  readonly requests: RequestCounts;
  /** Resolves when the mount is gone, whoever ended it. */
  readonly closed: Promise<void>;
  /** Unmounts, lazily if somebody is still in there; their requests end with EINTR. */
  unmount(): Promise<void>;
}

export interface SessionOptions extends TransportOptions {
  /** Whether the mount is to go when this process dies, however it does; default: it stays, and answers nothing. */
  readonly autoUnmount?: boolean;
  /** Ends the start; what is mounted by then is unmounted. Default: nothing does. */
  readonly signal?: AbortSignal;
}

/**
 * Mounts a tree.
 *
 * @param mountpoint canonical path of a directory, or `/dev/fd/N` for a device that is mounted already
 * @throws UserError when the mountpoint or the system does not allow it; the signal's reason; nothing is left mounted then
 */
export async function startSession(
  mountpoint: string,
  tree: Tree,
  transport: Transport,
  options: SessionOptions,
): Promise<Session> {
  if (!isOpenDevice(mountpoint)) {
    await prepareMountpoint(mountpoint, options.allowNonEmpty);
    const obstacle = await fuseObstacle();
    if (obstacle) throw new UserError(obstacle.reason, obstacle.advice);
  }
  const descriptors = await userDescriptorsMax();
  const operations = new Operations(tree, {
    descriptors,
    onRefused: (uid) =>
      options.log.warn(
        { uid, descriptors },
        'a user has as many files open as one may have: half of what others leave. Close some, or raise the limit of open files',
      ),
  });
  options.signal?.throwIfAborted();
  const mounted = await mountOn(mountpoint, operations, transport, options);
  if (mounted.invalidation) tree.invalidations?.connect(mounted.invalidation);
  const guard = options.autoUnmount === true ? await guarded(mountpoint, mounted) : undefined;
  if (options.signal?.aborted) {
    await mounted.unmount();
    guard?.stop();
    options.signal.throwIfAborted();
  }
  const ended = async (): Promise<void> => {
    await mounted.closed;
    guard?.stop();
    operations.releaseAll();
  };
  return {
    get openHandles() {
      return operations.openHandles;
    },
    get requests() {
      return operations.requests.snapshot();
    },
    closed: ended(),
    unmount: async () => mounted.unmount(),
  };
}

/** Mounts, or leaves nothing mounted: a command that is killed may have done its work before. */
async function mountOn(
  mountpoint: string,
  operations: Operations,
  transport: Transport,
  options: SessionOptions,
): Promise<MountedTransport> {
  try {
    return await transport.mount(mountpoint, operations, options);
  } catch (error) {
    if (!isOpenDevice(mountpoint)) await clearDeadMount(mountpoint).catch(() => {});
    throw error;
  }
}

async function guarded(mountpoint: string, mounted: MountedTransport): Promise<AutoUnmount> {
  try {
    return await startAutoUnmount(mountpoint);
  } catch (error) {
    await mounted.unmount();
    throw error;
  }
}

/** What keeps this system from mounting anything, and the remedy; undefined when nothing speaks against it. */
export async function fuseObstacle(): Promise<
  { readonly reason: string; readonly advice: string } | undefined
> {
  try {
    await access('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch (error) {
    return systemCodeOf(error) === 'ENOENT'
      ? {
          reason: '/dev/fuse is missing: this system has no FUSE',
          advice: 'As root: "modprobe fuse"; a container needs "--device /dev/fuse --cap-add SYS_ADMIN".',
        }
      : {
          reason: `/dev/fuse may not be opened (${systemCodeOf(error)})`,
          advice: 'As root: "chmod 0666 /dev/fuse", which is what distributions do.',
        };
  }
  if (process.getuid?.() === 0 || (await isInPath('fusermount3'))) return undefined;
  return {
    reason: 'fusermount3 is missing, which lets users mount',
    advice: 'Install it: sudo apt-get install fuse3',
  };
}

async function isInPath(program: string): Promise<boolean> {
  const directories = (process.env['PATH'] ?? '').split(delimiter);
  const found = await Promise.allSettled(
    directories.map(async (directory) => access(join(directory, program), constants.X_OK)),
  );
  return found.some(({ status }) => status === 'fulfilled');
}
