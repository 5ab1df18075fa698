import { FsError, type FsErrorCode } from '../../errors.ts';
import type { StagedDirectory } from './staging-directory.ts';
import { relpathOf } from './staging-paths.ts';
import type { StagingTree } from './staging-tree.ts';

/** How folders are removed. */
export interface FolderRemoval {
  /** Called with the path lock held alone. */
  remove(folder: StagedFolder): Promise<void>;
}

/** A dataset that is being staged: open ⇄ sealed → removed. */
export class StagedFolder {
  /** Where its files are on the local disk: absolute and free of symbolic links, and never used for another folder. */
  readonly path: string;
  readonly #tree: StagingTree;
  readonly #removal: FolderRemoval;
  #name: string;
  #directory: StagedDirectory | undefined;
  #state: 'open' | 'sealed' | 'removed' | 'vanished' = 'open';

  constructor(tree: StagingTree, name: string, path: string, removal: FolderRemoval) {
    this.#tree = tree;
    this.#name = name;
    this.path = path;
    this.#removal = removal;
  }

  /** What it is called in the staging area. */
  get name(): string {
    return this.#name;
  }

  /** Whether it has not been removed. */
  get isThere(): boolean {
    return this.#state !== 'removed' && this.#state !== 'vanished';
  }

  /** Whether a program has removed it, empty, by rmdir(2). */
  get isRemoved(): boolean {
    return this.#state === 'vanished';
  }

  /** Paths below the folder of the files that are open for writing, each once. */
  writers(): readonly string[] {
    return [...this.#tree.writers].flatMap(({ places }) => {
      const place = places.find(({ directory }) => directory.folder === this);
      return place ? [relpathOf(place)] : [];
    });
  }

  /** Paths below the folder of the files that failed to be written and were not written anew, each with the error. */
  async failed(): Promise<ReadonlyMap<string, FsErrorCode>> {
    return this.#tree.lock.shared(async () => this.#tree.failedFiles.below(this.path));
  }

  /**
   * From now on nothing in it can be changed: who tries gets EBUSY. Resolves when the changes that are under way have
   * ended, and files that were closed are closed on the local disk.
   *
   * @throws FsError EBUSY when files are open for writing, with their names; ESTALE when it was removed
   */
  async seal(): Promise<void> {
    await this.#tree.lock.alone(async () => {
      this.requireThere();
      const writers = this.writers();
      if (writers.length > 0) throw new FsError('EBUSY', `open for writing: ${writers.join(', ')}`);
      this.#state = 'sealed';
    });
    await this.#tree.closed();
  }

  /** Lets it be changed again. */
  unseal(): void {
    if (this.#state === 'sealed') this.#state = 'open';
  }

  /** Removes it with all that is in it, for good: after a crash it is there as a whole, or gone. The kernel is told. */
  async remove(): Promise<void> {
    await this.#tree.lock.alone(async () => {
      if (!this.isThere) return;
      await this.#removal.remove(this);
      this.#state = 'removed';
    });
  }

  /** @throws FsError EBUSY, ESTALE */
  requireUnsealed(): void {
    this.requireThere();
    if (this.#state === 'sealed') throw new FsError('EBUSY', `${this.#name} is being frozen`);
  }

  /** @throws FsError ESTALE, upon which the kernel looks names up anew */
  requireThere(): void {
    if (!this.isThere) throw new FsError('ESTALE', `${this.#name} was removed`);
  }

  /** For the staging area: its name is another one now. */
  renamed(name: string): void {
    this.#name = name;
  }

  /** For the staging area: it is no folder any more. */
  vanished(): void {
    this.#state = 'vanished';
  }

  /** The directory that is shown of it. */
  get directory(): StagedDirectory {
    if (!this.#directory) throw new Error('a folder without its directory');
    return this.#directory;
  }

  set directory(directory: StagedDirectory) {
    this.#directory = directory;
  }
}
