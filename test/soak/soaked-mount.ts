import {
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rmdir,
  stat,
  utimes,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MountStatus } from '../../src/mount.ts';
import { isProcessAlive } from '../../src/process-alive.ts';
import { User } from '../support/mounted.ts';
import type { LoadError } from './load.ts';
import { SmallDisk } from './small-disk.ts';
import { AWAY, Troubles } from './troubles.ts';

const POLL_MS = 20;
/** No command takes longer, even on a busy machine and with a store that is away. */
const ENDS_WITHIN_MS = 180_000;
/** A process, or what it was to do, did not end. */
export class Stuck extends Error {}

/**
 * A mount that is killed, suspended, unmounted and made again, at one place and for one user; it remembers when, so that
 * errors can be judged.
 */
export class SoakedMount {
  readonly path: string;
  readonly user: User;
  #pid = 0;
  readonly #command: readonly string[];
  readonly #logFile: string;
  readonly #away = new Troubles(AWAY);
  /** Undefined where no file system can be mounted for it. */
  readonly #logDisk: SmallDisk | undefined;

  private constructor(
    user: User,
    path: string,
    command: readonly string[],
    log: { readonly directory: string; readonly disk: SmallDisk | undefined },
  ) {
    this.user = user;
    this.path = path;
    this.#logDisk = log.disk;
    this.#logFile = join(log.directory, 'mount.log');
    this.#command = [...command, '--log-file', this.#logFile];
  }

  /** Mounts for a user with a home of his own. */
  static async start(
    env: Readonly<Record<string, string>>,
    bucket: string,
    options: readonly string[],
  ): Promise<SoakedMount> {
    const path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-soak-at-'));
    const user = await User.create(env);
    const directory = join(user.home, 'log');
    const disk = process.getuid?.() === 0 ? await SmallDisk.mount(directory) : undefined;
    if (!disk) await mkdir(directory);
    const command = ['mount', bucket, path, ...options];
    const mount = new SoakedMount(user, path, command, { directory, disk });
    await mount.#mount();
    return mount;
  }

  get pid(): number {
    return this.#pid;
  }

  async kill(): Promise<void> {
    await this.#away.during(async () => {
      process.kill(this.#pid, 'SIGKILL');
      await this.#gone();
      await this.#mount();
    });
  }

  async unmountAndMount(): Promise<void> {
    await this.#away.during(async () => {
      await this.#unmount();
      await this.#mount();
    });
  }

  /** @param meanwhile is called before it goes on */
  async suspend(ms: number, meanwhile = (): void => {}): Promise<void> {
    process.kill(this.#pid, 'SIGSTOP');
    await sleep(ms);
    meanwhile();
    process.kill(this.#pid, 'SIGCONT');
  }

  /**
   * Fills the disk of the log, does something, and makes room again.
   *
   * @returns whether there is such a disk: who is not root has none
   */
  async whileLogIsFull(work: () => Promise<void>): Promise<boolean> {
    if (!this.#logDisk) return false;
    await this.#logDisk.fill();
    await work();
    await this.#logDisk.makeRoom();
    return true;
  }

  /** Moves the log away as logrotate does, and waits until the mount has begun another. */
  async rotateLog(): Promise<void> {
    await rename(this.#logFile, `${this.#logFile}.1`);
    process.kill(this.#pid, 'SIGHUP');
    await within(ENDS_WITHIN_MS, 'opening a log file after SIGHUP', async (isOver) => {
      const isThere = async (): Promise<boolean> =>
        stat(this.#logFile).then(
          () => true,
          () => false,
        );
      while (!isOver() && !(await isThere())) await sleep(POLL_MS);
    });
  }

  /** Whether its process is there, as it has to be between two disturbances. */
  async isAlive(): Promise<boolean> {
    return isProcessAlive(this.#pid);
  }

  /** Mounts in place of one whose process has died. */
  async replace(): Promise<void> {
    await this.#away.during(async () => this.#mount());
  }

  /** Whether what was done to the mount meanwhile explains an error. */
  explains(error: LoadError): boolean {
    return this.#away.explains(error);
  }

  async status(): Promise<MountStatus> {
    const { stdout, stderr } = await this.#run('status', '--json');
    const found = (JSON.parse(stdout || '[]') as MountStatus[]).find(
      ({ mountpoint }) => mountpoint === this.path,
    );
    if (!found) throw new Error(`nothing is mounted: ${stderr}`);
    return found;
  }

  /** Descriptors of its process, connections left out: these are kept for their next use. */
  async descriptors(): Promise<readonly string[]> {
    const directory = `/proc/${this.#pid}/fd`;
    const links = await Promise.all(
      (await readdir(directory)).map(async (name) => readlink(join(directory, name)).catch(() => '')),
    );
    return links.filter((link) => link !== '' && !link.startsWith('socket:')).toSorted();
  }

  /** Unmounts for good. */
  async end(): Promise<void> {
    await this.#away.during(async () => this.#unmount());
  }

  /** Mounts once more, when it was ended. */
  async again(): Promise<void> {
    await this.#mount();
  }

  async isMounted(): Promise<boolean> {
    return (await readFile('/proc/self/mountinfo', 'utf8')).includes(` ${this.path} `);
  }

  /** Files of the user's home by their path, as old as if they had been there for a day from now on. */
  async agedFiles(): Promise<readonly string[]> {
    const entries = await readdir(this.user.home, { recursive: true, withFileTypes: true });
    const paths = entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name));
    const dayAgo = Date.now() / 1000 - 86_400;
    for (const path of paths) if ((await lstat(path)).isFile()) await utimes(path, dayAgo, dayAgo);
    return paths.map((path) => path.slice(this.user.home.length + 1));
  }

  async remove(): Promise<void> {
    if (await this.isMounted()) await this.#run('umount', this.path);
    await rmdir(this.path);
    await this.#logDisk?.unmount();
    await this.user.remove();
  }

  async #mount(): Promise<void> {
    const { exitCode, stdout, stderr } = await this.#run(...this.#command);
    const [, pid] = /\(pid (\d+),/.exec(stdout) ?? [];
    if (exitCode !== 0 || pid === undefined)
      throw new Error(`it can't be mounted: ${stderr}${await this.lastWords()}`);
    this.#pid = Number(pid);
  }

  async #unmount(): Promise<void> {
    const { exitCode, stderr } = await this.#run('umount', this.path);
    if (exitCode !== 0) throw new Error(`it can't be unmounted: ${stderr}${await this.lastWords()}`);
    await this.#gone();
  }

  /** The end of its log. */
  async lastWords(): Promise<string> {
    const log = await readFile(this.#logFile, 'utf8');
    return log.split('\n').slice(-20).join('\n');
  }

  async #gone(): Promise<void> {
    await within(ENDS_WITHIN_MS, `process ${this.#pid} of the mount`, async (isOver) => {
      while (!isOver() && (await isProcessAlive(this.#pid))) await sleep(POLL_MS);
    });
  }

  async #run(...args: readonly string[]): Promise<Awaited<ReturnType<User['run']>>> {
    return within(ENDS_WITHIN_MS, args.join(' '), async () => this.user.run(...args));
  }
}

/**
 * @param work is told by `isOver` that nobody waits for it any more
 * @throws Stuck when it has not ended after so long
 */
export async function within<T>(
  ms: number,
  what: string,
  work: (isOver: () => boolean) => Promise<T>,
): Promise<T> {
  const timeout = new AbortController();
  let isOver = false;
  const late = async (): Promise<never> => {
    await sleep(ms, undefined, { signal: timeout.signal });
    throw new Stuck(`${what} has not ended after ${ms} ms`);
  };
  try {
    return await Promise.race([work(() => isOver), late()]);
  } finally {
    isOver = true;
    timeout.abort();
  }
}
