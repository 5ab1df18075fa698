import { FsError } from '../errors.ts';
import { HANDLES_MAX } from '../limits.ts';
import { Shares } from './shares.ts';
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

/** An open file or directory, and which places it takes. */
interface Taken {
  readonly uid: number;
  readonly usesDescriptor: boolean;
  readonly what: FileHandle | DirectoryHandle;
}

export interface HandlesOptions {
  /** Descriptors of this process that open files may take; default: as many as there may be handles. */
  readonly descriptors?: number | undefined;
  /** Hears that a user has its share, once until it closes something. */
  readonly onRefused?: ((uid: number) => void) | undefined;
}

/**
 * What stands behind the handles of open files and directories: numbers from 1 to 2^31 - 1, at most HANDLES_MAX. One user
 * has at most half of the handles, and of the descriptors, that the others leave.
 */
export class Handles {
  readonly #open = new Map<number, Taken>();
  readonly #places = new Shares(HANDLES_MAX);
  readonly #descriptors: Shares;
  readonly #onRefused: (uid: number) => void;
  /** Users that were refused and have closed nothing since. */
  readonly #refused = new Set<number>();
  #last = 0;

  constructor({ descriptors = HANDLES_MAX, onRefused = () => {} }: HandlesOptions = {}) {
    this.#descriptors = new Shares(descriptors);
    this.#onRefused = onRefused;
  }

  get size(): number {
    return this.#open.size;
  }

  /**
   * Opens something for a user and gives it a handle.
   *
   * @param usesDescriptor whether it is a descriptor of this process
   * @throws FsError EMFILE where the user has its share, before anything is opened; what `open` throws
   */
  async open<T extends FileHandle | DirectoryHandle>(
    uid: number,
    usesDescriptor: boolean,
    open: () => Promise<T>,
  ): Promise<{ readonly handle: number; readonly opened: T }> {
    this.#take(uid, usesDescriptor);
    try {
      const opened = await open();
      do {
        this.#last = this.#last === 0x7fffffff ? 1 : this.#last + 1;
      } while (this.#open.has(this.#last));
      this.#open.set(this.#last, { uid, usesDescriptor, what: opened });
      return { handle: this.#last, opened };
    } catch (error) {
      this.#giveBack(uid, usesDescriptor);
      throw error;
    }
  }

  /** @throws FsError EBADF */
  file(handle: number): FileHandle {
    const open = this.#open.get(handle)?.what;
    if (open?.kind !== 'file') throw new FsError('EBADF', 'not an open file');
    return open;
  }

  /** @throws FsError EBADF */
  directory(handle: number): DirectoryHandle {
    const open = this.#open.get(handle)?.what;
    if (open?.kind !== 'directory') throw new FsError('EBADF', 'not an open directory');
    return open;
  }

  /** Puts another listing behind the handle of a directory, unless it was closed meanwhile. */
  replace(handle: number, listing: DirectoryHandle): void {
    const taken = this.#open.get(handle);
    if (taken?.what.kind === 'directory') this.#open.set(handle, { ...taken, what: listing });
  }

  /** Closes a handle; an unknown one is ignored, as close must never fail. */
  release(handle: number): void {
    const taken = this.#open.get(handle);
    if (taken === undefined) return;
    this.#open.delete(handle);
    this.#giveBack(taken.uid, taken.usesDescriptor);
    if (taken.what.kind === 'file') taken.what.file.close();
  }

  releaseAll(): void {
    for (const handle of this.#open.keys()) this.release(handle);
  }

  #take(uid: number, usesDescriptor: boolean): void {
    if (!this.#places.take(uid)) throw this.#refusal(uid);
    if (!usesDescriptor || this.#descriptors.take(uid)) return;
    this.#places.giveBack(uid);
    throw this.#refusal(uid);
  }

  #giveBack(uid: number, usesDescriptor: boolean): void {
    this.#refused.delete(uid);
    this.#places.giveBack(uid);
    if (usesDescriptor) this.#descriptors.giveBack(uid);
  }

  #refusal(uid: number): FsError {
    if (!this.#refused.has(uid)) this.#onRefused(uid);
    this.#refused.add(uid);
    return new FsError('EMFILE', `user ${uid} has as many files open as one user may have`);
  }
}
