import { constants } from 'node:fs';
import { nameOfErrno } from '../../errno.ts';
import { FsError } from '../../errors.ts';
import { pace } from './pace.ts';

/**
 * The system calls that a full file system needs and Node has not, by way of koffi. Where that is not installed there is
 * no {@link Libc}, and what depends on it says ENOTSUP or does with less.
 *
 * All of them run on a thread of the pool or are quick, follow no symbolic link in the last place, and reject with an FsError.
 */
export interface Libc {
  /** utimensat(2), to the nanosecond. */
  setTimes(target: Target, atime: NanosecondTime, mtime: NanosecondTime): Promise<void>;
  /** Undefined where there is none of that name. */
  getXattr(target: Target, name: string): Promise<Uint8Array | undefined>;
  listXattrs(target: Target): Promise<readonly string[]>;
  setXattr(
    target: Target,
    name: string,
    value: Uint8Array,
    must: 'create' | 'replace' | undefined,
  ): Promise<void>;
  removeXattr(target: Target, name: string): Promise<void>;
  /** renameat2(2) with RENAME_EXCHANGE. */
  exchange(from: string, to: string): Promise<void>;
  /** mkfifo(3), or mknod(2) of a socket that nobody listens at. The mode is as of open(2). */
  makeSpecial(path: string, kind: 'fifo' | 'socket', mode: number): Promise<void>;
  /** linkat(2) of an open file, which gives a name to one that was opened with O_TMPFILE. */
  link(fd: number, path: string): Promise<void>;
  /** Returns another descriptor of the same open file, as dup(2) does; programs that are started do not get it. Never waits. */
  duplicate(fd: number): number;
  /** fallocate(2). */
  allocate(
    fd: number,
    offset: number,
    length: number,
    how: { readonly as: 'space' | 'hole' | 'zeros'; readonly keepSize: boolean },
  ): Promise<void>;
  /** lseek(2) with SEEK_DATA or SEEK_HOLE. */
  seek(fd: number, offset: number, to: 'data' | 'hole'): Promise<number>;
}

/** A file by its path or by an open descriptor. */
export type Target = string | number;

export type NanosecondTime = { readonly seconds: number; readonly nanoseconds: number } | 'now' | 'as it is';

// Values of Linux on every architecture that Node runs on.
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_SYMLINK_FOLLOW = 0x400;
const UTIME_NOW = 0x3fffffffn;
const UTIME_OMIT = 0x3ffffffen;
const RENAME_EXCHANGE = 2;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL = { space: 0, hole: 2, zeros: 0x10 } as const;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const F_DUPFD_CLOEXEC = 1030;
/** _MKNOD_VER of 64-bit systems. */
const MKNOD_VERSION = 0;
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
/** XATTR_SIZE_MAX and XATTR_LIST_MAX: no value and no list of names is longer. */
const XATTR_MAX_BYTES = 65_536;

/** @returns undefined where koffi is not installed or the system has none of these calls */
export async function loadLibc(): Promise<Libc | undefined> {
  if (process.platform !== 'linux') return undefined;
  const koffi = await import('koffi').then(
    (module) => module.default,
    () => undefined,
  );
  if (koffi === undefined) return undefined;
  const libc = koffi.load(null);

  /**
   * Calls a function that returns a number below zero for an error.
   *
   * @param result its type: the upper half of what a function returns is not defined if it is an int
   * @param isQuick without it the function is always called on a thread of the pool
   */
  const caller = (name: string, parameters: readonly string[], result = 'int', isQuick = true) => {
    const call = libc.func(name, result, [...parameters]);
    const check = (returned: unknown): number => {
      if (Number(returned) < 0) throw systemError(name, koffi.errno());
      return Number(returned);
    };
    return async (...values: readonly unknown[]): Promise<number> =>
      new Promise((resolve, reject) => {
        if (isQuick && pace.isQuick) {
          resolve(pace.measure(() => check(call(...values))));
          return;
        }
        call.async(...values, (error: unknown, returned: unknown) => {
          if (error !== null) return reject(error);
          // The errno of this call is to be had only here.
          try {
            resolve(check(returned));
          } catch (failure) {
            reject(failure);
          }
        });
      });
  };
  /** The same for a function that there is for a path and for a descriptor. */
  const both = (onPath: string, onDescriptor: string, parameters: readonly string[], result?: string) => {
    const path = caller(onPath, ['str', ...parameters], result);
    const descriptor = caller(onDescriptor, ['int', ...parameters], result);
    return async (target: Target, ...values: readonly unknown[]): Promise<number> =>
      typeof target === 'string' ? path(target, ...values) : descriptor(target, ...values);
  };

  const utimensat = caller('utimensat', ['int', 'str', 'void *', 'int']);
  const futimens = caller('futimens', ['int', 'void *']);
  const getxattr = both('lgetxattr', 'fgetxattr', ['str', 'void *', 'size_t'], 'intptr_t');
  const listxattr = both('llistxattr', 'flistxattr', ['void *', 'size_t'], 'intptr_t');
  const setxattr = both('lsetxattr', 'fsetxattr', ['str', 'void *', 'size_t', 'int']);
  const removexattr = both('lremovexattr', 'fremovexattr', ['str']);
  const renameat2 = ifThere(() => caller('renameat2', ['int', 'str', 'int', 'str', 'uint']));
  const linkat = caller('linkat', ['int', 'str', 'int', 'str', 'int']);
  const lseek = caller('lseek', ['int', 'int64_t', 'int'], 'int64_t');
  const mkfifo = caller('mkfifo', ['str', 'uint']);
  const mknod = ifThere(() => caller('mknod', ['str', 'uint', 'uint64_t']));
  // Until version 2.33 the GNU C library has only this.
  const xmknod = mknod ? undefined : ifThere(() => caller('__xmknod', ['int', 'str', 'uint', 'void *']));
  const fcntl = libc.func('fcntl', 'int', ['int', 'int', '...']);
  const fallocate = caller('fallocate', ['int', 'int', 'int64_t', 'int64_t'], 'int', false);

  return {
    async setTimes(target, atime, mtime) {
      // struct timespec[2], on every 64-bit system: seconds, then nanoseconds, of 64 bits each.
      const times = new BigInt64Array([...timespec(atime), ...timespec(mtime)]);
      if (typeof target === 'number') await futimens(target, times);
      else await utimensat(AT_FDCWD, target, times, AT_SYMLINK_NOFOLLOW);
    },
    async getXattr(target, name) {
      const value = new Uint8Array(XATTR_MAX_BYTES);
      try {
        return value.slice(0, await getxattr(target, name, value, value.length));
      } catch (error) {
        if (error instanceof FsError && error.code === 'ENODATA') return undefined;
        throw error;
      }
    },
    async listXattrs(target) {
      const names = Buffer.alloc(XATTR_MAX_BYTES);
      const length = await listxattr(target, names, names.length);
      return names.toString('utf8', 0, length).split('\0').slice(0, -1);
    },
    async setXattr(target, name, value, must) {
      const flags = must === 'create' ? XATTR_CREATE : must === 'replace' ? XATTR_REPLACE : 0;
      await setxattr(target, name, value, value.length, flags);
    },
    async removeXattr(target, name) {
      await removexattr(target, name);
    },
    async exchange(from, to) {
      if (!renameat2) throw new FsError('EINVAL', 'this C library can not exchange names');
      await renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE);
    },
    async makeSpecial(path, kind, mode) {
      if (kind === 'fifo') await mkfifo(path, mode);
      else if (mknod) await mknod(path, constants.S_IFSOCK | mode, 0);
      else if (xmknod) await xmknod(MKNOD_VERSION, path, constants.S_IFSOCK | mode, new BigUint64Array(1));
      else throw new FsError('EPERM', 'this C library can not make sockets');
    },
    async link(fd, path) {
      await linkat(AT_FDCWD, `/proc/self/fd/${fd}`, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
    },
    duplicate(fd) {
      const copy = Number(fcntl(fd, F_DUPFD_CLOEXEC, 'int', 0));
      if (copy < 0) throw systemError('fcntl', koffi.errno());
      return copy;
    },
    async allocate(fd, offset, length, { as, keepSize }) {
      await fallocate(fd, FALLOC_FL[as] | (keepSize ? FALLOC_FL_KEEP_SIZE : 0), offset, length);
    },
    async seek(fd, offset, to) {
      return lseek(fd, offset, to === 'data' ? SEEK_DATA : SEEK_HOLE);
    },
  };
}

/** A function that not every C library has. */
function ifThere<T>(find: () => T): T | undefined {
  try {
    return find();
  } catch {
    return undefined;
  }
}

function timespec(time: NanosecondTime): readonly [bigint, bigint] {
  if (time === 'now') return [0n, UTIME_NOW];
  if (time === 'as it is') return [0n, UTIME_OMIT];
  return [BigInt(time.seconds), BigInt(time.nanoseconds)];
}

function systemError(call: string, errno: number): FsError {
  const code = nameOfErrno(errno) ?? 'EIO';
  return new FsError(code, `${call}: ${code}`);
}
