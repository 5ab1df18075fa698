import { randomUUID } from 'node:crypto';
import { link, rename, stat, unlink } from 'node:fs/promises';
import { type Socket, connect } from 'node:net';
import { type Answer, readLines } from './control-lines.ts';
import { canBeSocket, processFile, processOf, socketPath, socketPaths } from './control-path.ts';
import { UserError, hasErrorCode } from './errors.ts';
import { isProcessAlive } from './process-alive.ts';
import { CONTROL_TIMEOUT_MS, MOUNT_ANSWER_WAIT_MS } from './limits.ts';

/**
 * How commands talk to running mounts: one private Unix socket per mount. A connection is one line of JSON that asks,
 * any number that tell how far the work is, and one that answers. The socket's name is made from the mountpoint, so a
 * mount is found without asking around. Beside it a file has the number of the process: one that was killed may keep its
 * socket as long as the kernel keeps what is left of it.
 */

/** A mount listens, and does not answer: it is suspended, or the machine is very busy. What was asked is done later. */
class SilentMountError extends UserError {
  constructor(pid: number | undefined, silenceMs: number) {
    const who = pid === undefined ? '' : ` of process ${pid}`;
    super(
      `the mount${who} has not answered for ${silenceMs / 1000} s`,
      pid === undefined ? undefined : `If it is suspended, "kill -CONT ${pid}" lets it go on.`,
    );
  }
}

/** A mount listens that is not mounted yet. */
class StartingMountError extends UserError {}

/** A question to a mount. */
export interface ControlQuestion {
  readonly command: string;
  /** Must survive JSON. */
  readonly args?: unknown;
  /** Hears how far the work is. The answer may then take as long as it likes. */
  readonly onProgress?: (progress: unknown) => void;
  /** How long it may say nothing, in ms; default: {@link CONTROL_TIMEOUT_MS}. */
  readonly silenceMaxMs?: number;
  /** Hangs up; what was asked for goes on. */
  readonly signal?: AbortSignal;
}

/**
 * Asks the mount at a mountpoint.
 *
 * @param question a command, or one with arguments
 * @returns its answer, or undefined when no mount listens there
 * @throws UserError with what the mount said, or when it does not answer in time; the signal's reason
 */
export async function askMount(mountpoint: string, question: string | ControlQuestion): Promise<unknown> {
  return ask(await socketPath(mountpoint), typeof question === 'string' ? { command: question } : question);
}

/**
 * Asks every mount of this user, which removes the sockets of dead ones.
 *
 * @param onSilent hears of each that has said nothing within {@link MOUNT_ANSWER_WAIT_MS}, or is not mounted yet; what it
 *   throws ends the asking
 * @returns the answers of the others; who can't answer is left out
 */
export async function askAllMounts(
  command: string,
  onSilent: (silent: UserError) => void,
): Promise<readonly unknown[]> {
  const question: ControlQuestion = { command, silenceMaxMs: MOUNT_ANSWER_WAIT_MS };
  const answers = await Promise.all(
    (await socketPaths()).map(async (path) =>
      ask(path, question).catch((error: unknown) => {
        if (error instanceof SilentMountError || error instanceof StartingMountError) onSilent(error);
      }),
    ),
  );
  return answers.filter((given) => given !== undefined);
}

/** The sockets of mounts of this user that died: nobody listens. They are left where they are. */
export async function deadSockets(): Promise<readonly string[]> {
  const paths = await socketPaths();
  const dead = await Promise.all(paths.map(isAbandoned));
  return paths.filter((_, index) => dead[index]);
}

function isAbandoned(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.setTimeout(CONTROL_TIMEOUT_MS, () => socket.destroy());
    socket.once('connect', () => socket.destroy());
    socket.once('error', (error) => resolve('code' in error && error.code === 'ECONNREFUSED'));
    socket.once('close', () => resolve(false));
  });
}

async function ask(path: string, question: ControlQuestion): Promise<unknown> {
  const { command, args, onProgress, silenceMaxMs = CONTROL_TIMEOUT_MS, signal } = question;
  signal?.throwIfAborted();
  if (!canBeSocket(path)) return undefined;
  const inode = (await stat(path).catch(() => undefined))?.ino;
  signal?.throwIfAborted();
  const socket = connect(path);
  socket.setTimeout(silenceMaxMs, () => {
    void processOf(path).then((pid) => socket.destroy(new SilentMountError(pid, silenceMaxMs)));
  });
  const hangUp = (): void => {
    socket.destroy(signal?.reason instanceof Error ? signal.reason : new Error('hung up'));
  };
  signal?.addEventListener('abort', hangUp, { once: true });
  try {
    if (!(await isAnswered(socket, path, inode))) return undefined;
    socket.write(`${JSON.stringify({ command, args })}\n`);
    if (onProgress) socket.setTimeout(0);
    let answered: Answer = {};
    await readLines(socket, (line) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a mount of ours says nothing else
      answered = JSON.parse(line) as Answer;
      if (!('progress' in answered)) return true;
      onProgress?.(answered.progress);
      return false;
    });
    const { result, error } = answered;
    if (error?.isStarting) throw new StartingMountError(error.message, 'Ask again when it has.');
    if (error) throw new UserError(error.message, error.advice);
    return result;
  } finally {
    signal?.removeEventListener('abort', hangUp);
    socket.destroy();
  }
}

/**
 * Whether somebody listens; the socket of one who died is removed.
 *
 * @param inode of the socket before it was connected to
 */
async function isAnswered(socket: Socket, path: string, inode: number | undefined): Promise<boolean> {
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return true;
  } catch (error) {
    if (hasErrorCode(error, 'ECONNREFUSED')) await removeDead(path, inode);
    else if (!hasErrorCode(error, 'ENOENT')) throw error;
    return false;
  }
}

/** Removes the socket of a mount that died, and never that of a mount which has its name since. */
async function removeDead(path: string, inode: number | undefined): Promise<void> {
  const removed = `${path}.${randomUUID()}`;
  try {
    await rename(path, removed);
    if ((await stat(removed)).ino !== inode) await link(removed, path).catch(() => {});
    await unlink(removed);
    const pid = await processOf(path);
    if (pid === undefined || !(await isProcessAlive(pid))) await unlink(processFile(path));
  } catch {
    // Somebody else has removed it, or may.
  }
}
