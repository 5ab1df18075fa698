import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { mkdtemp, readFile, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { FixtureDaemon } from './fixture-daemon.ts';
import type { FixtureMountOptions } from './fixture-mount.ts';
import { compileProgram, type CompiledProgram } from './run-typescript.ts';

export const run = promisify(execFile);

/** Why nothing can be mounted here, as a suffix for the name of what is skipped; empty when it can. */
export function mountObstacle(): string {
  if (process.platform !== 'linux') return ' [skipped: not Linux]';
  if (process.getuid?.() !== 0) return ' [skipped: not root]';
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
    return '';
  } catch {
    return ' [skipped: no access to /dev/fuse]';
  }
}

/** The daemons, mount points and programs of one test file, for {@link TestMounts.clear} to clean up whatever happened. */
export class TestMounts {
  #program: CompiledProgram | undefined;
  readonly #daemons: FixtureDaemon[] = [];
  readonly #directories: string[] = [];

  /** A new empty directory. */
  async directory(): Promise<string> {
    const directory = await mkdtemp(resolve(tmpdir(), 'fuse-mount-'));
    this.#directories.push(directory);
    return directory;
  }

  /** Starts a daemon on a new directory, or on the one that is given. */
  async mount(
    options: Partial<FixtureMountOptions> = {},
    how: Parameters<typeof FixtureDaemon.start>[2] = {},
  ): Promise<{ daemon: FixtureDaemon; mountpoint: string }> {
    const mountpoint = options.mountpoint ?? (await this.directory());
    this.#program ??= await compileProgram(resolve(import.meta.dirname, 'fixture-mount.ts'));
    const daemon = await FixtureDaemon.start(
      this.#program.path,
      { receive: 'auto', ...options, mountpoint },
      how,
    );
    this.#daemons.push(daemon);
    return { daemon, mountpoint };
  }

  /** Ends all daemons of the test and removes their mounts and directories. */
  async clear(): Promise<void> {
    for (const daemon of this.#daemons.splice(0)) {
      daemon.kill('SIGKILL');
      await daemon.exited;
    }
    for (const directory of this.#directories.splice(0)) {
      if (await isMounted(directory)) await run('umount', ['-l', directory]);
      await rmdir(directory);
    }
  }

  async removeProgram(): Promise<void> {
    await this.#program?.remove();
    this.#program = undefined;
  }
}

/** Whether this process sees a mount there. */
export async function isMounted(directory: string): Promise<boolean> {
  const mounts = await readFile('/proc/self/mounts', 'utf8');
  return mounts.split('\n').some((line) => line.split(' ')[1] === directory);
}
