import { createHash } from 'node:crypto';
import { lstat, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UserError, messageOf } from './errors.ts';
import { makeDirectories } from './make-directories.ts';
import { runtimeDirectory } from './state-directory.ts';

/** Where the sockets of mounts are, and the files beside them that have the numbers of their processes. */

/** The longest path of a socket in bytes (Linux: sun_path without its NUL, unix(7)); Node cuts longer ones. */
const SOCKET_PATH_MAX_BYTES = 107;
const SOCKET = '.sock';

/**
 * The directory of the sockets of this user, made with mode 0700 where it is missing.
 *
 * @throws UserError when it can't be made, or somebody else owns it
 */
export async function controlDirectory(): Promise<string> {
  const uid = process.getuid?.() ?? 0;
  const runtime = runtimeDirectory();
  const path = runtime ? join(runtime, 'dtool-ecs-mount') : join(tmpdir(), `dtool-ecs-mount-${uid}`);
  try {
    await makeDirectories(path);
    const stat = await lstat(path);
    if (stat.isDirectory() && stat.uid === uid && (stat.mode & 0o077) === 0) return path;
  } catch (cause) {
    throw new UserError(
      `${path} can't be made, where commands and mounts find each other: ${messageOf(cause)}`,
      'Set XDG_RUNTIME_DIR to a directory of yours.',
      { cause },
    );
  }
  throw new UserError(
    `${path} is not a private directory of yours`,
    'Remove it, or set XDG_RUNTIME_DIR to a directory that is.',
  );
}

/** The path of the socket that the mount at a place listens at. */
export async function socketPath(mountpoint: string): Promise<string> {
  return join(await controlDirectory(), nameOf(mountpoint) + SOCKET);
}

/**
 * The path of the socket that a mount listens at before it is mounted.
 *
 * @throws UserError when it is too long for a socket
 */
export async function startingSocketPath(mountpoint: string): Promise<string> {
  const path = join(await controlDirectory(), `${nameOf(mountpoint)}-${process.pid}${SOCKET}`);
  if (canBeSocket(path)) return path;
  throw new UserError(
    `the path of a socket has at most ${SOCKET_PATH_MAX_BYTES} bytes, and ${path} has ${Buffer.byteLength(path)}`,
    'Set XDG_RUNTIME_DIR to a directory of yours with a shorter path.',
  );
}

/** Whether a socket can have a path: no longer one is ever listened at. */
export function canBeSocket(path: string): boolean {
  return Buffer.byteLength(path) <= SOCKET_PATH_MAX_BYTES;
}

/** Of all mounts of this user, those of dead ones among them. */
export async function socketPaths(): Promise<readonly string[]> {
  const directory = await controlDirectory();
  const names = (await readdir(directory)).filter((name) => name.endsWith(SOCKET));
  return names.map((name) => join(directory, name));
}

/** The file beside a socket that has the number of its process. */
export function processFile(socket: string): string {
  return `${socket.slice(0, -SOCKET.length)}.pid`;
}

/** The process that serves a mount of this user, or did before it was killed; undefined where none is known. */
export async function servingProcess(mountpoint: string): Promise<number | undefined> {
  return processOf(await socketPath(mountpoint));
}

/** The process that listens at a socket, or did; undefined where none is known. */
export async function processOf(socket: string): Promise<number | undefined> {
  const pid = Number(await readFile(processFile(socket), 'utf8').catch(() => ''));
  return pid > 0 ? pid : undefined;
}

function nameOf(mountpoint: string): string {
  return createHash('sha256').update(mountpoint).digest('hex').slice(0, 16);
}
