import { lstat, mkdtemp, readdir, readFile, readlink, rmdir, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MountStatus } from '../../src/mount.ts';
import { isProcessAlive } from '../../src/process-alive.ts';
import { User } from '../support/mounted.ts';
import type { LoadError } from './load.ts';
import { monotonicMs } from './monotonic.ts';

const POLL_MS = 20;
/** No command takes longer, even on a busy machine and with a store that is away. */
const ENDS_WITHIN_MS = 180_000;
/** Errors that the network makes are seen for so long after it is well again: until the next refresh. */
const NETWORK_GRACE_MS = 5_000;

/** What a mount that is away gives to who has a file open there, or looks for one. */
const AWAY: ReadonlySet<string> = new Set([
  'ENOTCONN',
  'ECONNABORTED',
  'EINTR',
  'ENOENT',
  'ENODEV',
  'EIO',
  'ESTALE',
]);
/** What SEMANTICS.md promises for a store that fails; ENOENT is for what a mount made meanwhile has not heard of. */
const NETWORK: ReadonlySet<string> = new Set(['EIO', 'EACCES', 'ENOENT']);

interface Span {
  readonly from: number;
  to: number;
}

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
  readonly #away: Span[] = [];
  readonly #network: Span[] = [];

  private constructor(user: User, path: string, command: readonly string[]) {
    this.user = user;
    this.path = path;
    this.#logFile = join(user.home, 'mount.log');
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
    const mount = new SoakedMount(user, path, ['mount', bucket, path, ...options]);
    await mount.#mount();
    return mount;
  }

  get pid(): number {
    return this.#pid;
  }

  async kill(): Promise<void> {
    await this.#whileAway(async () => {
      process.kill(this.#pid, 'SIGKILL');
      await this.#gone();
      await this.#mount();
    });
  }

  async unmountAndMount(): Promise<void> {
    await this.#whileAway(async () => {
      await this.#unmount();
      await this.#mount();
    });
  }

  async suspend(ms: number): Promise<void> {
    process.kill(this.#pid, 'SIGSTOP');
    await sleep(ms);
    process.kill(this.#pid, 'SIGCONT');
  }

  /** Remembers that the network fails while this is done. */
  async whileNetworkFails(work: () => Promise<void>): Promise<void> {
    const span = { from: monotonicMs(), to: Infinity };
    this.#network.push(span);
    await work();
    span.to = monotonicMs() + NETWORK_GRACE_MS;
  }

  /** Whether what was done to the mount or the network meanwhile explains an error. */
  explains({ code, from, to }: LoadError): boolean {
    const isIn = (span: Span): boolean => from <= span.to && to >= span.from;
    return (AWAY.has(code) && this.#away.some(isIn)) || (NETWORK.has(code) && this.#network.some(isIn));
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
    await this.#whileAway(async () => this.#unmount());
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
    await this.user.remove();
  }

  async #whileAway(work: () => Promise<void>): Promise<void> {
    const span = { from: monotonicMs(), to: Infinity };
    this.#away.push(span);
    await work();
    span.to = monotonicMs();
  }

  async #mount(): Promise<void> {
    const { exitCode, stdout, stderr } = await this.#run(...this.#command);
    const [, pid] = /\(pid (\d+),/.exec(stdout) ?? [];
    if (exitCode !== 0 || pid === undefined)
      throw new Error(`it can't be mounted: ${stderr}${await this.#log()}`);
    this.#pid = Number(pid);
  }

  async #unmount(): Promise<void> {
    const { exitCode, stderr } = await this.#run('umount', this.path);
    if (exitCode !== 0) throw new Error(`it can't be unmounted: ${stderr}${await this.#log()}`);
    await this.#gone();
  }

  /** The end of its log. */
  async #log(): Promise<string> {
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
