import { setMaxListeners } from 'node:events';
import type { Handlers, default as FuseNative } from 'fuse-native';
import { UserError, messageOf } from '../../errors.ts';
import { FS_SUBTYPE, findMount } from '../mount-table.ts';
import type { Operations } from '../operations.ts';
import { unmount } from '../unmount.ts';
import { handlers } from './fuse-native-handlers.ts';
import type { MountedTransport, Transport, TransportOptions } from './transport.ts';

/**
 * The transport over fuse-native, which binds libfuse 2: it asks by path and not by node, has one time to live for
 * all names and attributes, 32 bits for inode numbers and milliseconds for times, and can't interrupt a lookup. What
 * this means for those who use the mount is listed in test/contract/transport-deviations.ts.
 */
export const fuseNativeTransport: Transport = { name: 'fuse-native', mount };

/** The most that names and attributes are kept: the same for what never changes and for what a refresh may change. */
const KERNEL_CACHE_SECONDS_MAX = 10;
/** How often to look whether somebody else has unmounted us, of which libfuse 2 tells nothing. */
const MOUNT_POLL_MS = 500;

async function mount(
  mountpoint: string,
  operations: Operations,
  options: TransportOptions,
): Promise<MountedTransport> {
  const Fuse = await load();
  const ending = new AbortController();
  const seconds = Math.min(options.refreshSeconds, KERNEL_CACHE_SECONDS_MAX);
  // One signal serves all requests.
  setMaxListeners(0, ending.signal);
  const served = handlers(operations, ending.signal, options.log);
  const fuse = new Fuse(mountpoint, served, {
    // A late reply after a timeout throws, and 15 s are no time for a store that is retried.
    timeout: false,
    allowOther: options.allowOther,
    defaultPermissions: options.allowOther,
    // Pages stay in the kernel's cache from one open to the next unless size or time have changed.
    autoCache: true,
    entryTimeout: seconds,
    attrTimeout: seconds,
    // The one way to options that fuse-native has no name for.
    fsname: [
      options.source.replaceAll(/[,\\]/g, '_'),
      'use_ino',
      // Writes of 128 KiB instead of 4 KiB.
      'big_writes',
      ...(options.readOnly ? ['ro'] : []),
      ...(options.allowNonEmpty ? ['nonempty'] : []),
    ].join(','),
    subtype: FS_SUBTYPE,
  });
  await new Promise<void>((resolve, reject) => {
    withRoom(fuse, served).mount((error) => (error ? reject(refused(mountpoint, error)) : resolve()));
  });
  const closed = untilUnmounted(mountpoint);
  return {
    closed,
    unmount: async () => {
      ending.abort();
      await unmount(mountpoint);
      await closed;
    },
  };
}

async function load(): Promise<typeof FuseNative> {
  try {
    return (await import('fuse-native')).default;
  } catch (error) {
    throw new UserError(
      `the package fuse-native can't be loaded on this machine: ${messageOf(error)}`,
      'It has binaries for x86-64 only.',
      { cause: error },
    );
  }
}

function refused(mountpoint: string, error: Error): UserError {
  return new UserError(
    `${mountpoint} could not be mounted: ${error.message}`,
    'libfuse has written the reason to standard error. Is /dev/fuse there, and fuse3 installed?',
    { cause: error },
  );
}

async function untilUnmounted(mountpoint: string): Promise<void> {
  while (await findMount(mountpoint)) {
    await new Promise((resolve) => setTimeout(resolve, MOUNT_POLL_MS));
  }
}

/**
 * fuse-native does not tell handlers how much room a caller has for an extended attribute, and would let libfuse send
 * more than there is; so its own two steps between libfuse and the handlers are replaced.
 */
function withRoom(fuse: FuseNative, served: Handlers): FuseNative {
  return Object.assign(fuse, {
    _op_getxattr: (signal: XattrSignal, path: string, name: string, room: Buffer) =>
      served.getxattr(path, name, room, (result) => signal(result, room.buffer)),
    _op_listxattr: (signal: XattrSignal, path: string, room: Buffer) =>
      served.listxattr(path, room, (result) => signal(result, room.buffer)),
  });
}

/** Ends a request: with a length or a negative errno, and the buffer that libfuse takes back. */
type XattrSignal = (result: number, buffer: ArrayBufferLike) => void;
