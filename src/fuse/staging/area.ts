import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { FsError, messageOf, UserError } from '../../errors.ts';
import type { FileLock } from '../../file-lock.ts';
import type { Logger } from '../../log.ts';
import { makePrivateDirectory } from '../../private-files.ts';
import { deleteTree } from './delete-tree.ts';
import { FailedFiles } from './failed-files.ts';
import { AREA_DATASETS_MAX, type KnownArea, writeRecord } from './known-areas.ts';
import { loadLibc, type Libc } from './libc.ts';
import * as local from './local-files.ts';
import { pace } from './pace.ts';
import { takeOwnership } from './owner-lock.ts';

const RECOVERED = 'recovered-';
const PERMISSIONS = 0o7777;
const OWNER_WRITES = 0o200;

export interface AreaOptions {
  readonly endpoint: string;
  /** Uuids of some datasets that the bucket has; empty where they are not known. */
  readonly datasets: readonly string[];
  /** Of the mount that is to own it: for those who are told that it is taken. */
  readonly mountpoint: string;
  readonly log: Logger;
}

/**
 * The staging area of one bucket: a private directory on the local disk that one mount owns at a time. It holds
 *
 * - `folders/<id>`, a directory for each staged dataset, whose path stays the same as long as the dataset is staged and is
 *   never used again for another one,
 * - `names/<name>`, a symbolic link to it for each name, so that giving another name is one step,
 * - `removed/<id>`, what is removed: in one step for who looks, and then file by file,
 * - `owner`, locked by the mount that owns it,
 * - `area.json`, see {@link AreaRecord},
 * - `failed`, which files failed to be written.
 *
 * It holds the only copy of somebody's data: nothing in it is deleted but by who asked for it, and what a crash has left
 * without a name gets one.
 */
export class Area {
  /** Absolute, and free of symbolic links. */
  readonly path: string;
  /** The endpoint that it was used with first, which the journals of its freezes go by. */
  readonly endpoint: string;
  /** Undefined where koffi is missing. */
  readonly libc: Libc | undefined;
  readonly failed: FailedFiles;
  readonly #lock: FileLock;
  readonly #log: Logger;

  private constructor(
    path: string,
    endpoint: string,
    lock: FileLock,
    libc: Libc | undefined,
    failed: FailedFiles,
    log: Logger,
  ) {
    this.path = path;
    this.endpoint = endpoint;
    this.libc = libc;
    this.failed = failed;
    this.#lock = lock;
    this.#log = log;
  }

  /**
   * Takes an area, after making it where it is missing.
   *
   * @param known see {@link chooseArea}
   * @throws UserError when another mount has it, or the local file system does not allow it
   */
  static async open(known: KnownArea, options: AreaOptions): Promise<Area> {
    const { endpoint, mountpoint, log } = options;
    try {
      await makePrivateDirectory(known.path);
      const path = await fs.realpath(known.path);
      for (const part of ['names', 'folders', 'removed']) await makePrivateDirectory(join(path, part));
      if (!relative(mountpoint, path).startsWith('..')) {
        throw new UserError(`${path} is inside the mount`, 'Give another directory with --staging-dir.');
      }
      pace.startOn((await fs.statfs(path)).type);
      const lock = await takeOwnership(join(path, 'owner'), {
        pid: process.pid,
        mountpoint,
        since: new Date().toISOString(),
      });
      const failed = await FailedFiles.open(join(path, 'failed'), log);
      const [first = endpoint] = known.endpoints;
      const area = new Area(path, first, lock, await loadLibc(), failed, log);
      try {
        await area.#remember(known, options);
        await area.#recover();
        return area;
      } catch (error) {
        await area.close();
        throw error;
      }
    } catch (error) {
      if (error instanceof UserError) throw error;
      throw new UserError(
        `its local directory can't be used: ${messageOf(error)}`,
        'Make it yours, or give another with --staging-dir.',
        { cause: error },
      );
    }
  }

  get namesPath(): string {
    return join(this.path, 'names');
  }

  /** The paths of all folders by name. */
  async folders(): Promise<ReadonlyMap<string, string>> {
    const names = await local.readdir(this.namesPath);
    return new Map(await Promise.all(names.map(async (name) => [name, await this.#folderOf(name)] as const)));
  }

  /**
   * Makes an empty folder; it and its name are on disk when this resolves.
   *
   * @returns its path
   * @throws FsError EEXIST
   */
  async make(name: string, mode: number): Promise<string> {
    const path = this.#newFolder();
    await local.mkdir(path, mode);
    try {
      await this.#name(name, path);
    } catch (error) {
      await local.rmdir(path);
      throw error;
    }
    return path;
  }

  /**
   * Makes a folder of a directory that is somewhere below another one.
   *
   * @returns its new path
   * @throws FsError EEXIST
   */
  async take(directory: string, name: string): Promise<string> {
    const path = this.#newFolder();
    // The name comes first: one that leads nowhere is no loss.
    await this.#name(name, path);
    try {
      await local.rename(directory, path);
    } catch (error) {
      await local.unlink(join(this.namesPath, name));
      throw error;
    }
    return path;
  }

  /** Moves a folder to a place below another one, over an empty directory if there is one. */
  async give(name: string, path: string, to: string): Promise<void> {
    await local.rename(path, to);
    await local.unlink(join(this.namesPath, name));
  }

  /** Gives a folder another name, which no other one has. */
  async rename(name: string, newName: string): Promise<void> {
    await local.rename(join(this.namesPath, name), join(this.namesPath, newName));
  }

  /**
   * Swaps the names of two folders.
   *
   * @throws FsError EINVAL where the system call is missing
   */
  async exchange(name: string, other: string): Promise<void> {
    await exchange(this.libc, join(this.namesPath, name), join(this.namesPath, other));
  }

  /**
   * Removes a folder that is empty.
   *
   * @throws FsError ENOTEMPTY
   */
  async removeEmpty(name: string, path: string): Promise<void> {
    await local.rmdir(path);
    await local.unlink(join(this.namesPath, name));
  }

  /**
   * Removes a folder with all that is in it, whatever its modes. It is gone when this resolves; its files are deleted after
   * that.
   *
   * @throws FsError with the folder as it was
   */
  async remove(name: string, path: string): Promise<void> {
    const removed = join(this.path, 'removed', basename(path));
    await renameWhateverItsMode(path, removed);
    try {
      await local.unlink(join(this.namesPath, name));
      await this.#sync('folders', 'removed', 'names');
    } catch (error) {
      // The next start brings that in order.
      this.#log.warn({ path, error: messageOf(error) }, 'a folder was removed, and its name was not');
    }
    this.#delete(removed);
  }

  /** Bytes and files that the local file system has room for, for its user. */
  async room(): Promise<{ readonly bytes: number; readonly files: number }> {
    const { bavail, bsize, ffree } = await local.statfs(this.path);
    return { bytes: bavail * bsize, files: ffree };
  }

  /** Lets another mount have it. */
  async close(): Promise<void> {
    await this.failed.close();
    await this.#lock.release();
  }

  #newFolder(): string {
    return join(this.path, 'folders', randomBytes(8).toString('hex'));
  }

  async #name(name: string, path: string): Promise<void> {
    await local.symlink(join('..', 'folders', basename(path)), join(this.namesPath, name));
    await this.#sync('folders', 'names');
  }

  async #folderOf(name: string): Promise<string> {
    return join(this.path, 'folders', basename(String(await local.readlink(join(this.namesPath, name)))));
  }

  async #sync(...parts: readonly string[]): Promise<void> {
    for (const part of parts) await local.syncDirectory(join(this.path, part));
  }

  /** Keeps what the area is known by. A disk that is full must not keep anybody from what is staged. */
  async #remember(known: KnownArea, { endpoint, datasets }: AreaOptions): Promise<void> {
    const record = {
      bucket: known.bucket,
      endpoints: [...new Set([...known.endpoints, endpoint])],
      datasets: (datasets.length > 0 ? datasets : known.datasets).slice(0, AREA_DATASETS_MAX),
    };
    try {
      await writeRecord(this.path, record);
    } catch (error) {
      const reason = messageOf(error);
      this.#log.warn(
        { area: this.path },
        `another spelling of the endpoint may not find this area: ${reason}`,
      );
    }
  }

  /** Brings in order what a crash has left between two steps. */
  async #recover(): Promise<void> {
    const nameless = new Set(await local.readdir(join(this.path, 'folders')));
    for (const [name, path] of await this.folders()) {
      if (!nameless.delete(basename(path))) await local.unlink(join(this.namesPath, name));
    }
    for (const id of nameless) {
      const path = join(this.path, 'folders', id);
      if (await isEmpty(path)) {
        await local.rmdir(path);
      } else {
        this.#log.warn({ folder: path }, `a staged folder without a name is now called ${RECOVERED}${id}`);
        await this.#name(`${RECOVERED}${id}`, path);
      }
    }
    for (const id of await local.readdir(join(this.path, 'removed'))) {
      this.#delete(join(this.path, 'removed', id));
    }
  }

  /** Goes on in the background; what it does not get to is deleted at the next start. */
  #delete(path: string): void {
    deleteTree(path).catch((error: unknown) => {
      this.#log.warn({ path, error: messageOf(error) }, 'a removed folder still takes space');
    });
  }
}

/** Swaps what two paths stand for. */
export async function exchange(libc: Libc | undefined, from: string, to: string): Promise<void> {
  if (libc === undefined) throw new FsError('EINVAL', 'exchanging names needs the package koffi');
  await libc.exchange(from, to);
}

/** One that its owner may not look into counts as one with something in it. */
async function isEmpty(path: string): Promise<boolean> {
  try {
    return (await local.readdir(path)).length === 0;
  } catch (error) {
    if (error instanceof FsError && error.code === 'EACCES') return false;
    throw error;
  }
}

/** Moves a directory into another one. Its entry ".." changes with that, so its owner needs the right to write to it. */
async function renameWhateverItsMode(from: string, to: string): Promise<void> {
  const mode = Number((await local.stat(from)).mode) & PERMISSIONS;
  const isClosed = (mode & OWNER_WRITES) === 0;
  if (isClosed) await local.chmod(from, mode | OWNER_WRITES);
  try {
    await local.rename(from, to);
  } catch (error) {
    if (isClosed) await local.chmod(from, mode);
    throw error;
  }
}
