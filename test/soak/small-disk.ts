import { execFile } from 'node:child_process';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const BYTES = 2 << 20;

/** A file system of 2 MiB in memory, which can be full. Root only. */
export class SmallDisk {
  readonly path: string;
  readonly #filler: string;

  private constructor(path: string) {
    this.path = path;
    this.#filler = join(path, 'filler');
  }

  static async mount(path: string): Promise<SmallDisk> {
    await mkdir(path);
    await run('mount', ['-t', 'tmpfs', '-o', `size=${BYTES}`, 'soak', path]);
    return new SmallDisk(path);
  }

  /** Fills it to its last byte. */
  async fill(): Promise<void> {
    const file = await open(this.#filler, 'w');
    try {
      // The last page may have room for less than a whole chunk.
      for (const chunk of [Buffer.alloc(64 << 10), Buffer.alloc(1)])
        while ((await file.write(chunk)).bytesWritten > 0);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      await file.close();
    }
  }

  async makeRoom(): Promise<void> {
    await rm(this.#filler);
  }

  async unmount(): Promise<void> {
    // Lazily: a mount that is stuck may have its log open still, and that is told elsewhere.
    await run('umount', ['-l', this.path]);
  }
}
