import { spawn } from 'node:child_process';
import * as fs from 'node:fs/promises';
import { z } from 'zod';
import { UserError } from '../../errors.ts';

/** Who has a lock, in the words of its file. */
const OWNER = z.object({ pid: z.number(), mountpoint: z.string(), since: z.string() });
export type Owner = z.infer<typeof OWNER>;

const TAKEN = 1;
/** The descriptor that flock(1) gets. */
const LOCK_FD = '3';

/**
 * A file that one process has at a time, on this machine and, where the file system keeps locks (NFS does), on others.
 * The kernel keeps the lock with the open file, so it ends with the process, however that ends. Node has no flock(2);
 * flock(1) takes it for us: it locks the open file that it was started with, which is ours.
 */
export class OwnerLock {
  readonly #file: fs.FileHandle;

  private constructor(file: fs.FileHandle) {
    this.#file = file;
  }

  /**
   * @param path of the file, which is made where it is missing
   * @throws UserError that says who has it, or what keeps us from asking
   */
  static async take(path: string, owner: Owner): Promise<OwnerLock> {
    const file = await fs.open(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
    try {
      if (!(await lock(file.fd))) throw taken(path, await file.readFile('utf8'));
      await file.truncate(0);
      await file.write(`${JSON.stringify(owner)}\n`, 0);
      return new OwnerLock(file);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async release(): Promise<void> {
    await this.#file.truncate(0);
    await this.#file.close();
  }
}

/** @returns false when somebody else has it */
async function lock(fd: number): Promise<boolean> {
  const status = await new Promise<number | null>((resolve, reject) => {
    const child = spawn('flock', ['-n', LOCK_FD], { stdio: ['ignore', 'ignore', 'ignore', fd] });
    child.once('error', (cause) =>
      reject(
        new UserError(
          `flock(1) can't be run: ${cause.message}`,
          'Install util-linux: it keeps two mounts from changing the same files.',
          { cause },
        ),
      ),
    );
    child.once('close', resolve);
  });
  if (status === 0) return true;
  if (status === TAKEN) return false;
  throw new UserError(
    `flock(1) failed with exit code ${status}`,
    'The file system may have no locks: give a directory on another one with --staging-dir.',
  );
}

function taken(path: string, content: string): UserError {
  let owner: Owner;
  try {
    owner = OWNER.parse(JSON.parse(content));
  } catch {
    return new UserError(`another mount has it (${path} is locked)`, 'Unmount that one, and mount again.');
  }
  return new UserError(
    `the mount at ${owner.mountpoint} (process ${owner.pid}) has it`,
    `Stage there, or unmount it ("dtool-ecs-mount umount ${owner.mountpoint}") and mount again.`,
  );
}
