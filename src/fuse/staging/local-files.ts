import { isUtf8 } from 'node:buffer';
import * as fs from 'node:fs';
import { nameOfErrno } from '../../errno.ts';
import { FsError, messageOf } from '../../errors.ts';
import { LOCAL_QUICK_BYTES, LOCAL_WRITE_BUFFERS_MAX } from '../../limits.ts';
import { pace } from './pace.ts';
import type { Libc, Target } from './libc.ts';

/*
 * The local file system: Node's functions on paths and plain descriptors, as promises that reject with an FsError. What
 * may wait for a disk runs on a thread of the pool.
 */

type Done<T> = (error: NodeJS.ErrnoException | null, value: T) => void;

async function call<T>(start: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error) reject(localError(error));
      else resolve(value);
    });
  });
}

/** Does what a local disk does from memory at once while it does, and else on a thread of the pool. */
async function quickly<T>(now: () => T, later: () => Promise<T>): Promise<T> {
  return pace.isQuick ? atOnce(now) : later();
}

function atOnce<T>(work: () => T): T {
  try {
    return pace.measure(work);
  } catch (error) {
    throw localError(error);
  }
}

async function act(start: (done: fs.NoParamCallback) => void): Promise<void> {
  return call<void>((done) => start((error) => done(error, undefined)));
}

/**
 * Returns what the local file system said as an FsError: by number, since Node has no names for some. Whatever has no number
 * is EIO.
 */
export function localError(error: unknown): FsError {
  const errno = error instanceof Error && 'errno' in error ? error.errno : undefined;
  const code = typeof errno === 'number' ? nameOfErrno(-errno) : undefined;
  return new FsError(code ?? 'EIO', `local disk: ${messageOf(error)}`, { cause: error });
}

export const open = async (path: string, flags: number, mode = 0): Promise<number> =>
  quickly(
    () => fs.openSync(path, flags, mode),
    async () => call((done) => fs.open(path, flags, mode, done)),
  );

/** O_PATH, which Node does not name: no permission to list the directory is needed. */
const O_PATH = 0o10000000;

/**
 * Opens a directory to find what is below it by {@link hasDescriptorPaths}. It was just looked up, so it does not wait.
 */
export function openDirectoryNow(path: string): number {
  return atOnce(() => fs.openSync(path, O_PATH | fs.constants.O_DIRECTORY | fs.constants.O_NOFOLLOW));
}

/** Whether `/proc/self/fd/N/name` is a name in the open directory N. */
export function hasDescriptorPaths(): boolean {
  return process.platform === 'linux' && fs.existsSync('/proc/self/fd');
}

export const close = async (fd: number): Promise<void> => act((done) => fs.close(fd, done));

/**
 * Closes one of several descriptors of an open file, as a program does that has finished with it: file systems that put off
 * writes tell then what became of them. Without the system call they are told by fsync(2), which takes longer on some.
 */
export async function flush(fd: number, libc: Libc | undefined): Promise<void> {
  if (!libc) {
    if (!pace.isLocal) await sync(fd, true);
    return;
  }
  const copy = libc.duplicate(fd);
  await quickly(
    () => fs.closeSync(copy),
    async () => close(copy),
  );
}

export const readdir = async (path: string): Promise<readonly string[]> =>
  call((done) => fs.readdir(path, done));

/** Bytes where it is no UTF-8. */
export async function readlink(path: string): Promise<string | Uint8Array> {
  const target = await quickly(
    () => fs.readlinkSync(path, 'buffer'),
    async () => call<Buffer>((done) => fs.readlink(path, 'buffer', done)),
  );
  return isUtf8(target) ? target.toString() : target;
}

/** Undefined where there is nothing. */
export const lstat = async (path: string): Promise<fs.BigIntStats | undefined> =>
  quickly(
    () => fs.lstatSync(path, { bigint: true, throwIfNoEntry: false }),
    async () =>
      call<fs.BigIntStats | undefined>((done) =>
        fs.lstat(path, { bigint: true }, (error, stat) =>
          error?.code === 'ENOENT' ? done(null, undefined) : done(error, stat),
        ),
      ),
  );

/** Of a symbolic link its own. */
export const stat = async (target: Target): Promise<fs.BigIntStats> =>
  quickly(
    () => statSync(target),
    async () =>
      call<fs.BigIntStats>((done) =>
        typeof target === 'number'
          ? fs.fstat(target, { bigint: true }, done)
          : fs.lstat(target, { bigint: true }, done),
      ),
  );

/** As {@link stat}, on this thread: only while {@link pace} says that this does not wait. */
export function statNow(target: Target): fs.BigIntStats {
  return atOnce(() => statSync(target));
}

function statSync(target: Target): fs.BigIntStats {
  return typeof target === 'number'
    ? fs.fstatSync(target, { bigint: true })
    : fs.lstatSync(target, { bigint: true });
}

export const mkdir = async (path: string, mode: number): Promise<void> =>
  quickly(
    () => {
      fs.mkdirSync(path, mode);
    },
    async () => act((done) => fs.mkdir(path, mode, done)),
  );

export const symlink = async (target: string | Uint8Array, path: string): Promise<void> =>
  quickly(
    () => fs.symlinkSync(asPath(target), path),
    async () => act((done) => fs.symlink(asPath(target), path, done)),
  );

function asPath(bytes: string | Uint8Array): string | Buffer {
  return typeof bytes === 'string' ? bytes : Buffer.from(bytes);
}

export const link = async (path: string, newPath: string): Promise<void> =>
  quickly(
    () => fs.linkSync(path, newPath),
    async () => act((done) => fs.link(path, newPath, done)),
  );

/** The space of a large file is freed meanwhile, which takes its time. */
export const unlink = async (path: string, size = 0n): Promise<void> =>
  size > LOCAL_QUICK_BYTES
    ? act((done) => fs.unlink(path, done))
    : quickly(
        () => fs.unlinkSync(path),
        async () => act((done) => fs.unlink(path, done)),
      );

export const rmdir = async (path: string): Promise<void> =>
  quickly(
    () => fs.rmdirSync(path),
    async () => act((done) => fs.rmdir(path, done)),
  );

export const rename = async (from: string, to: string): Promise<void> =>
  act((done) => fs.rename(from, to, done));

export const chmod = async (target: Target, mode: number): Promise<void> =>
  quickly(
    () => (typeof target === 'number' ? fs.fchmodSync(target, mode) : fs.chmodSync(target, mode)),
    async () =>
      act((done) =>
        typeof target === 'number' ? fs.fchmod(target, mode, done) : fs.chmod(target, mode, done),
      ),
  );

/** @param uid -1 stays as it is, as does `gid` */
export const chown = async (target: Target, uid: number, gid: number): Promise<void> =>
  quickly(
    () => (typeof target === 'number' ? fs.fchownSync(target, uid, gid) : fs.lchownSync(target, uid, gid)),
    async () =>
      act((done) =>
        typeof target === 'number' ? fs.fchown(target, uid, gid, done) : fs.lchown(target, uid, gid, done),
      ),
  );

export const truncate = async (target: Target, size: number): Promise<void> =>
  act((done) =>
    typeof target === 'number' ? fs.ftruncate(target, size, done) : fs.truncate(target, size, done),
  );

/** @param atime seconds since the epoch, as exact as a double; so is `mtime` */
export const setTimes = async (target: Target, atime: number, mtime: number): Promise<void> =>
  act((done) =>
    typeof target === 'number'
      ? fs.futimes(target, atime, mtime, done)
      : fs.lutimes(target, atime, mtime, done),
  );

export const sync = async (fd: number, dataOnly: boolean): Promise<void> =>
  act((done) => (dataOnly ? fs.fdatasync(fd, done) : fs.fsync(fd, done)));

/** Puts the entries of a directory on disk. */
export async function syncDirectory(path: string): Promise<void> {
  const fd = await open(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  try {
    await sync(fd, false);
  } finally {
    await close(fd);
  }
}

export async function statfs(path: string): Promise<fs.StatsFs> {
  return call((done) => fs.statfs(path, done));
}

/** Reads up to the end of the file, or `length` bytes. */
export async function read(fd: number, offset: number, length: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(length);
  let filled = 0;
  while (filled < length) {
    const count = await call<number>((done) =>
      fs.read(fd, buffer, filled, length - filled, offset + filled, done),
    );
    if (count === 0) break;
    filled += count;
  }
  return buffer.subarray(0, filled);
}

/** Buffers that are free, all of the size that the longest write had. */
const buffers: Buffer[] = [];

/**
 * Writes all of `data`, which is free as soon as this returns its promise. What fails may have been written in part, as
 * it is when a disk is full.
 */
export async function write(fd: number, offset: number, data: Uint8Array): Promise<void> {
  const { length } = data;
  if (length <= LOCAL_QUICK_BYTES && pace.isQuick) {
    let written = 0;
    while (written < length) {
      const from = written;
      written += atOnce(() => fs.writeSync(fd, data, from, length - from, offset + from));
    }
    return;
  }
  const spare = buffers.pop();
  const buffer = spare !== undefined && spare.length >= length ? spare : Buffer.allocUnsafeSlow(length);
  buffer.set(data);
  try {
    for (let written = 0; written < length; ) {
      written += await call<number>((done) =>
        fs.write(fd, buffer, written, length - written, offset + written, done),
      );
    }
  } finally {
    if (buffers.length < LOCAL_WRITE_BUFFERS_MAX) buffers.push(buffer);
  }
}
