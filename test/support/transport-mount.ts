import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { FsErrorCode } from '../../src/errors.ts';
import { compileProgram } from './run-typescript.ts';
import { isMounted, run } from './test-mounts.ts';
import type {
  TransportProgramMessage,
  TransportProgramOptions,
  TransportProgramRequest,
  TransportProgramState,
} from './transport-program.ts';

/** Compiles the program that mounts; see `compileProgram`. */
export const compileTransportProgram = () =>
  compileProgram(resolve(import.meta.dirname, 'transport-program.ts'));

/** A tree mounted by another process, on a directory of its own. */
export class TransportMount {
  readonly path: string;
  readonly #child: ChildProcess;

  private constructor(path: string, child: ChildProcess) {
    this.path = path;
    this.#child = child;
  }

  static async start(
    program: string,
    options: Omit<TransportProgramOptions, 'mountpoint'>,
  ): Promise<TransportMount> {
    const mountpoint = await mkdtemp(join(tmpdir(), 'transport-mount-'));
    const child = spawn(process.execPath, [program, JSON.stringify({ ...options, mountpoint })], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const mount = new TransportMount(mountpoint, child);
    const message = await mount.#next();
    if (message.tell !== 'ready') throw new Error(JSON.stringify(message));
    return mount;
  }

  async state(): Promise<TransportProgramState> {
    return this.#ask('state');
  }

  /** Lets closing of files in memory fail from now on, or no more. */
  async failClose(code?: FsErrorCode): Promise<void> {
    await this.#ask(code === undefined ? {} : { flush: code });
  }

  async #ask(request: TransportProgramRequest): Promise<TransportProgramState> {
    this.#child.send(request);
    const message = await this.#next();
    if (message.tell !== 'state') throw new Error(JSON.stringify(message));
    return message.state;
  }

  /** Asks until what it answers is as it should be: the kernel closes files some time after their users have. */
  async until(condition: (state: TransportProgramState) => boolean): Promise<void> {
    while (!condition(await this.state()));
  }

  /** Unmounts, and fails when the process does not end as it should. */
  async stop(): Promise<void> {
    try {
      this.#child.kill('SIGTERM');
      if (this.#child.exitCode === null) await once(this.#child, 'exit');
      if (this.#child.exitCode !== 0) throw new Error(`the daemon exited with ${this.#child.exitCode}`);
    } finally {
      if (await isMounted(this.path)) await run('umount', ['-l', this.path]);
      await rmdir(this.path);
    }
  }

  async #next(): Promise<TransportProgramMessage> {
    return new Promise((done, fail) => {
      const exited = (code: number | null) => fail(new Error(`the daemon exited with ${code}`));
      this.#child.once('exit', exited);
      this.#child.once('message', (message: TransportProgramMessage) => {
        this.#child.off('exit', exited);
        done(message);
      });
    });
  }
}
