import { spawn } from 'node:child_process';
import * as fs from 'node:fs/promises';
import { hasErrorCode, UserError } from './errors.ts';

const TAKEN = 1;
/** The descriptor that flock(1) gets. */
const LOCK_FD = '3';
const FLAGS = fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW;

/**
 * A file that one process has at a time: on this machine in all its namespaces, and on others where the file system keeps
 * locks (NFS does). The kernel keeps the lock with the open file, so it ends with the process, however that ends, and nobody
 * has to judge whether another process lives. Node has no flock(2); flock(1) takes it for us: it locks the open file that it
 * was started with, which is ours.
 */
export class FileLock {
  readonly #file: fs.FileHandle;
  readonly #path: string;

  private constructor(file: fs.FileHandle, path: string) {
    this.#file = file;
    this.#path = path;
  }

  /**
   * @param path of the file, which is made with mode 0600 where it is missing
   * @param words what others are told while it is taken
   * @param advice what to do where the file system has no locks
   * @returns the words of the holder where it is taken
   * @throws UserError where flock(1) can't be run or fails; the file system's error
   */
  static async take(
    path: string,
    words: string,
    advice: string,
  ): Promise<FileLock | { readonly heldBy: string }> {
    for (;;) {
      const file = await fs.open(path, FLAGS, 0o600);
      const lock = new FileLock(file, path);
      let isOurs = false;
      try {
        if (!(await flock(file.fd, advice))) return { heldBy: await file.readFile('utf8') };
        // Another process may have removed the file that this one has opened.
        isOurs = await lock.#isThere();
        if (!isOurs) continue;
        await file.truncate(0);
        await file.write(words, 0);
        return lock;
      } catch (error) {
        isOurs = false;
        throw error;
      } finally {
        if (!isOurs) await file.close();
      }
    }
  }

  /** Lets others have it; the file stays. */
  async release(): Promise<void> {
    try {
      await this.#file.truncate(0);
    } finally {
      await this.#file.close();
    }
  }

  /** Lets others have it, and removes the file. */
  async remove(): Promise<void> {
    try {
      if (await this.#isThere()) await fs.rm(this.#path);
    } finally {
      await this.#file.close();
    }
  }

  async #isThere(): Promise<boolean> {
    const ours = await this.#file.stat({ bigint: true });
    try {
      const there = await fs.lstat(this.#path, { bigint: true });
      return there.ino === ours.ino && there.dev === ours.dev;
    } catch (error) {
      if (hasErrorCode(error, 'ENOENT')) return false;
      throw error;
    }
  }
}

/** @returns false when another process has it */
async function flock(fd: number, advice: string): Promise<boolean> {
  const status = await new Promise<number | string | null>((resolve, reject) => {
    const child = spawn('flock', ['-n', LOCK_FD], { stdio: ['ignore', 'ignore', 'ignore', fd] });
    child.once('error', (cause) =>
      reject(
        new UserError(
          `flock(1) can't be run: ${cause.message}`,
          'Install util-linux: it keeps two processes from changing the same files.',
          { cause },
        ),
      ),
    );
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  if (status === 0) return true;
  if (status === TAKEN) return false;
  throw new UserError(`flock(1) ended with ${status}`, `The file system may have no locks: ${advice}`);
}
