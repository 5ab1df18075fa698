import { constants } from 'node:fs';
import * as local from '../staging/local-files.ts';
import type { Libc, Target } from '../staging/libc.ts';
import type { OpenFileChanges } from './changes.ts';
import type { Access, FileNode, OpenFile } from './node.ts';
import { StagedBase } from './staging-node.ts';
import { lastingPathOf } from './staging-paths.ts';
import type { StagingTree } from './staging-tree.ts';
import { FsError } from '../../errors.ts';

/** Flags of open(2). */
export const OPEN_FLAGS: Readonly<Record<Access, number>> = {
  read: constants.O_RDONLY,
  write: constants.O_WRONLY,
  'read-write': constants.O_RDWR,
};

/** A regular file of a staged folder. Open, it is a descriptor of the local file, so it stays whatever becomes of its names. */
export class StagedFile extends StagedBase implements FileNode {
  /** Its open descriptors; undefined where there are none. */
  #descriptors: Map<number, Access> | undefined;

  get kind(): 'file' {
    return 'file';
  }

  async open(_signal: AbortSignal, access: Access): Promise<OpenFile> {
    return this.tree.lock.shared(async () => {
      if (access !== 'read') this.requireUnsealed();
      return this.opened(await this.#open(OPEN_FLAGS[access]), access);
    });
  }

  override async linkTo(path: string): Promise<void> {
    const [fd] = this.#descriptors?.keys() ?? [];
    const { libc } = this.tree;
    // Made without a name it is reached by its descriptor alone.
    if (this.place || fd === undefined || !libc) await super.linkTo(path);
    else await libc.link(fd, path);
  }

  /** Takes over a descriptor. */
  opened(fd: number, access: Access): OpenFile {
    this.#descriptors ??= new Map();
    this.#descriptors.set(fd, access);
    if (isWriting(access)) {
      this.tree.writers.add(this);
      if (!this.tree.sizes.has(this)) this.tree.sizes.set(this, 0);
    }
    return new OpenStagedFile(this.tree, this, fd, access);
  }

  /** Gives a descriptor up and closes it. */
  close(fd: number): void {
    this.#descriptors?.delete(fd);
    if (this.#descriptors?.size === 0) this.#descriptors = undefined;
    const isLastWriter =
      ![...(this.#descriptors?.values() ?? [])].some(isWriting) && this.tree.writers.delete(this);
    this.tree.closing(this.#close(fd, isLastWriter));
  }

  /** A program was told that the file goes up to here. */
  wrote(end: number): void {
    const known = this.tree.sizes.get(this);
    if (known !== undefined && known < end) this.tree.sizes.set(this, end);
  }

  /** Something failed after which the file may not be what programs wrote. Resolves when the next mount would know. */
  async lost(error: unknown): Promise<void> {
    await this.tree.failedFiles.add(this.ino, error instanceof FsError ? error.code : 'EIO');
  }

  protected override async truncate(size: number): Promise<void> {
    const known = this.tree.sizes.get(this);
    // Before it is: who compares meanwhile must not take it for a loss.
    if (known !== undefined && known > size) this.tree.sizes.set(this, size);
    await super.truncate(size);
    this.wrote(size);
    if (size === 0) await this.tree.failedFiles.delete(this.ino);
  }

  async #close(fd: number, isLastWriter: boolean): Promise<void> {
    try {
      await local.close(fd);
      if (isLastWriter) await this.#compare();
    } catch (error) {
      // Every write was answered, and nobody is left to be told of what came of it.
      this.tree.failed(error, this.place && lastingPathOf(this.place));
      await this.lost(error);
    } finally {
      if (isLastWriter && !this.tree.writers.has(this)) {
        this.tree.sizes.delete(this);
        this.#settled();
      }
      // Nobody can ever freeze it.
      if (!this.#descriptors && this.isGone) await this.tree.failedFiles.delete(this.ino);
    }
  }

  /** Looks whether the file on disk is as long as what was written, unless somebody writes again. */
  async #compare(): Promise<void> {
    await this.tree.lock.shared(async () => {
      const stat = this.place && this.folder?.isThere === true ? await local.lstat(this.path) : undefined;
      const written = this.tree.sizes.get(this) ?? 0;
      if (stat?.ino === this.ino && stat.size < written && !this.tree.writers.has(this)) {
        throw new FsError('EIO', `${stat.size} bytes are on disk of ${written} that were written`);
      }
    });
  }

  override changed(): void {
    super.changed();
    if (!this.tree.writers.has(this)) this.#settled();
  }

  /** Nobody has it open for writing any more. */
  #settled(): void {
    // What was removed has no path any more, and who still reads it goes on.
    const path = this.place && lastingPathOf(this.place);
    if (path !== undefined) this.tree.onSettled(path);
  }

  protected override onDisk(forWriting = false): Target {
    for (const [fd, access] of this.#descriptors ?? []) if (!forWriting || isWriting(access)) return fd;
    return this.#pathOrProc();
  }

  async #open(flags: number): Promise<number> {
    const path = this.#pathOrProc();
    return local.open(path, this.place ? flags | constants.O_NOFOLLOW : flags);
  }

  /** A file without a name can be reached as long as it is open. */
  #pathOrProc(): string {
    const [fd] = this.#descriptors?.keys() ?? [];
    return !this.place && fd !== undefined ? `/proc/self/fd/${fd}` : this.path;
  }
}

function isWriting(access: Access): boolean {
  return access !== 'read';
}

class OpenStagedFile implements OpenFile {
  readonly changes?: OpenFileChanges;
  readonly #node: StagedFile;
  readonly #fd: number;
  readonly #libc: Libc | undefined;
  /** Calls that use the descriptor: a reader that gave up does not stop its own. */
  #busy = 0;
  #isClosed = false;

  constructor(tree: StagingTree, node: StagedFile, fd: number, access: Access) {
    this.#node = node;
    this.#fd = fd;
    this.#libc = tree.libc;
    if (!isWriting(access)) return;
    this.changes = {
      write: async (offset, data) => {
        const end = offset + data.length;
        await this.#orLost(this.#use(local.write(fd, offset, data)));
        node.wrote(end);
      },
      allocate: async (offset, length, how) => {
        if (!tree.libc) throw new FsError('ENOTSUP', 'fallocate needs the package koffi');
        await this.#use(tree.libc.allocate(fd, offset, length, how));
      },
    };
  }

  async read<T>(
    offset: number,
    length: number,
    _: AbortSignal,
    use: (parts: readonly Uint8Array[]) => T,
  ): Promise<T> {
    return use([await this.#use(local.read(this.#fd, offset, length))]);
  }

  async seek(offset: number, to: 'data' | 'hole'): Promise<number | undefined> {
    return this.#libc && this.#use(this.#libc.seek(this.#fd, offset, to));
  }

  async sync(dataOnly: boolean): Promise<void> {
    await this.#orLost(this.#use(local.sync(this.#fd, dataOnly)));
  }

  async flush(): Promise<void> {
    await this.#orLost(this.#use(local.flush(this.#fd, this.#libc)));
  }

  close(): void {
    this.#isClosed = true;
    this.#closeIfIdle();
  }

  async #use<T>(work: Promise<T>): Promise<T> {
    this.#busy += 1;
    try {
      return await work;
    } finally {
      this.#busy -= 1;
      this.#node.changed();
      this.#closeIfIdle();
    }
  }

  #closeIfIdle(): void {
    if (!this.#isClosed || this.#busy > 0) return;
    this.#node.close(this.#fd);
  }

  /** Awaits what leaves the file in doubt if it fails. */
  async #orLost(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      await this.#node.lost(error);
      throw error;
    }
  }
}
