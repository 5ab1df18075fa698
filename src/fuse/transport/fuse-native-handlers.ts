import { constants } from 'node:fs';
import type { Handlers, Reply, Stat, Statfs } from 'fuse-native';
import { FsError, messageOf } from '../../errors.ts';
import { BLOCK_BYTES, NAME_MAX_BYTES } from '../../limits.ts';
import type { Logger } from '../../log.ts';
import { errnoOf } from '../errno.ts';
import type { Operations } from '../operations.ts';
import type { RequestCounters } from '../request-counters.ts';
import type { Owner } from '../tree/changes.ts';
import type { Attributes, Node, SpaceUsage, Timestamp } from '../tree/node.ts';

const MODE_TYPES: Readonly<Record<Node['kind'], number>> = {
  file: constants.S_IFREG,
  directory: constants.S_IFDIR,
  symlink: constants.S_IFLNK,
  fifo: constants.S_IFIFO,
  socket: constants.S_IFSOCK,
};
/** What chown(2) passes for what is to stay. */
const UNCHANGED = 0xffffffff;
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
/** Of a directory that is listed. */
const ENTRIES_AT_ONCE = 256;
/** What fuse-native makes of bytes in a path that are not UTF-8. */
const REPLACEMENT = '\u{fffd}';

/** Answers the requests of libfuse 2, which come with paths, and counts them under libfuse's names. */
export function handlers(operations: Operations, signal: AbortSignal, log: Logger): Handlers {
  return counted(uncounted(operations, signal, log), operations.requests);
}

function uncounted(operations: Operations, signal: AbortSignal, log: Logger): Handlers {
  /** Who asks is not told to us: what is new belongs to the user who mounted. */
  const owner: Owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

  const walk = async (names: readonly string[]): Promise<Node> => {
    let node: Node = operations.root;
    for (const name of names) node = await operations.lookup(node, name, signal);
    return node;
  };

  const find = async (path: string): Promise<Node> => walk(namesOf(path));

  /** The directory that a path is in, and its last name. */
  const place = async (path: string): Promise<readonly [parent: Node, name: string]> => {
    const names = namesOf(path);
    return [await walk(names.slice(0, -1)), names.at(-1) ?? ''];
  };

  /** The same for something new. */
  const newPlace = async (path: string): Promise<readonly [parent: Node, name: string]> => {
    const found = await place(path);
    const [, name] = found;
    if (name.includes(REPLACEMENT)) throw new FsError('EILSEQ', 'a name that is not UTF-8');
    if (Buffer.byteLength(name) > NAME_MAX_BYTES)
      throw new FsError('ENAMETOOLONG', 'a name that is too long');
    return found;
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

  /** The same for a request whose answer is a number of bytes. */
  const count = (work: () => Promise<number>, reply: Reply): void =>
    serve(work, (error, bytes) => reply(error === 0 ? (bytes ?? 0) : error));

  return {
    access: (path, mode, reply) =>
      serve(async () => {
        const node = await find(path);
        if ((mode & constants.W_OK) !== 0) operations.requireChangeable(node);
      }, reply),
    getattr: (path, reply) => serve(async () => statOf((await find(path)).attributes()), reply),
    readlink: (path, reply) =>
      serve(async () => Buffer.from(operations.readlink(await find(path))).toString(), reply),
    open: (path, flags, reply) =>
      serve(async () => operations.open(await find(path), flags, signal, owner.uid), reply),
    release: (_path, handle, reply) => serve(async () => operations.release(handle), reply),
    read: (_path, handle, buffer, length, position, reply) =>
      count(
        async () =>
          // The buffer is libfuse's own memory: it is touched here, before the reply, and never while we wait.
          operations.read(handle, position, length, signal, (parts) => {
            let filled = 0;
            for (const part of parts) {
              buffer.set(part, filled);
              filled += part.length;
            }
            return filled;
          }),
        reply,
      ),
    readdir: (path, reply) =>
      serve(
        async () => {
          const handle = await operations.openDirectory(await find(path), signal, owner.uid);
          try {
            const { length } = operations.entries(handle);
            const names: string[] = [];
            const stats: Stat[] = [];
            for (let from = 0; from < length; from += ENTRIES_AT_ONCE) {
              const entries = await operations.someEntries(handle, from, ENTRIES_AT_ONCE);
              for (let index = from; index < Math.min(from + ENTRIES_AT_ONCE, length); index += 1) {
                const entry = entries.at(index);
                if (!entry) continue;
                names.push(entry.name);
                stats.push(statOf(entry.node.attributes()));
              }
            }
            return { names, stats };
          } finally {
            operations.release(handle);
          }
        },
        (error, listing) => reply(error, listing?.names, listing?.stats),
      ),
    statfs: (_path, reply) => serve(async () => statfsOf(await operations.statfs()), reply),
    getxattr: (path, name, room, reply) =>
      count(async () => fill(room, await operations.getxattr(await find(path), name)), reply),
    listxattr: (path, room, reply) =>
      count(async () => {
        const names = await operations.listxattr(await find(path));
        return fill(room, Buffer.from(names.map((name) => `${name}\0`).join('')));
      }, reply),

    write: (_path, handle, buffer, length, position, reply) =>
      count(async () => {
        await operations.write(handle, position, buffer);
        return length;
      }, reply),
    flush: (_path, handle, reply) => serve(async () => operations.flush(handle), reply),
    fsync: (_path, dataOnly, handle, reply) =>
      serve(async () => operations.syncFile(handle, dataOnly !== 0), reply),
    fsyncdir: (path, _dataOnly, _handle, reply) =>
      serve(async () => operations.syncDirectory(await find(path)), reply),
    setxattr: (path, name, value, _position, flags, reply) => {
      const must =
        (flags & XATTR_CREATE) !== 0 ? 'create' : (flags & XATTR_REPLACE) !== 0 ? 'replace' : undefined;
      const copy = Uint8Array.from(value);
      serve(async () => operations.setxattr(await find(path), name, copy, must), reply);
    },
    removexattr: (path, name, reply) =>
      serve(async () => operations.removexattr(await find(path), name), reply),
    chmod: (path, mode, reply) =>
      serve(async () => operations.setAttributes(await find(path), { mode: mode & 0o7777 }), reply),
    chown: (path, uid, gid, reply) =>
      serve(
        async () =>
          operations.setAttributes(await find(path), {
            ...(uid !== UNCHANGED && { uid }),
            ...(gid !== UNCHANGED && { gid }),
          }),
        reply,
      ),
    truncate: (path, size, reply) =>
      serve(async () => operations.setAttributes(await find(path), { size }), reply),
    // fuse-native passes the time of access twice: that is right for touch, and for the others no more wrong than now.
    utimens: (path, atime, mtime, reply) =>
      serve(
        async () =>
          operations.setAttributes(await find(path), { atime: timeOf(atime), mtime: timeOf(mtime) }),
        reply,
      ),
    mknod: (path, mode, _device, reply) =>
      serve(async () => void (await operations.makeNode(...(await newPlace(path)), mode, owner)), reply),
    mkdir: (path, mode, reply) =>
      serve(async () => void (await operations.makeDirectory(...(await newPlace(path)), mode, owner)), reply),
    create: (path, mode, reply) =>
      serve(
        async () =>
          (await operations.create(...(await newPlace(path)), constants.O_RDWR, mode, owner)).handle,
        reply,
      ),
    unlink: (path, reply) => serve(async () => operations.unlink(...(await place(path))), reply),
    rmdir: (path, reply) => serve(async () => operations.removeDirectory(...(await place(path))), reply),
    rename: (from, to, reply) =>
      serve(async () => {
        const [source, target] = [await place(from), await newPlace(to)];
        await operations.rename(...source, ...target, 'replace', () => signal);
      }, reply),
    link: (from, to, reply) =>
      serve(async () => operations.link(await find(from), ...(await newPlace(to))), reply),
    symlink: (target, path, reply) =>
      serve(async () => {
        const [parent, name] = await newPlace(path);
        await operations.makeSymlink(parent, name, target, owner);
      }, reply),
  };
}

/** The same handlers, which count what they are asked. */
function counted(served: Handlers, requests: RequestCounters): Handlers {
  const all = Object.entries(served).map(([kind, serve]) => {
    const counting = (...given: unknown[]): void => {
      const startedMs = performance.now();
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the last argument of every handler
      const reply = given.pop() as (...answer: unknown[]) => void;
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it gets what it was called with
      (serve as (...all: unknown[]) => void)(...given, (...answer: unknown[]) => {
        requests.count(kind, performance.now() - startedMs);
        reply(...answer);
      });
    };
    return [kind, counting];
  });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same keys
  return Object.fromEntries(all) as Handlers;
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '');
}

/** Puts an extended attribute into the caller's buffer and returns its length, which is all that is asked without one. */
function fill(room: Buffer, value: Uint8Array): number {
  if (room.length > 0) {
    if (value.length > room.length) throw new FsError('ERANGE', 'the value is longer than the buffer for it');
    room.set(value);
  }
  return value.length;
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

/** Times before 1970 have no place there. */
function millisecondsOf(time: Timestamp): number {
  return Math.max(0, time.seconds * 1000 + Math.floor(time.nanoseconds / 1e6));
}

function timeOf(milliseconds: number): Timestamp {
  const seconds = Math.floor(milliseconds / 1000);
  return { seconds, nanoseconds: (milliseconds - seconds * 1000) * 1e6 };
}

/** All numbers have 32 bits here, so the unit grows with the sum. */
function statfsOf({ bytes, files, free = { bytes: 0, files: 0 } }: SpaceUsage): Statfs {
  let frsize = 4096;
  while ((bytes + free.bytes) / frsize > 0x7fffffff) frsize *= 2;
  const room = Math.floor(free.bytes / frsize);
  const freeFiles = Math.min(free.files, 0xffffffff);
  return {
    bsize: BLOCK_BYTES,
    frsize,
    blocks: Math.ceil(bytes / frsize) + room,
    bfree: room,
    bavail: room,
    files: Math.min(files + free.files, 0xffffffff),
    ffree: freeFiles,
    favail: freeFiles,
    namemax: NAME_MAX_BYTES,
  };
}
