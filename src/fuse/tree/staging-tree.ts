import type { BigIntStats } from 'node:fs';
import { messageOf } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import type { Area } from '../staging/area.ts';
import type { FailedFiles } from '../staging/failed-files.ts';
import type { Libc } from '../staging/libc.ts';
import * as local from '../staging/local-files.ts';
import { PathLock } from '../staging/path-lock.ts';
import type { RenameMode } from './changes.ts';
import { localInode, type LocalInode, LocalInodeNumbers } from './inode-numbers.ts';
import { LocalNodes } from './local-nodes.ts';
import type { DirectoryNode, SpecialKind } from './node.ts';
import { kindOf, RecentlyLooked } from './staging-attributes.ts';
import { StagedDirectory } from './staging-directory.ts';
import { StagedFile } from './staging-file.ts';
import type { StagedFolder } from './staging-folder.ts';
import type { Place } from './staging-names.ts';
import { type StagedBase, StagedSpecial, StagedSymlink } from './staging-node.ts';
import { StagedPaths } from './staging-paths.ts';

export type StagedNode = StagedDirectory | StagedFile | StagedSymlink | StagedSpecial;

/** The directory of all staged folders, as those below it need it. */
export interface StagingTop {
  readonly directory: DirectoryNode;
  /** Makes a directory that is in a folder a folder of its own. The path lock is held alone. */
  take(directory: Place, name: string, mode: RenameMode): Promise<void>;
}

/** What the nodes of one staging area share: above all which of them there are. */
export class StagingTree {
  /** Set once, by it. */
  top: StagingTop | undefined;
  readonly lock = new PathLock();
  readonly libc: Libc | undefined;
  /** Hears of files that were used and that nobody has open for writing, by their path on the local disk. */
  readonly onSettled: (path: string) => void;
  /** Files that are open for writing. */
  readonly writers = new Set<StagedFile>();
  /** Bytes that these, and those that are being closed, have at least on disk, as far as programs were told. */
  readonly sizes = new Map<StagedFile, number>();
  /** Files that were made without a name, and where they may get one. */
  readonly temporaries = new WeakMap<StagedBase, StagedFolder>();
  /** Files that failed to be written. */
  readonly failedFiles: FailedFiles;
  readonly #closing = new Set<Promise<void>>();
  readonly looked = new RecentlyLooked();
  /** Good for as long as the lock is held. */
  readonly paths = new StagedPaths(this.lock, (error) => this.failed(error));
  /** How often anything has changed: what is seen of a node is true if that has not grown since it was asked for. */
  changes = 0;
  readonly #bucket: string;
  readonly #log: Logger;
  readonly #inodes: LocalInodeNumbers;
  /** By the local inode, which is one for all names of a file. */
  readonly #nodes = new LocalNodes<StagedNode>();

  constructor(
    bucket: string,
    { libc, failed }: Pick<Area, 'libc' | 'failed'>,
    log: Logger,
    onSettled: (path: string) => void,
  ) {
    this.#bucket = bucket;
    this.#inodes = new LocalInodeNumbers(bucket);
    this.libc = libc;
    this.failedFiles = failed;
    this.onSettled = onSettled;
    this.#log = log;
  }

  /** Something went wrong that nobody can be told of any more. */
  failed(error: unknown, path?: string): void {
    this.#log.error(
      { bucket: this.#bucket, path, error: messageOf(error) },
      'the local disk failed a staged file',
    );
  }

  /** Takes the end of a file that is being closed, which never rejects. */
  closing(end: Promise<void>): void {
    this.#closing.add(end);
    void end.finally(() => this.#closing.delete(end));
  }

  /** Resolves when all files that nobody has open any more are closed on the local disk, too. */
  async closed(): Promise<void> {
    await Promise.all(this.#closing);
  }

  /** The inode number that is shown for a local one. */
  shownInode(inode: LocalInode): number {
    return this.#inodes.of(inode);
  }

  /** The node of what is in a place, the one there is already if it is known; undefined where there is none. */
  async find(place: Place): Promise<StagedNode | undefined> {
    const path = place.directory.pathOf(place.name);
    const { changes } = this;
    const stat = await local.lstat(path);
    if (!stat) return undefined;
    const known = this.#known(stat, place);
    // What has changed meanwhile is another one than it was seen.
    if (known?.hasToLook === true) known.saw(stat, changes === this.changes);
    if (known || !stat.isSymbolicLink()) return known ?? this.#make(stat, place);
    const target = await local.readlink(path);
    return this.#known(stat, place) ?? this.#add(new StagedSymlink(this, stat, place, target));
  }

  /** The node of what was made in a place. Whatever had its inode before is gone. */
  madeFile(stat: BigIntStats, place: Place): StagedFile {
    return this.#add(new StagedFile(this, stat, place));
  }

  /** A file without a name, which may get one in the folder. */
  madeTemporary(stat: BigIntStats, folder: StagedFolder | undefined): StagedFile {
    const node = this.#add(new StagedFile(this, stat));
    if (folder) this.temporaries.set(node, folder);
    return node;
  }

  madeDirectory(stat: BigIntStats, place: Place): StagedDirectory {
    return this.#add(new StagedDirectory(this, stat, place));
  }

  madeSymlink(stat: BigIntStats, place: Place, target: string | Uint8Array): StagedSymlink {
    return this.#add(new StagedSymlink(this, stat, place, target));
  }

  madeSpecial(stat: BigIntStats, place: Place, kind: SpecialKind): StagedSpecial {
    return this.#add(new StagedSpecial(this, stat, place, kind));
  }

  /** The directory of a staged folder that was made, which is in no other one. */
  madeFolder(stat: BigIntStats, folder: StagedFolder): StagedDirectory {
    const node = this.#add(new StagedDirectory(this, stat));
    node.become(folder);
    return node;
  }

  /** The directory of a staged folder that was there before. */
  folderDirectory(stat: BigIntStats, folder: StagedFolder): StagedDirectory {
    const known = this.peek(stat);
    if (!(known instanceof StagedDirectory)) return this.madeFolder(stat, folder);
    known.become(folder);
    return known;
  }

  /** The node of a local file or directory, if it is known. */
  peek(stat: BigIntStats): StagedNode | undefined {
    return this.#nodes.get(localInode(stat.ino));
  }

  /**
   * A name of something was removed.
   *
   * @param before what it was before that
   */
  async unlinked(before: BigIntStats, place: Place): Promise<void> {
    this.peek(before)?.unlinked(place, before);
    if (before.nlink === 1n) await this.failedFiles.delete(before.ino);
  }

  /** Its last name is gone, and the local file system may use the inode again. */
  drop(node: StagedNode): void {
    this.#nodes.delete(node);
  }

  /** Whether to hold a node: whoever needs one that is not remembered holds it. */
  hold(node: StagedNode, isHeld: boolean): void {
    this.#nodes.hold(node, isHeld);
  }

  #known(stat: BigIntStats, place: Place): StagedNode | undefined {
    const node = this.peek(stat);
    if (node === undefined || node.kind !== kindOf(stat)) return undefined;
    node.gain(place);
    return node;
  }

  #make(stat: BigIntStats, place: Place): StagedNode | undefined {
    const kind = kindOf(stat);
    switch (kind) {
      case 'directory':
        return this.madeDirectory(stat, place);
      case 'file':
        return this.madeFile(stat, place);
      case 'fifo':
      case 'socket':
        return this.madeSpecial(stat, place, kind);
      case 'symlink':
      case undefined:
      default:
        return undefined;
    }
  }

  #add<T extends StagedNode>(node: T): T {
    this.#nodes.add(node);
    return node;
  }
}
