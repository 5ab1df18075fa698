import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { type Socket, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { UserError, messageOf } from './errors.ts';
import {
  CONTROL_MESSAGE_MAX_BYTES,
  CONTROL_PROGRESS_INTERVAL_MS,
  CONTROL_TIMEOUT_MS,
  MOUNT_ANSWER_WAIT_MS,
} from './limits.ts';

/**
 * How commands talk to running mounts: one private Unix socket per mount. A connection is one line of JSON that asks,
 * any number that tell how far the work is, and one that answers. The socket's name is made from the mountpoint, so a
 * mount is found without asking around. Beside it a file has the number of the process: one that was killed may keep its
 * socket as long as the kernel keeps what is left of it.
 */

/**
 * What can be asked of a mount, and what it answers with.
 *
 * @param args what came with the command: whatever is valid JSON, or undefined
 * @param tell sends how far the work is to the one who asked, if that one is still there; it may be called as often as
 *   there is something new, and only the latest goes out every {@link CONTROL_PROGRESS_INTERVAL_MS}
 */
export type ControlHandler = (args: unknown, tell: (progress: unknown) => void) => Promise<unknown>;
export type ControlHandlers = Readonly<Record<string, ControlHandler>>;

interface Answer {
  /** Of a line that is not the last. */
  readonly progress?: unknown;
  readonly result?: unknown;
  readonly error?: { readonly message: string; readonly advice?: string | undefined };
}

/**
 * The directory of the sockets of this user, made with mode 0700 where it is missing.
 *
 * @throws UserError when somebody else owns it
 */
export async function controlDirectory(): Promise<string> {
  const uid = process.getuid?.() ?? 0;
  const runtime = process.env['XDG_RUNTIME_DIR'];
  const path = runtime ? join(runtime, 'dtool-ecs-mount') : join(tmpdir(), `dtool-ecs-mount-${uid}`);
  await mkdir(path, { recursive: true, mode: 0o700 });
  const stat = await lstat(path);
  if (!stat.isDirectory() || stat.uid !== uid || (stat.mode & 0o077) !== 0) {
    throw new UserError(
      `${path} is not a private directory of yours`,
      'Remove it, or set XDG_RUNTIME_DIR to a directory that is.',
    );
  }
  return path;
}

async function socketPath(mountpoint: string): Promise<string> {
  const name = createHash('sha256').update(mountpoint).digest('hex').slice(0, 16);
  return join(await controlDirectory(), `${name}.sock`);
}

/** Of all mounts of this user, those of dead ones among them. */
async function socketPaths(): Promise<readonly string[]> {
  const directory = await controlDirectory();
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sock'));
  return names.map((name) => join(directory, name));
}

const processFile = (socket: string): string => `${socket.slice(0, -'.sock'.length)}.pid`;

/** The process that serves a mount of this user, or did before it was killed; undefined where none is known. */
export async function servingProcess(mountpoint: string): Promise<number | undefined> {
  return processOf(await socketPath(mountpoint));
}

async function processOf(socket: string): Promise<number | undefined> {
  const pid = Number(await readFile(processFile(socket), 'utf8').catch(() => ''));
  return pid > 0 ? pid : undefined;
}

/**
 * Listens for the commands of one mount until it is closed.
 *
 * @param mountpoint absolute path
 * @param handlers by command; what they resolve with must survive JSON
 */
export async function serveControl(mountpoint: string, handlers: ControlHandlers): Promise<ControlServer> {
  const path = await socketPath(mountpoint);
  await unlink(path).catch(() => {});
  const serving = new Map<Socket, Promise<void>>();
  const server = createServer((socket) => {
    serving.set(
      socket,
      serve(socket, handlers).finally(() => serving.delete(socket)),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  // From here on it can only be that a connection was not accepted, which whoever tried finds out.
  server.on('error', () => {});
  await chmod(path, 0o600);
  await writeFile(processFile(path), `${process.pid}\n`, { mode: 0o600 });
  return {
    close: async () => {
      server.close();
      await unlink(processFile(path)).catch(() => {});
      for (const socket of serving.keys()) if (socket.bytesRead === 0) socket.destroy();
      await Promise.all(serving.values());
    },
  };
}

/** Listens for the commands of one mount. */
export interface ControlServer {
  /** Listens no more; resolves when everybody who asked something has got the answer. */
  close(): Promise<void>;
}

/** Answers one request; never rejects. A connection that fails is nobody's loss but that of the one who asked. */
async function serve(socket: Socket, handlers: ControlHandlers): Promise<void> {
  socket.on('error', () => socket.destroy());
  // A handler may take its time, a request and the reading of its answer may not.
  socket.setTimeout(CONTROL_TIMEOUT_MS, () => socket.destroy());
  try {
    let line = '';
    await readLines(socket, (text) => {
      line = text;
      return true;
    });
    socket.setTimeout(0);
    const progress = new ProgressLines(socket);
    const text = await answer(line, handlers, (value) => progress.tell(value));
    progress.end();
    socket.setTimeout(CONTROL_TIMEOUT_MS);
    socket.end(`${text}\n`);
    await finished(socket, { readable: false });
  } catch {
    socket.destroy();
  }
}

/** Sends the latest of many values now and then, and never to somebody who does not read. */
class ProgressLines {
  readonly #socket: Socket;
  #latest: { readonly progress: unknown } | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  tell(progress: unknown): void {
    this.#latest = { progress };
    if (this.#timer) return;
    this.#send();
    this.#timer = setInterval(() => this.#send(), CONTROL_PROGRESS_INTERVAL_MS).unref();
  }

  /** Sends what has not been sent. */
  end(): void {
    clearInterval(this.#timer);
    this.#send();
  }

  #send(): void {
    if (!this.#latest || !this.#socket.writable || this.#socket.writableLength > 0) return;
    this.#socket.write(`${JSON.stringify(this.#latest satisfies Answer)}\n`);
    this.#latest = undefined;
  }
}

/** The answer to a request as JSON. */
async function answer(
  line: string,
  handlers: ControlHandlers,
  tell: (progress: unknown) => void,
): Promise<string> {
  try {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what has no such command is refused
    const { command, args } = JSON.parse(line) as { readonly command: string; readonly args?: unknown };
    const handler = Object.hasOwn(handlers, command) ? handlers[command] : undefined;
    if (!handler) throw new UserError(`this mount does not know the command ${command}`);
    return JSON.stringify({ result: await handler(args, tell) } satisfies Answer);
  } catch (error) {
    const advice = error instanceof UserError ? error.advice : undefined;
    return JSON.stringify({ error: { message: messageOf(error), advice } } satisfies Answer);
  }
}

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
 * @param onSilent hears of each that has said nothing within {@link MOUNT_ANSWER_WAIT_MS}; what it throws ends the asking
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
        if (error instanceof SilentMountError) onSilent(error);
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
  const socket = connect(path);
  socket.setTimeout(silenceMaxMs, () => {
    void processOf(path).then((pid) => socket.destroy(new SilentMountError(pid, silenceMaxMs)));
  });
  const hangUp = (): void => {
    socket.destroy(signal?.reason instanceof Error ? signal.reason : new Error('hung up'));
  };
  signal?.addEventListener('abort', hangUp, { once: true });
  try {
    if (!(await isAnswered(socket, path))) return undefined;
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
    if (error) throw new UserError(error.message, error.advice);
    return result;
  } finally {
    signal?.removeEventListener('abort', hangUp);
    socket.destroy();
  }
}

/** Whether somebody listens; the socket of one who died is removed. */
async function isAnswered(socket: Socket, path: string): Promise<boolean> {
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return true;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ECONNREFUSED')
      for (const left of [path, processFile(path)]) await unlink(left).catch(() => {});
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return false;
    throw error;
  }
}

/**
 * Reads until a line is the last.
 *
 * @param isLast takes each line without its end, and says whether to stop there
 */
function readLines(socket: Socket, isLast: (line: string) => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onData = (chunk: string): void => {
      text += chunk;
      try {
        for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
          const line = text.slice(0, end);
          text = text.slice(end + 1);
          if (!isLast(line)) continue;
          socket.off('data', onData);
          return resolve();
        }
      } catch (error) {
        return reject(error);
      }
      if (text.length > CONTROL_MESSAGE_MAX_BYTES) reject(new Error('message too long'));
    };
    socket.setEncoding('utf8');
    socket.on('data', onData);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the connection ended in the middle of a message')));
  });
}
