import type { BigIntStats } from 'node:fs';
import { messageOf } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import type { Area } from '../staging/area.ts';
import type { FailedFiles } from '../staging/failed-files.ts';
import type { Libc } from '../staging/libc.ts';
import * as local from '../staging/local-files.ts';
import { PathLock } from '../staging/path-lock.ts';
import type { RenameMode } from './changes.ts';
import { inodeNumber } from './inode-numbers.ts';
import type { DirectoryNode, SpecialKind } from './node.ts';
import { StagedDirectory } from './staging-directory.ts';
import { StagedFile } from './staging-file.ts';
import type { StagedFolder } from './staging-folder.ts';
import { type Place, StagedSpecial, StagedSymlink } from './staging-node.ts';

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
  /** Files that failed to be written. */
  readonly failedFiles: FailedFiles;
  readonly #closing = new Set<Promise<void>>();
  readonly #bucket: string;
  readonly #log: Logger;
  /** By the local inode, which is one for all names of a file. Whoever needs a node holds it. */
  readonly #nodes = new Map<bigint, WeakRef<StagedNode>>();
  readonly #collected = new FinalizationRegistry<bigint>((ino) => {
    if (this.#nodes.get(ino)?.deref() === undefined) this.#nodes.delete(ino);
  });

  constructor(
    bucket: string,
    { libc, failed }: Pick<Area, 'libc' | 'failed'>,
    log: Logger,
    onSettled: (path: string) => void,
  ) {
    this.#bucket = bucket;
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
  inodeNumber(ino: bigint): number {
    return inodeNumber('staging', this.#bucket, String(ino));
  }

  /** The node of what was found in a place: the one there is already, if it is known. */
  async found(stat: BigIntStats, place: Place): Promise<StagedNode | undefined> {
    if (!stat.isSymbolicLink()) return this.#known(stat, place) ?? this.#make(stat, place);
    const known = this.#known(stat, place);
    if (known) return known;
    const target = await local.readlink(place.directory.pathOf(place.name));
    return this.#known(stat, place) ?? this.#add(stat, new StagedSymlink(this, stat, place, target));
  }

  /** The node of what was made in a place. Whatever had its inode before is gone. */
  madeFile(stat: BigIntStats, place: Place): StagedFile {
    return this.#add(stat, new StagedFile(this, stat, place));
  }

  madeDirectory(stat: BigIntStats, place: Place): StagedDirectory {
    return this.#add(stat, new StagedDirectory(this, stat, place));
  }

  madeSymlink(stat: BigIntStats, place: Place, target: string): StagedSymlink {
    return this.#add(stat, new StagedSymlink(this, stat, place, target));
  }

  madeSpecial(stat: BigIntStats, place: Place, kind: SpecialKind): StagedSpecial {
    return this.#add(stat, new StagedSpecial(this, stat, place, kind));
  }

  /** The directory of a staged folder that was made, which is in no other one. */
  madeFolder(stat: BigIntStats, folder: StagedFolder): StagedDirectory {
    const node = this.#add(stat, new StagedDirectory(this, stat));
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
    return this.#nodes.get(stat.ino)?.deref();
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
  drop(node: { readonly ino: bigint }): void {
    if (this.#nodes.get(node.ino)?.deref() === node) this.#nodes.delete(node.ino);
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

  #add<T extends StagedNode>(stat: BigIntStats, node: T): T {
    this.#nodes.set(stat.ino, new WeakRef<StagedNode>(node));
    this.#collected.register(node, stat.ino);
    return node;
  }
}

/** Undefined for what nobody can have made here: devices. */
function kindOf(stat: BigIntStats): StagedNode['kind'] | undefined {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  if (stat.isSymbolicLink()) return 'symlink';
  if (stat.isFIFO()) return 'fifo';
  return stat.isSocket() ? 'socket' : undefined;
}
