import { type ChildProcess, type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { fuseObstacle } from '../../src/fuse/session.ts';
import type { MountStatus } from '../../src/mount.ts';
import { isProcessAlive } from '../../src/process-alive.ts';
import { type ControlAnswer, askMount, askMounts } from './control-client.ts';

/** The program as users start it. */
export const CLI = resolve(import.meta.dirname, '../../dist/cli.js');

/** Why nothing can be mounted here, or undefined. Tests that need a mount are skipped then, and it is said. */
export const mountObstacle = await fuseObstacle();
if (mountObstacle !== undefined) {
  const { reason, advice } = mountObstacle;
  process.stderr.write(`SKIPPED: what needs a mount, because ${reason}. ${advice}\n`);
}

export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** Surroundings of a user of the program: private directories for its state, no configuration but the one given. */
export class User {
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly home: string;

  private constructor(home: string, env: Readonly<Record<string, string>>) {
    this.home = home;
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('DTOOL_'));
    this.#env = {
      ...Object.fromEntries(inherited),
      HOME: home,
      XDG_RUNTIME_DIR: home,
      XDG_STATE_HOME: join(home, 'state'),
      XDG_CACHE_HOME: join(home, 'cache'),
      ...env,
    };
  }

  static async create(env: Readonly<Record<string, string>> = {}): Promise<User> {
    return new User(await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-')), env);
  }

  /** The program and its arguments, for who starts them some other way. */
  command(...args: readonly string[]): readonly [string, ...string[]] {
    return [process.execPath, CLI, ...args];
  }

  /** The same user in a shell that has other environment variables, too. */
  with(env: Readonly<Record<string, string>>): User {
    return new User(this.home, env);
  }

  /** Runs the program to its end. */
  async run(...args: readonly string[]): Promise<CommandResult> {
    return this.exec(process.execPath, CLI, ...args);
  }

  /** Runs any program to its end. */
  async exec(command: string, ...args: readonly string[]): Promise<CommandResult> {
    return new Promise((done) => {
      execFile(command, args, { env: this.#env, maxBuffer: 1 << 28 }, (error, stdout, stderr) => {
        done({ stdout, stderr, exitCode: typeof error?.code === 'number' ? error.code : error ? -1 : 0 });
      });
    });
  }

  /** Starts the program and leaves it running. */
  start(...args: readonly string[]): ChildProcess {
    return spawn(process.execPath, [CLI, ...args], { env: this.#env, stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Starts any program and leaves it running. */
  startProgram(command: string, ...args: readonly string[]): ChildProcessWithoutNullStreams {
    return spawn(command, args, { env: this.#env });
  }

  /** What `status --json` tells, without a process that asks for it. */
  async mounts(): Promise<readonly MountStatus[]> {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a mount of ours answers with nothing else
    return (await this.#askMounts('status')).map(({ result }) => result as MountStatus);
  }

  /** Ends the mount at a place as `umount` does: its process is gone then. One that was killed is cleared. */
  async unmount(path: string): Promise<void> {
    for (const { socket, result } of await this.#askMounts('status')) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as above
      const { mountpoint, pid } = result as MountStatus;
      if (mountpoint !== path) continue;
      await askMount(socket, 'unmount');
      while (await isProcessAlive(pid)) await sleep(10);
      return;
    }
    const ended = await this.run('umount', path);
    if (ended.exitCode !== 0 && !ended.stderr.includes('nothing is mounted')) throw new Error(ended.stderr);
  }

  async #askMounts(command: string): Promise<readonly ControlAnswer[]> {
    return askMounts(join(this.home, 'dtool-ecs-mount'), command);
  }

  async remove(): Promise<void> {
    await rm(this.home, { recursive: true });
  }
}

/** A mount in the background, made by the program itself. */
export interface Mounted {
  readonly user: User;
  readonly path: string;
  readonly pid: number;
  status(): Promise<MountStatus>;
  /** What the mount has logged so far. */
  log(): Promise<string>;
  /** Runs a shell command in the mount; fails the test when it exits with another code than 0. */
  sh(command: string): Promise<string>;
  /** Unmounts and removes what the test left behind. */
  close(): Promise<void>;
}

export async function mount(
  env: Readonly<Record<string, string>>,
  buckets: readonly string[],
  ...options: readonly string[]
): Promise<Mounted> {
  const user = await User.create(env);
  const path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
  const logFile = join(user.home, 'mount.log');
  const args = ['mount', ...buckets, path, '--log-level', 'debug', '--log-file', logFile, ...options];
  const mounted = await user.run(...args);
  if (mounted.exitCode !== 0) throw new Error(`mount failed: ${mounted.stderr}`);
  const [, pid] = /\(pid (\d+),/.exec(mounted.stdout) ?? [];
  const status = async (): Promise<MountStatus> => {
    const mounts = await user.mounts();
    const found = mounts.find(({ mountpoint }) => mountpoint === path);
    if (!found) throw new Error(`no mount at ${path}: ${JSON.stringify(mounts)}`);
    return found;
  };
  return {
    user,
    path,
    pid: Number(pid),
    status,
    log: () => readFile(logFile, 'utf8'),
    sh: async (command) => {
      const result = await user.exec('bash', '-c', `cd '${path}' && ${command}`);
      if (result.exitCode !== 0)
        throw new Error(`${command}: exit code ${result.exitCode}: ${result.stderr}`);
      return result.stdout;
    },
    close: async () => {
      await user.unmount(path);
      await rmdir(path);
      await user.remove();
    },
  };
}

const run = promisify(execFile);

/** Whether a program is installed. */
export async function hasProgram(name: string): Promise<boolean> {
  return run('sh', ['-c', `command -v ${name}`]).then(
    () => true,
    () => false,
  );
}
