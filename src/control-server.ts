import { chmod, rename, rm, stat, writeFile } from 'node:fs/promises';
import { type Socket, createServer } from 'node:net';
import { finished } from 'node:stream/promises';
import { type Answer, readLines } from './control-lines.ts';
import { processFile, socketPath, startingSocketPath } from './control-path.ts';
import { UserError, messageOf } from './errors.ts';
import { CONTROL_PROGRESS_INTERVAL_MS, CONTROL_TIMEOUT_MS } from './limits.ts';

/**
 * What can be asked of a mount, and what it answers with.
 *
 * @param args what came with the command: whatever is valid JSON, or undefined
 * @param tell sends how far the work is to the one who asked, if that one is still there; it may be called as often as
 *   there is something new, and only the latest goes out every {@link CONTROL_PROGRESS_INTERVAL_MS}
 */
export type ControlHandler = (args: unknown, tell: (progress: unknown) => void) => Promise<unknown>;
export type ControlHandlers = Readonly<Record<string, ControlHandler>>;

type CommandHandler = (command: string, ...given: Parameters<ControlHandler>) => ReturnType<ControlHandler>;

/** Nothing can be asked of a mount that is not there yet. */
class NotMountedYet extends Error {
  constructor(mountpoint: string) {
    super(`process ${process.pid} has not mounted ${mountpoint} yet`);
  }
}

/** Listens for the commands of one mount. */
export interface ControlServer {
  /**
   * Answers at the mountpoint from now on; whoever listened there does no more.
   *
   * @param handlers by command; what they resolve with must survive JSON
   * @throws the file system's error
   */
  serve(handlers: ControlHandlers): Promise<void>;
  /** Listens no more; resolves when everybody who asked something has got the answer. */
  close(): Promise<void>;
}

/**
 * Listens for the commands of one mount until it is closed, under a name of its own as long as nothing is mounted: until
 * then every command hears that the mount is starting.
 *
 * @param mountpoint absolute path
 * @throws UserError when there is no place for the socket
 */
export async function listenForCommands(mountpoint: string): Promise<ControlServer> {
  let path = await startingSocketPath(mountpoint);
  let handlers: ControlHandlers | undefined;
  const serving = new Map<Socket, Promise<void>>();
  const server = createServer((socket) => {
    serving.set(
      socket,
      serve(socket, async (command, args, tell) => {
        if (!handlers) throw new NotMountedYet(mountpoint);
        return handle(handlers, command, args, tell);
      }).finally(() => serving.delete(socket)),
    );
  });
  let inode: number;
  try {
    // Of a process that had this number before.
    await unlinkIfThere(path);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    // From here on it can only be that a connection was not accepted, which whoever tried finds out.
    server.on('error', () => {});
    await chmod(path, 0o600);
    await writeFile(processFile(path), `${process.pid}\n`, { mode: 0o600 });
    inode = (await stat(path)).ino;
  } catch (cause) {
    server.close();
    throw new UserError(
      `commands could not reach the mount, since there can be no socket ${path}: ${messageOf(cause)}`,
      'Set XDG_RUNTIME_DIR to a directory of yours that has room.',
      { cause },
    );
  }
  return {
    serve: async (given) => {
      const before = path;
      const served = await socketPath(mountpoint);
      handlers = given;
      await rename(before, served);
      path = served;
      await rename(processFile(before), processFile(served));
    },
    close: async () => {
      // Another mount may have the name by now.
      if ((await stat(path).catch(() => undefined))?.ino === inode) {
        await unlinkIfThere(processFile(path));
        await unlinkIfThere(path);
      }
      server.close();
      for (const socket of serving.keys()) if (socket.bytesRead === 0) socket.destroy();
      await Promise.all(serving.values());
    },
  };
}

async function unlinkIfThere(path: string): Promise<void> {
  await rm(path, { force: true });
}

async function handle(
  handlers: ControlHandlers,
  command: string,
  args: unknown,
  tell: (progress: unknown) => void,
): Promise<unknown> {
  const handler = Object.hasOwn(handlers, command) ? handlers[command] : undefined;
  if (!handler) throw new UserError(`this mount does not know the command ${command}`);
  return handler(args, tell);
}

/** Answers one request; never rejects. A connection that fails is nobody's loss but that of the one who asked. */
async function serve(socket: Socket, handleCommand: CommandHandler): Promise<void> {
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
    const text = await answer(line, handleCommand, (value) => progress.tell(value));
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
  handleCommand: CommandHandler,
  tell: (progress: unknown) => void,
): Promise<string> {
  try {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what has no such command is refused
    const { command, args } = JSON.parse(line) as { readonly command: string; readonly args?: unknown };
    return JSON.stringify({ result: await handleCommand(command, args, tell) } satisfies Answer);
  } catch (error) {
    const advice = error instanceof UserError ? error.advice : undefined;
    return JSON.stringify({
      error: { message: messageOf(error), advice, isStarting: error instanceof NotMountedYet },
    } satisfies Answer);
  }
}
