import { constants } from 'node:fs';
import type { Handlers, Stat, Statfs, default as FuseNative } from 'fuse-native';
import { UserError, messageOf } from '../../errors.ts';
import { BLOCK_BYTES, NAME_MAX_BYTES } from '../../limits.ts';
import { errnoOf } from '../errno.ts';
import { FS_SUBTYPE, findMount } from '../mount-table.ts';
import type { Operations } from '../operations.ts';
import type { Attributes, Node, SpaceUsage, Timestamp } from '../tree/node.ts';
import { unmount } from '../unmount.ts';
import type { MountedTransport, Transport, TransportOptions } from './transport.ts';

/**
 * The transport over fuse-native, which binds libfuse 2: it asks by path and not by node, has one time to live for
 * all names and attributes, 32 bits for inode numbers and milliseconds for times, and can't interrupt a lookup.
 */
export const fuseNativeTransport: Transport = { name: 'fuse-native', mount };

/** The most that names and attributes are kept: the same for what never changes and for what a refresh may change. */
const KERNEL_CACHE_SECONDS_MAX = 10;
/** How often to look whether somebody else has unmounted us, of which libfuse 2 tells nothing. */
const MOUNT_POLL_MS = 500;

const MODE_TYPES: Readonly<Record<Node['kind'], number>> = {
  file: constants.S_IFREG,
  directory: constants.S_IFDIR,
  symlink: constants.S_IFLNK,
};

async function mount(
  mountpoint: string,
  operations: Operations,
  options: TransportOptions,
): Promise<MountedTransport> {
  const Fuse = await load();
  const ending = new AbortController();
  const seconds = Math.min(options.refreshSeconds, KERNEL_CACHE_SECONDS_MAX);
  const fuse = new Fuse(mountpoint, handlers(operations, ending.signal, options), {
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
      ...(options.readOnly ? ['ro'] : []),
      ...(options.allowNonEmpty ? ['nonempty'] : []),
    ].join(','),
    subtype: FS_SUBTYPE,
  });
  await new Promise<void>((resolve, reject) => {
    fuse.mount((error) => (error ? reject(refused(mountpoint, error)) : resolve()));
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

function handlers(operations: Operations, signal: AbortSignal, options: TransportOptions): Handlers {
  const { log } = options;

  const find = async (path: string): Promise<Node> => {
    let node: Node = operations.root;
    for (const name of path.split('/')) {
      if (name !== '') node = await operations.lookup(node, name, signal);
    }
    return node;
  };

  /** Runs one request and replies once, whatever happens. */
  const serve = <T>(work: () => Promise<T>, reply: (error: number, value?: T) => void): void => {
    work().then(
      (value) => reply(0, value),
      (error: unknown) => {
        log.trace({ error: messageOf(error) }, 'request failed');
        reply(-errnoOf(error));
      },
    );
  };

  const change = (reply: (error: number) => void): void => serve(async () => operations.change(), reply);

  return {
    access: (path, mode, reply) =>
      serve(async () => {
        await find(path);
        if ((mode & constants.W_OK) !== 0) operations.change();
      }, reply),
    getattr: (path, reply) => serve(async () => statOf((await find(path)).attributes()), reply),
    readlink: (path, reply) => serve(async () => operations.readlink(await find(path)), reply),
    open: (path, flags, reply) => serve(async () => operations.open(await find(path), flags, signal), reply),
    release: (_path, handle, reply) => serve(async () => operations.release(handle), reply),
    read: (_path, handle, buffer, length, position, reply) =>
      serve(
        async () => {
          const parts = await operations.read(handle, position, length, signal);
          // The buffer is libfuse's own memory: it is touched here, with the reply, and never while we wait.
          let filled = 0;
          for (const part of parts) {
            buffer.set(part, filled);
            filled += part.length;
          }
          return filled;
        },
        (error, filled) => reply(error === 0 ? (filled ?? 0) : error),
      ),
    readdir: (path, reply) =>
      serve(
        async () => {
          const handle = await operations.openDirectory(await find(path), signal);
          const entries = operations.entries(handle);
          operations.release(handle);
          const names: string[] = [];
          const stats: Stat[] = [];
          for (let index = 0; index < entries.length; index += 1) {
            const entry = entries.at(index);
            if (!entry) continue;
            names.push(entry.name);
            stats.push(statOf(entry.node.attributes()));
          }
          return { names, stats };
        },
        (error, listing) => reply(error, listing?.names, listing?.stats),
      ),
    statfs: (_path, reply) => serve(async () => statfsOf(await operations.statfs(signal)), reply),
    // Reading extended attributes is left out on purpose: there are none, and after one ENOSYS the kernel stops asking
    // for them (ls -l does, twice a file).
    setxattr: (_path, _name, _value, _position, _flags, reply) => change(reply),
    removexattr: (_path, _name, reply) => change(reply),
    chmod: (_path, _mode, reply) => change(reply),
    chown: (_path, _uid, _gid, reply) => change(reply),
    truncate: (_path, _size, reply) => change(reply),
    utimens: (_path, _atime, _mtime, reply) => change(reply),
    mknod: (_path, _mode, _device, reply) => change(reply),
    mkdir: (_path, _mode, reply) => change(reply),
    create: (_path, _mode, reply) => change(reply),
    unlink: (_path, reply) => change(reply),
    rmdir: (_path, reply) => change(reply),
    rename: (_from, _to, reply) => change(reply),
    link: (_from, _to, reply) => change(reply),
    symlink: (_target, _path, reply) => change(reply),
  };
}

function statOf(attributes: Attributes): Stat {
  return {
    mode: MODE_TYPES[attributes.kind] | attributes.mode,
    uid: attributes.uid,
    gid: attributes.gid,
    size: attributes.size,
    nlink: attributes.nlink,
    ino: attributes.ino,
    blocks: attributes.blocks,
    blksize: BLOCK_BYTES,
    atime: millisecondsOf(attributes.atime),
    mtime: millisecondsOf(attributes.mtime),
    ctime: millisecondsOf(attributes.ctime),
  };
}

function millisecondsOf(time: Timestamp): number {
  return time.seconds * 1000 + Math.floor(time.nanoseconds / 1e6);
}

/** All numbers have 32 bits here, so the unit grows with the sum. */
function statfsOf({ bytes, files }: SpaceUsage): Statfs {
  let frsize = 4096;
  while (bytes / frsize > 0x7fffffff) frsize *= 2;
  return {
    bsize: BLOCK_BYTES,
    frsize,
    blocks: Math.ceil(bytes / frsize),
    bfree: 0,
    bavail: 0,
    files: Math.min(files, 0xffffffff),
    ffree: 0,
    favail: 0,
    namemax: NAME_MAX_BYTES,
  };
}
