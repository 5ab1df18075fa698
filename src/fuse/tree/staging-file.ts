import { constants } from 'node:fs';
import * as local from '../staging/local-files.ts';
import type { Target } from '../staging/libc.ts';
import type { NodeChanges, OpenFileChanges } from './changes.ts';
import type { Access, FileNode, OpenFile } from './node.ts';
import { StagedBase } from './staging-node.ts';
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
  readonly kind = 'file';
  readonly changes: NodeChanges = this.nodeChanges();
  readonly #descriptors = new Map<number, Access>();

  async open(_signal: AbortSignal, access: Access): Promise<OpenFile> {
    return this.tree.lock.shared(async () => {
      if (access !== 'read') this.requireUnsealed();
      return this.opened(await this.#open(OPEN_FLAGS[access]), access);
    });
  }

  /** Takes over a descriptor. */
  opened(fd: number, access: Access): OpenFile {
    this.#descriptors.set(fd, access);
    if (access !== 'read') this.tree.writers.add(this);
    return new OpenStagedFile(this.tree, this, fd, access);
  }

  /** A descriptor is about to be closed. */
  closed(fd: number): void {
    this.#descriptors.delete(fd);
    if ([...this.#descriptors.values()].some(isWriting)) return;
    if (this.tree.writers.delete(this)) this.#settled();
  }

  override changed(): void {
    super.changed();
    if (!this.tree.writers.has(this)) this.#settled();
  }

  /** Nobody has it open for writing any more. */
  #settled(): void {
    // What was removed has no path any more, and who still reads it goes on.
    if (this.folder?.isThere === true) this.tree.onSettled(this.path);
  }

  protected override onDisk(forWriting = false): Target {
    for (const [fd, access] of this.#descriptors) if (!forWriting || isWriting(access)) return fd;
    return this.#pathOrProc();
  }

  async #open(flags: number): Promise<number> {
    const path = this.#pathOrProc();
    return local.open(path, this.places.length > 0 ? flags | constants.O_NOFOLLOW : flags);
  }

  /** A file without a name can be reached as long as it is open. */
  #pathOrProc(): string {
    const [fd] = this.#descriptors.keys();
    return this.places.length === 0 && fd !== undefined ? `/proc/self/fd/${fd}` : this.path;
  }
}

function isWriting(access: Access): boolean {
  return access !== 'read';
}

class OpenStagedFile implements OpenFile {
  readonly changes?: OpenFileChanges;
  readonly #node: StagedFile;
  readonly #fd: number;
  /** Calls that use the descriptor: a reader that gave up does not stop its own. */
  #busy = 0;
  #isClosed = false;

  constructor(tree: StagingTree, node: StagedFile, fd: number, access: Access) {
    this.#node = node;
    this.#fd = fd;
    if (!isWriting(access)) return;
    this.changes = {
      write: async (offset, data) => this.#use(local.write(fd, offset, data)),
      sync: async (dataOnly) => this.#use(local.sync(fd, dataOnly)),
      allocate: async (offset, length, keepSize) => {
        if (!tree.libc) throw new FsError('ENOTSUP', 'reserving space needs the package koffi');
        await this.#use(tree.libc.allocate(fd, offset, length, keepSize));
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
    this.#node.closed(this.#fd);
    // Every write was answered for; what a late error of a network file system says, nobody is left to hear but the log.
    local.close(this.#fd).catch((error: unknown) => this.#node.failed(error));
  }
}
