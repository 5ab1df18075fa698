import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, unlink } from 'node:fs/promises';
import { type Socket, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { UserError, messageOf } from './errors.ts';
import { CONTROL_MESSAGE_MAX_BYTES, CONTROL_TIMEOUT_MS } from './limits.ts';

/**
 * How commands talk to running mounts: one private Unix socket per mount, over which a request and its answer go as
 * one line of JSON each. The socket's name is made from the mountpoint, so a mount is found without asking around.
 */

/** What can be asked of a mount, and what it answers with. */
export type ControlHandlers = Readonly<Record<string, () => Promise<unknown>>>;

interface Answer {
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
  return {
    close: async () => {
      server.close();
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
    const line = await readLine(socket);
    socket.setTimeout(0);
    const text = await answer(line, handlers);
    socket.setTimeout(CONTROL_TIMEOUT_MS);
    socket.end(`${text}\n`);
    await finished(socket, { readable: false });
  } catch {
    socket.destroy();
  }
}

/** The answer to a request as JSON. */
async function answer(line: string, handlers: ControlHandlers): Promise<string> {
  try {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what has no such command is refused
    const { command } = JSON.parse(line) as { readonly command: string };
    const handler = Object.hasOwn(handlers, command) ? handlers[command] : undefined;
    if (!handler) throw new UserError(`this mount does not know the command ${command}`);
    return JSON.stringify({ result: await handler() } satisfies Answer);
  } catch (error) {
    const advice = error instanceof UserError ? error.advice : undefined;
    return JSON.stringify({ error: { message: messageOf(error), advice } } satisfies Answer);
  }
}

/**
 * Asks the mount at a mountpoint.
 *
 * @returns its answer, or undefined when no mount listens there
 * @throws UserError with what the mount said, or when it does not answer in time
 */
export async function askMount(mountpoint: string, command: string): Promise<unknown> {
  return ask(await socketPath(mountpoint), command);
}

/** Asks every mount of this user; those that don't answer are left out, and the sockets of dead ones removed. */
export async function askAllMounts(command: string): Promise<readonly unknown[]> {
  const directory = await controlDirectory();
  const sockets = (await readdir(directory)).filter((name) => name.endsWith('.sock'));
  const answers = await Promise.allSettled(sockets.map((name) => ask(join(directory, name), command)));
  return answers.flatMap((answered) =>
    answered.status === 'fulfilled' && answered.value !== undefined ? [answered.value] : [],
  );
}

async function ask(path: string, command: string): Promise<unknown> {
  const socket = connect(path);
  socket.setTimeout(CONTROL_TIMEOUT_MS, () =>
    socket.destroy(new UserError(`the mount did not answer: ${path}`)),
  );
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ECONNREFUSED') await unlink(path).catch(() => {});
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return undefined;
    throw error;
  }
  socket.write(`${JSON.stringify({ command })}\n`);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a mount of ours says nothing else
  const { result, error } = JSON.parse(await readLine(socket)) as Answer;
  socket.destroy();
  if (error) throw new UserError(error.message, error.advice);
  return result;
}

function readLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      const end = chunk.indexOf('\n');
      text += end < 0 ? chunk : chunk.slice(0, end);
      if (end >= 0) resolve(text);
      else if (text.length > CONTROL_MESSAGE_MAX_BYTES) reject(new Error('message too long'));
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the connection ended in the middle of a message')));
  });
}
