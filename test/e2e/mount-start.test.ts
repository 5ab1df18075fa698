import { type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { isProcessAlive } from '../../src/process-alive.ts';
import { datasetOf } from '../support/datasets.ts';
import { User, mountObstacle } from '../support/mounted.ts';
import { type TestBucket, createEmbeddedBucket } from '../support/test-bucket.ts';

const isRoot = process.getuid?.() === 0;
/** Programs that a mount calls as it starts. */
const LOCKS = 'flock';
const MOUNTS = isRoot ? 'mount' : 'fusermount3';
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;
type Signal = keyof typeof EXIT_CODES;

describe.skipIf(mountObstacle !== undefined)('the start of a mount', { timeout: 120_000 }, () => {
  let bucket: TestBucket;
  /** Hears of every request, and may keep it waiting. */
  let onRequest: (() => Promise<void>) | undefined;
  let release = (): void => {};
  let user: User;
  let path: string;

  beforeAll(async () => {
    bucket = await createEmbeddedBucket({
      intercept: async () => {
        await onRequest?.();
        return undefined;
      },
    });
    await bucket.putDataset(datasetOf('dataset', { 'file.txt': 'content' }));
  });
  afterAll(() => bucket.close());
  beforeEach(async () => {
    user = await User.create(bucket.env);
    path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
  });
  afterEach(async () => {
    onRequest = undefined;
    release();
    await user.unmount(path);
    await rmdir(path);
    await user.remove();
  });

  /** Keeps all requests waiting until the end of the test; resolves when there is one. */
  const untilAsked = async (): Promise<void> => {
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    await new Promise<void>((resolve) => {
      onRequest = async () => {
        resolve();
        await released;
      };
    });
  };
  const isMounted = async (): Promise<boolean> =>
    (await readFile('/proc/self/mountinfo', 'utf8')).includes(` ${path} `);
  const runtimeFiles = async (): Promise<readonly string[]> =>
    readdir(join(user.home, 'dtool-ecs-mount')).catch(() => []);
  /** The process of a mount in the background that a command has started. */
  const childOf = async (command: number): Promise<number | undefined> => {
    const children = await readFile(`/proc/${command}/task/${command}/children`, 'utf8').catch(() => '');
    const [child] = children.split(' ').filter(Boolean);
    return child === undefined ? undefined : Number(child);
  };
  const untilDead = async (pid: number): Promise<void> => {
    while (await isProcessAlive(pid)) await sleep(10);
  };
  const expectNothing = async (): Promise<void> => {
    expect(await isMounted()).toBe(false);
    expect(await runtimeFiles()).toEqual([]);
    expect(await user.mounts()).toEqual([]);
  };

  test('takes its options whatever their order, and behind "--" there are none', async () => {
    const log = join(user.home, 'mount.log');
    for (const args of [
      ['mount', '--log-file', log, '--', bucket.bucket, path],
      ['--log-file', log, bucket.bucket, '--', path],
      ['mount', bucket.bucket, path, '--log-file', log, '--umask=077'],
    ]) {
      expect(await user.run(...args)).toMatchObject({ exitCode: 0, stderr: '' });
      expect(await user.mounts()).toMatchObject([{ mountpoint: path }]);
      expect(await readFile(log, 'utf8')).toContain('"mounted"');
      const [{ pid } = { pid: 0 }] = await user.mounts();
      expect(await childOf(pid)).toBeUndefined();
      await user.unmount(path);
    }
  });

  describe('fails before anything is mounted', () => {
    const expectFailure = async (stderr: RegExp, env: Readonly<Record<string, string>>): Promise<void> => {
      const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
      for (const how of [[], ['--foreground']]) {
        const { exitCode, stderr: said } = await user.exec(
          'env',
          ...settings,
          ...user.command('mount', bucket.bucket, path, ...how),
        );
        expect({ exitCode, said }).toEqual({ exitCode: 1, said: expect.stringMatching(stderr) });
        await expectNothing();
      }
    };

    test('when others could have made its runtime directory', async () => {
      const runtime = join(user.home, 'runtime');
      await mkdir(join(runtime, 'dtool-ecs-mount'), { recursive: true });
      await chmod(join(runtime, 'dtool-ecs-mount'), 0o777);
      await expectFailure(/is not a private directory of yours\n.*XDG_RUNTIME_DIR/, {
        XDG_RUNTIME_DIR: runtime,
      });
    });

    test('when its socket would have too long a path', async () => {
      await expectFailure(/a socket has at most 107 bytes/, {
        XDG_RUNTIME_DIR: join(user.home, 'x'.repeat(100)),
      });
    });

    test('when there can be no runtime directory', async () => {
      const file = join(user.home, 'file');
      await writeFile(file, '');
      await expectFailure(/can't be made.*\n.*XDG_RUNTIME_DIR/, { XDG_RUNTIME_DIR: file });
    });

    test('when another mount is there, which keeps its socket', async () => {
      expect(await user.run('mount', bucket.bucket, path)).toMatchObject({ exitCode: 0 });
      const before = await runtimeFiles();
      expect(await user.run('mount', bucket.bucket, path)).toMatchObject({ exitCode: 1 });
      expect(await user.mounts()).toMatchObject([{ mountpoint: path }]);
      expect(await runtimeFiles()).toEqual(before);
    });

    test('when its port for metrics is taken', async () => {
      const other = createServer().listen(0, '127.0.0.1');
      await once(other, 'listening');
      const address = other.address();
      const port = typeof address === 'object' ? String(address?.port) : '';
      expect(await user.run('mount', bucket.bucket, path, '--metrics-port', port)).toMatchObject({
        exitCode: 1,
      });
      await expectNothing();
      other.close();
    });
  });

  /** A process that is sent the signal: the command, the process that it has started, or a mount in the foreground. */
  const TARGETS = ['command', 'child', 'foreground'] as const;
  type Target = (typeof TARGETS)[number];

  const start = (target: Target): ChildProcess =>
    user.start('mount', bucket.bucket, path, ...(target === 'foreground' ? ['--foreground'] : []));

  const expectInterrupted = async (command: ChildProcess, signal: Signal): Promise<void> => {
    const child = await childOf(command.pid ?? 0);
    const said = command.stderr ? text(command.stderr) : '';
    expect(await once(command, 'exit')).toEqual([EXIT_CODES[signal], null]);
    expect(await said).toContain(`mounting ${path} was ended by ${signal}; nothing is mounted`);
    if (child !== undefined) await untilDead(child);
    await expectNothing();
  };

  test.each([
    ['command', 'SIGINT'],
    ['child', 'SIGTERM'],
    ['foreground', 'SIGINT'],
  ] as const)('the %s gets %s while the store is asked', async (target, signal) => {
    const asked = untilAsked();
    const command = start(target);
    await asked;
    const { pid = 0 } = command;
    const status = target === 'child' ? await user.run('status') : undefined;
    if (status) expect(status.stderr).toContain(`has not mounted ${path} yet`);
    const interrupted = expectInterrupted(command, signal);
    process.kill(target === 'child' ? ((await childOf(pid)) ?? 0) : pid, signal);
    await interrupted;
  });

  test('the command is killed: its mount does not come', async () => {
    const asked = untilAsked();
    const command = start('command');
    await asked;
    const child = (await childOf(command.pid ?? 0)) ?? 0;
    expect(child).toBeGreaterThan(0);
    command.kill('SIGKILL');
    await untilDead(child);
    await expectNothing();
  });

  /**
   * Puts a program in the place of one that a mount calls: it sends the signal before or after it does what it is called
   * for. The mount's process is its parent, and the command is the parent of that.
   */
  const shim = async (
    program: string,
    when: 'before' | 'after',
    target: Target,
    signal: Signal,
  ): Promise<string> => {
    const { stdout } = await user.exec('sh', '-c', `command -v ${program}`);
    const real = stdout.trim();
    const parent = target === 'command' ? '$(cut -d" " -f4 "/proc/$PPID/stat")' : '$PPID';
    const kill = `kill -${signal.slice(3)} ${parent}`;
    const directory = join(user.home, 'bin');
    await mkdir(directory, { recursive: true });
    // The same program unmounts what a user has mounted.
    const unmounting = `case "$1" in -u) exec ${real} "$@";; esac`;
    const script =
      when === 'before' ? `${kill}\n${real} "$@"` : `${real} "$@"\nended=$?\n${kill}\nexit $ended`;
    await writeFile(join(directory, program), `#!/bin/sh\n${unmounting}\n${script}\n`, { mode: 0o755 });
    return directory;
  };

  test.each([
    ['before', LOCKS, 'command', 'SIGTERM'],
    ['after', LOCKS, 'foreground', 'SIGINT'],
    ['before', MOUNTS, 'child', 'SIGINT'],
    ['after', MOUNTS, 'command', 'SIGINT'],
    ['after', MOUNTS, 'child', 'SIGTERM'],
    ['after', MOUNTS, 'foreground', 'SIGTERM'],
  ] as const)('%s %s, the %s gets %s', async (when, program, target, signal) => {
    const directory = await shim(program, when, target, signal);
    const how = target === 'foreground' ? ['--foreground'] : [];
    const args = user.command('mount', bucket.bucket, path, ...how);
    const command = user.startProgram('env', `PATH=${directory}:${process.env['PATH']}`, ...args);
    command.stdout.resume();
    await expectInterrupted(command, signal);
    await rm(directory, { recursive: true });
    expect(await user.run('mount', bucket.bucket, path)).toMatchObject({ exitCode: 0, stderr: '' });
    expect((await user.exec('cat', `${path}/dataset/data/file.txt`)).stdout).toBe('content');
  });

  test('a command of the system that mounts and is killed leaves nothing', async () => {
    const directory = await shim(MOUNTS, 'after', 'child', 'SIGTERM');
    const file = join(directory, MOUNTS);
    await writeFile(
      file,
      (await readFile(file, 'utf8')).replace('-TERM $PPID', () => '-KILL $$'),
    );
    const args = user.command('mount', bucket.bucket, path);
    const killed = await user.exec('env', `PATH=${directory}:${process.env['PATH']}`, ...args);
    expect(killed).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('SIGKILL') });
    await expectNothing();
  });
});
