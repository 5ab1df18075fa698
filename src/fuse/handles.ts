import { FsError } from '../errors.ts';
import { HANDLES_MAX } from '../limits.ts';
import type { DirectoryEntries, DirectoryNode, FileNode, OpenFile } from './tree/node.ts';

export interface FileHandle {
  readonly kind: 'file';
  readonly node: FileNode;
  readonly file: OpenFile;
}

export interface DirectoryHandle {
  readonly kind: 'directory';
  readonly node: DirectoryNode;
  readonly entries: DirectoryEntries;
  /** The count of changes that the entries go back to, or an earlier one. */
  readonly version: number;
}

/** What stands behind the handles of open files and directories: numbers from 1 to 2^31 - 1, at most HANDLES_MAX. */
export class Handles {
  readonly #open = new Map<number, FileHandle | DirectoryHandle>();
  #last = 0;

  get size(): number {
    return this.#open.size;
  }

  /** @throws FsError EMFILE; a file is closed then */
  add(handle: FileHandle | DirectoryHandle): number {
    if (this.#open.size >= HANDLES_MAX) {
      if (handle.kind === 'file') handle.file.close();
      throw new FsError('EMFILE', `${HANDLES_MAX} files are open already`);
    }
    do {
      this.#last = this.#last === 0x7fffffff ? 1 : this.#last + 1;
    } while (this.#open.has(this.#last));
    this.#open.set(this.#last, handle);
    return this.#last;
  }

  /** @throws FsError EBADF */
  file(handle: number): FileHandle {
    const open = this.#open.get(handle);
    if (open?.kind !== 'file') throw new FsError('EBADF', 'not an open file');
    return open;
  }

  /** @throws FsError EBADF */
  directory(handle: number): DirectoryHandle {
    const open = this.#open.get(handle);
    if (open?.kind !== 'directory') throw new FsError('EBADF', 'not an open directory');
    return open;
  }

  /** Puts another listing behind the handle of a directory, unless it was closed meanwhile. */
  replace(handle: number, listing: DirectoryHandle): void {
    if (this.#open.get(handle)?.kind === 'directory') this.#open.set(handle, listing);
  }

  /** Closes a handle; an unknown one is ignored, as close must never fail. */
  release(handle: number): void {
    const open = this.#open.get(handle);
    this.#open.delete(handle);
    if (open?.kind === 'file') open.file.close();
  }

  releaseAll(): void {
    for (const handle of this.#open.keys()) this.release(handle);
  }
}
