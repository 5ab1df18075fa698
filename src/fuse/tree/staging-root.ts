import type { BigIntStats } from 'node:fs';
import { FsError, messageOf } from '../../errors.ts';
import type { Clock } from '../../clock.ts';
import { FREEZE_RENAME_WAIT_MS } from '../../limits.ts';
import type { Logger } from '../../log.ts';
import type { Area } from '../staging/area.ts';
import * as local from '../staging/local-files.ts';
import { pace } from '../staging/pace.ts';
import { readOnlyAttributes, type Ownership } from './attributes.ts';
import type { DirectoryChanges, RenameMode } from './changes.ts';
import { inodeNumber } from './inode-numbers.ts';
import type { Attributes, DirectoryEntries, DirectoryNode, Node, Timestamp } from './node.ts';
import { waitAtMost } from '../../wait-at-most.ts';
import { settle, StagedDirectory, writableMode } from './staging-directory.ts';
import { type FolderRemoval, StagedFolder } from './staging-folder.ts';
import { timestampOf } from './staging-attributes.ts';
import type { Place } from './staging-names.ts';
import { StagingTree, type StagingTop } from './staging-tree.ts';

export interface StagingRootOptions {
  readonly bucket: string;
  readonly ownership: Ownership;
  readonly clock: Clock;
  readonly log: Logger;
  /**
   * Makes a dataset of a folder, for a rename onto the bucket's root: resolves when it is committed and the folder removed.
   */
  readonly freeze: (folder: StagedFolder, name: string) => Promise<void>;
  /** Hears of files that were used and that nobody has open for writing, by their path on the local disk. */
  readonly onSettled: (path: string) => void;
  /** Hears that a folder is gone that was not removed through the mount. */
  readonly onRemoved: (folder: StagedFolder) => void;
  /** Hears that the kernel is about to take a folder for moved to the bucket's root, where a dataset is by now. */
  readonly onMoved: (name: string) => void;
}

const MODE = 0o755;
const FILES_REFUSED = 'only directories can be in staging/: each becomes a dataset';

/**
 * `staging/`: the directory of all folders that are being staged. A directory made here is a folder; nothing else can be
 * here.
 */
export class StagingRoot implements DirectoryNode, StagingTop, FolderRemoval {
  readonly kind = 'directory';
  readonly lifetime = 'forever';
  readonly isLocal = true;
  readonly changes: DirectoryChanges = {
    setAttributes: async () => notHere('the attributes of staging/ are fixed'),
    setXattr: async () => notHere('staging/ has no extended attributes'),
    removeXattr: async () => notHere('staging/ has no extended attributes'),
    create: async () => notHere(FILES_REFUSED),
    createTemporary: async () => notHere(FILES_REFUSED),
    makeSymlink: async () => notHere(FILES_REFUSED),
    makeSpecial: async () => notHere(FILES_REFUSED),
    link: async () => notHere(FILES_REFUSED),
    makeDirectory: async (name, mode, owner) =>
      this.#tree.lock.alone(async () => {
        if (this.#folders.has(name)) throw new FsError('EEXIST', `${name} is there already`);
        const ours = writableMode(mode);
        const path = await this.#area.make(name, ours);
        return this.#add(name, path, await settle(path, owner, ours), true).directory;
      }),
    unlink: async (name) => {
      this.#folder(name);
      throw new FsError('EISDIR', `${name} is a directory`);
    },
    removeDirectory: async (name) => this.#tree.lock.alone(async () => this.#removeEmpty(this.#folder(name))),
    rename: async (name, to, toName, mode, signal) => {
      if (to === this.#frozen) return this.#freeze(name, toName, mode, signal);
      return this.#tree.lock.alone(async () => this.#rename(name, to, toName, mode));
    },
    sync: async () => local.syncDirectory(this.#area.namesPath),
  };
  readonly #area: Area;
  readonly #tree: StagingTree;
  readonly #options: StagingRootOptions;
  readonly #folders = new Map<string, StagedFolder>();
  /** The directory where datasets are once they are frozen. */
  #frozen: DirectoryNode | undefined;
  #attributes: Attributes | undefined;
  /** How often its entries have changed, and how often they had when its attributes were seen. */
  #changes = 0;
  #seenChanges = -1;

  private constructor(area: Area, options: StagingRootOptions) {
    this.#area = area;
    this.#options = options;
    this.#tree = new StagingTree(options.bucket, area, options.log, options.onSettled);
    this.#tree.top = this;
  }

  /** Shows an area with the folders that are in it. */
  static async open(area: Area, options: StagingRootOptions): Promise<StagingRoot> {
    const root = new StagingRoot(area, options);
    for (const [name, path] of await area.folders()) root.#add(name, path, await local.stat(path));
    await root.#lookLater();
    return root;
  }

  get directory(): DirectoryNode {
    return this;
  }

  /** Resolves when all files that nobody has open any more are closed on the local disk, too. */
  async closed(): Promise<void> {
    await this.#tree.closed();
  }

  /** All that are being staged. */
  get folders(): readonly StagedFolder[] {
    return [...this.#folders.values()];
  }

  folder(name: string): StagedFolder | undefined {
    return this.#folders.get(name);
  }

  /** Tells where datasets are once they are frozen: who renames a folder into there freezes it. */
  freezesInto(directory: DirectoryNode): void {
    this.#frozen = directory;
  }

  attributes(): Attributes {
    const isGood = !this.#hasToLook || !pace.isQuick;
    return this.#attributes && isGood ? this.#attributes : this.#saw(local.statNow(this.#area.namesPath));
  }

  look(): Promise<void> | undefined {
    return this.#hasToLook && !pace.isQuick ? this.#lookLater() : undefined;
  }

  get #hasToLook(): boolean {
    return this.#changes !== this.#seenChanges;
  }

  async lookup(name: string): Promise<Node> {
    return this.#folder(name).directory;
  }

  async list(): Promise<DirectoryEntries> {
    return Array.from(this.#folders, ([name, { directory }]) => ({ name, node: directory }));
  }

  async remove(folder: StagedFolder): Promise<void> {
    await this.#area.remove(folder.name, folder.path);
    this.#drop(folder);
    this.#options.onRemoved(folder);
  }

  async take(from: Place, name: string, mode: RenameMode): Promise<void> {
    const path = from.directory.pathOf(from.name);
    const stat = await local.stat(path);
    if (!stat.isDirectory()) notHere(FILES_REFUSED);
    if (mode === 'exchange') throw new FsError('EXDEV', 'folders are exchanged with folders only');
    await this.#makeRoom(name, mode);
    const newPath = await this.#area.take(path, name);
    const folder = this.#add(name, newPath, await local.stat(newPath));
    from.directory.changed();
    // Known before, the directory has moved; else it was never asked for.
    folder.directory.changed();
  }

  /** @param stat of its directory */
  #add(name: string, path: string, stat: BigIntStats, isNew = false): StagedFolder {
    const folder = new StagedFolder(this.#tree, name, path, this);
    folder.directory = isNew ? this.#tree.madeFolder(stat, folder) : this.#tree.folderDirectory(stat, folder);
    this.#folders.set(name, folder);
    this.#changes += 1;
    return folder;
  }

  #drop(folder: StagedFolder): void {
    if (this.#folders.get(folder.name) === folder) this.#folders.delete(folder.name);
    this.#changes += 1;
  }

  /** @throws FsError ENOENT */
  #folder(name: string): StagedFolder {
    const folder = this.#folders.get(name);
    if (!folder) throw new FsError('ENOENT', `nothing called ${name} is being staged`);
    return folder;
  }

  async #removeEmpty(folder: StagedFolder): Promise<void> {
    folder.requireUnsealed();
    await this.#area.removeEmpty(folder.name, folder.path);
    folder.vanished();
    this.#drop(folder);
  }

  /** Removes what has a name that is needed, if rename(2) would. */
  async #makeRoom(name: string, mode: 'replace' | 'no-replace'): Promise<void> {
    const taken = this.#folders.get(name);
    if (!taken) return;
    if (mode === 'no-replace') throw new FsError('EEXIST', `${name} is there already`);
    await this.#removeEmpty(taken);
  }

  async #rename(name: string, to: DirectoryNode, toName: string, mode: RenameMode): Promise<void> {
    const folder = this.#folder(name);
    folder.requireUnsealed();
    if (to === this)
      return mode === 'exchange' ? this.#exchange(folder, toName) : this.#name(folder, toName, mode);
    if (!(to instanceof StagedDirectory) || to.folder === undefined || !this.#folders.has(to.folder.name)) {
      throw new FsError(to.changes ? 'EXDEV' : 'EROFS', 'folders are moved within the staging area only');
    }
    if (mode === 'exchange') throw new FsError('EXDEV', 'folders are exchanged with folders only');
    await this.#give(folder, { directory: to, name: toName }, mode);
  }

  async #name(folder: StagedFolder, name: string, mode: 'replace' | 'no-replace'): Promise<void> {
    await this.#makeRoom(name, mode);
    await this.#area.rename(folder.name, name);
    this.#drop(folder);
    folder.renamed(name);
    this.#folders.set(name, folder);
  }

  async #exchange(folder: StagedFolder, otherName: string): Promise<void> {
    const other = this.#folder(otherName);
    other.requireUnsealed();
    await this.#area.exchange(folder.name, otherName);
    other.renamed(folder.name);
    folder.renamed(otherName);
    for (const one of [folder, other]) this.#folders.set(one.name, one);
  }

  /** Moves a folder into another one, where it is a directory like any other. */
  async #give(folder: StagedFolder, to: Place, mode: 'replace' | 'no-replace'): Promise<void> {
    to.directory.requireUnsealed();
    await to.directory.replaceBy(to.name, mode, async (path) => {
      await this.#area.give(folder.name, folder.path, path);
    });
    this.#drop(folder);
    folder.directory.gain(to);
    folder.vanished();
  }

  /**
   * Freezes a folder and waits for it, but only so long: who interrupts, or has waited long enough, is told so, and the
   * freeze goes on. Until the answer the kernel lets nobody list the root.
   */
  async #freeze(name: string, toName: string, mode: RenameMode, signal: () => AbortSignal): Promise<void> {
    const folder = this.#folder(name);
    if (mode === 'exchange') throw new FsError('EINVAL', 'a frozen dataset can not be taken back');
    const { clock, log, freeze } = this.#options;
    const caller = signal();
    const taken = await this.#frozen?.lookup(toName, caller).catch((error: unknown) => {
      if (error instanceof FsError && error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (taken) throw new FsError('EEXIST', `there is a dataset ${toName} already`);
    const run: { end?: 'frozen' | FsError } = {};
    const freezing = async (): Promise<void> => {
      try {
        await freeze(folder, toName);
        run.end = 'frozen';
      } catch (error) {
        log.error({ folder: folder.name, name: toName, error: messageOf(error) }, 'a folder was not frozen');
        run.end = error instanceof FsError ? error : new FsError('EIO', messageOf(error), { cause: error });
      }
    };
    await waitAtMost(FREEZE_RENAME_WAIT_MS, freezing(), clock, caller);
    if (run.end === undefined) throw new FsError('EINPROGRESS', `${folder.name} is still being frozen`);
    if (run.end !== 'frozen') throw run.end;
    this.#options.onMoved(toName);
  }

  async #lookLater(): Promise<void> {
    const changes = this.#changes;
    this.#saw(await local.stat(this.#area.namesPath), changes);
  }

  /** @param changes when it was looked at */
  #saw({ mtimeNs }: BigIntStats, changes = this.#changes): Attributes {
    const { bucket, ownership } = this.#options;
    const time: Timestamp = timestampOf(mtimeNs);
    this.#seenChanges = changes;
    this.#attributes = {
      ...readOnlyAttributes('directory', ownership, inodeNumber('bucket', bucket, 'staging'), 0, time),
      mode: MODE & ~ownership.umask,
    };
    return this.#attributes;
  }
}

/** What is no folder has no place beside them. */
function notHere(reason: string): never {
  throw new FsError('EPERM', reason);
}
