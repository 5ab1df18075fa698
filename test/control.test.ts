import { EventEmitter, once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { type Server, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { askAllMounts, askMount } from '../src/control.ts';
import { controlDirectory, servingProcess } from '../src/control-path.ts';
import { type ControlHandlers, type ControlServer, listenForCommands } from '../src/control-server.ts';
import { UserError } from '../src/errors.ts';

let runtime: string;
let servers: ControlServer[];
beforeEach(() => {
  runtime = mkdtempSync(join(tmpdir(), 'control-'));
  servers = [];
  vi.stubEnv('XDG_RUNTIME_DIR', runtime);
});
afterEach(async () => {
  await Promise.all(servers.map(async (server) => server.close()));
  vi.unstubAllEnvs();
  rmSync(runtime, { recursive: true });
});

async function close(server: Server): Promise<void> {
  server.close();
  await once(server, 'close');
}

async function listen(mountpoint: string): Promise<ControlServer> {
  const server = await listenForCommands(mountpoint);
  servers.push(server);
  return server;
}

async function serve(mountpoint: string, handlers: ControlHandlers): Promise<ControlServer> {
  const server = await listen(mountpoint);
  await server.serve(handlers);
  return server;
}
const directory = (): string => join(runtime, 'dtool-ecs-mount');
const sockets = (): readonly string[] => readdirSync(directory()).filter((name) => name.endsWith('.sock'));
const modeOf = (path: string): number => statSync(path).mode & 0o777;

describe('a mount', () => {
  test('answers at its mountpoint and nowhere else', async () => {
    await serve('/mnt/a', {
      status: async () => ({ pid: 1, name: 'grüße' }),
      nothing: async () => undefined,
    });
    expect(await askMount('/mnt/a', 'status')).toEqual({ pid: 1, name: 'grüße' });
    expect(await askMount('/mnt/a', 'nothing')).toBeUndefined();
    expect(await askMount('/mnt/b', 'status')).toBeUndefined();
  });

  test('answers a lot', async () => {
    const long = 'x'.repeat(3_000_000);
    await serve('/mnt/a', { status: async () => long });
    expect(await askMount('/mnt/a', 'status')).toBe(long);
  });

  test('that says nothing is named by its process', async () => {
    const hung = new EventEmitter();
    await serve('/mnt/a', { status: async () => once(hung, 'over') });
    await expect(askMount('/mnt/a', { command: 'status', silenceMaxMs: 50 })).rejects.toMatchObject({
      message: `the mount of process ${process.pid} has not answered for 0.05 s`,
      advice: `If it is suspended, "kill -CONT ${process.pid}" lets it go on.`,
    });
    hung.emit('over');
  });

  test('is hung up on at whatever moment somebody gives up', async () => {
    const hung = new EventEmitter();
    await serve('/mnt/a', { status: async () => once(hung, 'over') });
    for (let turns = 0; turns < 20; turns += 1) {
      const leaving = new AbortController();
      const asking = askMount('/mnt/a', { command: 'status', silenceMaxMs: 500, signal: leaving.signal });
      const left = expect(asking, `after ${turns} turns`).rejects.toThrow('left');
      for (let turn = 0; turn < turns; turn += 1) await new Promise((next) => setImmediate(next));
      leaving.abort(new Error('left'));
      await left;
    }
    hung.emit('over');
  });

  test('tells what went wrong, even where the answer is no JSON, and goes on', async () => {
    const cyclic: Record<string, unknown> = {};
    cyclic['self'] = cyclic;
    await serve('/mnt/a', {
      fail: async () => {
        throw new UserError('it is busy', 'Try later.');
      },
      cyclic: async () => cyclic,
      status: async () => 'fine',
    });
    await expect(askMount('/mnt/a', 'fail')).rejects.toMatchObject({
      message: 'it is busy',
      advice: 'Try later.',
    });
    await expect(askMount('/mnt/a', 'cyclic')).rejects.toThrow('circular');
    for (const unknown of ['toString', '__proto__', 'other']) {
      await expect(askMount('/mnt/a', unknown)).rejects.toThrow('does not know the command');
    }
    expect(await askMount('/mnt/a', 'status')).toBe('fine');
  });

  test('takes arguments, and tells how far it is: the latest, and the last in any case', async () => {
    await serve('/mnt/a', {
      count: async (args, tell) => {
        const { to } = args as { to: number };
        for (let number = 1; number <= to; number += 1) tell(number);
        return 'done';
      },
    });
    const told: unknown[] = [];
    const onProgress = (progress: unknown): void => void told.push(progress);
    expect(await askMount('/mnt/a', { command: 'count', args: { to: 9_999 }, onProgress })).toBe('done');
    expect(told).toEqual([1, 9_999]);
    expect(await askMount('/mnt/a', { command: 'count', args: { to: 3 } })).toBe('done');
  });

  test('goes on with what it was asked for when the one who asked hangs up', async () => {
    const events = new EventEmitter();
    await serve('/mnt/a', {
      work: async (_args, tell) => {
        tell('begun');
        await once(events, 'hung up');
        tell('more');
        events.emit('done');
      },
    });
    const done = once(events, 'done');
    const leave = new AbortController();
    const asking = askMount('/mnt/a', {
      command: 'work',
      onProgress: () => leave.abort(),
      signal: leave.signal,
    });
    await expect(asking).rejects.toThrow('aborted');
    events.emit('hung up');
    await done;
  });

  test('outlives who sends nonsense or leaves', async () => {
    await serve('/mnt/a', { status: async () => 'fine' });
    const path = join(directory(), sockets()[0] ?? '');
    for (const text of ['nonsense\n', 'null\n', '{"command"']) {
      const socket = connect(path);
      socket.on('error', () => {});
      socket.resume();
      socket.end(text);
      await once(socket, 'close');
    }
    expect(await askMount('/mnt/a', 'status')).toBe('fine');
  });

  test('gives the answers that it owes before it is closed', async () => {
    const server = await serve('/mnt/a', { unmount: async () => 'unmounted' });
    const idle = connect(join(directory(), sockets()[0] ?? ''));
    await once(idle, 'connect');
    let closed: Promise<void> | undefined;
    const other = await serve('/mnt/b', {
      unmount: async () => {
        closed = other.close();
        return 'unmounted';
      },
    });
    expect(await askMount('/mnt/b', 'unmount')).toBe('unmounted');
    await closed;
    expect(await askMount('/mnt/b', 'unmount')).toBeUndefined();
    await server.close();
    await once(idle, 'close');
  });

  test('is private', async () => {
    const before = process.umask(0);
    try {
      await serve('/mnt/a', {});
    } finally {
      process.umask(before);
    }
    expect(modeOf(directory())).toBe(0o700);
    expect(modeOf(join(directory(), sockets()[0] ?? ''))).toBe(0o600);
  });
});

describe('all mounts', () => {
  test('answer, and the sockets of dead ones are removed', async () => {
    await serve('/mnt/a', { status: async () => 'a' });
    await serve('/mnt/b', { status: async () => 'b' });
    await serve('/mnt/c', {});
    const dead = join(directory(), 'dead.sock');
    const other = createServer().listen(dead);
    await once(other, 'listening');
    // What a killed process leaves: the socket's file without anybody who listens.
    const { rename } = await import('node:fs/promises');
    await rename(dead, `${dead}.kept`);
    await close(other);
    await rename(`${dead}.kept`, dead);
    const answers = await askAllMounts('status', (silent) => expect.unreachable(silent.message));
    expect(answers.map(String).toSorted((a, b) => a.localeCompare(b))).toEqual(['a', 'b']);
    expect(existsSync(dead)).toBe(false);
    expect(sockets().length).toBe(3);
  });

  test('a mountpoint whose mount died is served again', async () => {
    const first = await serve('/mnt/a', { status: async () => 'first' });
    const name = sockets()[0] ?? '';
    const { rename } = await import('node:fs/promises');
    await rename(join(directory(), name), join(runtime, 'kept'));
    await first.close();
    await rename(join(runtime, 'kept'), join(directory(), name));
    await serve('/mnt/a', { status: async () => 'second' });
    expect(await askMount('/mnt/a', 'status')).toBe('second');
  });
});

describe('a mount that is not there yet', () => {
  test('says so to who asks all, and is none for who asks at its mountpoint', async () => {
    const server = await listen('/mnt/a');
    const starting: string[] = [];
    const onSilent = ({ message }: UserError): void => void starting.push(message);
    expect(await askAllMounts('status', onSilent)).toEqual([]);
    expect(starting).toEqual([`process ${process.pid} has not mounted /mnt/a yet`]);
    expect(await askMount('/mnt/a', 'status')).toBeUndefined();
    await server.serve({ status: async () => 'there' });
    expect(await askMount('/mnt/a', 'status')).toBe('there');
    expect(await servingProcess('/mnt/a')).toBe(process.pid);
    expect(sockets()).toHaveLength(1);
  });

  test('takes nothing from the one that is, unless it is mounted in its place', async () => {
    const first = await serve('/mnt/a', { status: async () => 'first' });
    const failing = await listen('/mnt/a');
    expect(await askMount('/mnt/a', 'status')).toBe('first');
    await failing.close();
    expect(await askMount('/mnt/a', 'status')).toBe('first');
    const second = await serve('/mnt/a', { status: async () => 'second' });
    expect(await askMount('/mnt/a', 'status')).toBe('second');
    await first.close();
    expect(await askMount('/mnt/a', 'status')).toBe('second');
    expect(await servingProcess('/mnt/a')).toBe(process.pid);
    await second.close();
    expect(readdirSync(directory())).toEqual([]);
  });

  test('is an error where no socket can be', async () => {
    vi.stubEnv('XDG_RUNTIME_DIR', join(runtime, 'x'.repeat(100)));
    await expect(listenForCommands('/mnt/a')).rejects.toThrow(/has at most 107 bytes/);
    expect(await askMount('/mnt/a', 'status')).toBeUndefined();
    const file = join(runtime, 'file');
    writeFileSync(file, '');
    vi.stubEnv('XDG_RUNTIME_DIR', file);
    await expect(listenForCommands('/mnt/a')).rejects.toThrow(`${file}/dtool-ecs-mount can't be made`);
  });
});

describe('a directory that is not private is refused', () => {
  test('because others may look into it', async () => {
    mkdirSync(directory());
    chmodSync(directory(), 0o755);
    await expect(controlDirectory()).rejects.toThrow('not a private directory');
  });

  test('because it is a link', async () => {
    mkdirSync(join(runtime, 'elsewhere'), { mode: 0o700 });
    symlinkSync(join(runtime, 'elsewhere'), directory());
    await expect(controlDirectory()).rejects.toThrow('not a private directory');
  });
});
