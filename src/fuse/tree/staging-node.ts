import type { BigIntStats } from 'node:fs';
import { FsError } from '../../errors.ts';
import type { NanosecondTime, Target } from '../staging/libc.ts';
import * as local from '../staging/local-files.ts';
import type { AttributeChanges, NodeChanges } from './changes.ts';
import type { Attributes, SpecialKind, SpecialNode, SymlinkNode, Timestamp, Xattrs } from './node.ts';
import type { StagedDirectory } from './staging-directory.ts';
import type { StagedFolder } from './staging-folder.ts';
import type { StagedNode, StagingTree } from './staging-tree.ts';

/** A name in a directory. */
export interface Place {
  readonly directory: StagedDirectory;
  readonly name: string;
}

const PERMISSIONS = 0o7777;
const XATTR_PREFIX = 'user.';
/** What chown(2) takes for what is to stay. */
const UNCHANGED = -1;
const NANOSECONDS = 1_000_000_000n;

/**
 * A file, directory or symbolic link of a staged folder: one of the local disk, by its inode. All changes to it come
 * through here, so what was learned of it stays true until one is made; after that the local file system is asked again
 * when somebody wants to know.
 */
export abstract class StagedBase {
  abstract readonly kind: StagedNode['kind'];
  /** Nobody else changes it. */
  readonly lifetime = 'forever';
  readonly isLocal = true;
  readonly ino: bigint;
  readonly xattrs: Xattrs;
  protected readonly tree: StagingTree;
  readonly #places: Place[];
  #attributes: Attributes | undefined;
  #stat: BigIntStats;
  #isOutdated = false;

  constructor(tree: StagingTree, stat: BigIntStats, place?: Place) {
    this.tree = tree;
    this.ino = stat.ino;
    this.#stat = stat;
    this.#places = place ? [place] : [];
    this.xattrs = {
      get: async (name) => tree.lock.shared(async () => tree.libc?.getXattr(this.onDisk(), name)),
      keys: async () =>
        tree.lock.shared(async () => {
          const names = (await tree.libc?.listXattrs(this.onDisk())) ?? [];
          return names.filter((name) => name.startsWith(XATTR_PREFIX));
        }),
    };
  }

  /** The names that it is known to have; there may be others that nobody has asked for. */
  get places(): readonly Place[] {
    return this.#places;
  }

  /** The staged folder that it belongs to; undefined when it has no name any more. */
  get folder(): StagedFolder | undefined {
    return this.#places[0]?.directory.folder;
  }

  /**
   * Its path on the local disk, true for as long as a share of the path lock is held.
   *
   * @throws FsError ENOENT when it has no name any more, ESTALE when its folder was removed
   */
  get path(): string {
    const [place] = this.#places;
    if (!place) throw new FsError('ENOENT', 'a file that was removed');
    return place.directory.pathOf(place.name);
  }

  /** @throws FsError EBUSY while its folder is being frozen */
  requireUnsealed(): void {
    for (const { directory } of this.#places) directory.requireUnsealed();
  }

  /** It has this name. */
  gain(place: Place): void {
    if (!this.#places.some((known) => isSamePlace(known, place))) this.#places.push(place);
  }

  /** It has this name no more. */
  lose(place: Place): void {
    const index = this.#places.findIndex((known) => isSamePlace(known, place));
    if (index >= 0) this.#places.splice(index, 1);
    this.changed();
  }

  /**
   * One of its names was removed.
   *
   * @param before what it was before that
   */
  unlinked(place: Place, before: BigIntStats): void {
    this.lose(place);
    if (this.kind !== 'directory' && before.nlink > 1n) return;
    this.#stat = before;
    this.#attributes = { ...this.#attributesOf(before), nlink: 0 };
    this.tree.drop(this);
  }

  /** What to do something to: its path, or where there is one an open descriptor. */
  protected onDisk(_forWriting = false): Target {
    return this.path;
  }

  protected async truncate(size: number): Promise<void> {
    await local.truncate(this.onDisk(true), size);
  }

  attributes(): Attributes {
    if (this.#isOutdated) this.#look();
    this.#attributes ??= this.#attributesOf(this.#stat);
    return this.#attributes;
  }

  /** Something was done that may have changed its attributes. */
  changed(): void {
    this.#isOutdated = true;
  }

  protected nodeChanges(): NodeChanges {
    return {
      setAttributes: async (changes) => this.#change(async () => this.#setAttributes(changes)),
      setXattr: async (name, value, must) =>
        this.#change(async () => {
          if (!this.tree.libc) throw new FsError('ENOTSUP', 'extended attributes need the package koffi');
          await this.tree.libc.setXattr(this.onDisk(), name, value, must);
        }),
      removeXattr: async (name) =>
        this.#change(async () => {
          if (!this.tree.libc) throw new FsError('ENODATA', `no extended attribute ${name}`);
          await this.tree.libc.removeXattr(this.onDisk(), name);
        }),
    };
  }

  async #change(work: () => Promise<void>): Promise<void> {
    await this.tree.lock.shared(async () => {
      this.requireUnsealed();
      try {
        await work();
      } finally {
        this.changed();
      }
    });
  }

  async #setAttributes({ size, uid, gid, mode, atime, mtime }: AttributeChanges): Promise<void> {
    if (size !== undefined) await this.truncate(size);
    if (uid !== undefined || gid !== undefined) {
      await local.chown(this.onDisk(), uid ?? UNCHANGED, gid ?? UNCHANGED);
    }
    if (mode !== undefined) await local.chmod(this.onDisk(), mode);
    if (atime !== undefined || mtime !== undefined) await this.#setTimes(atime, mtime);
  }

  /** Without the system call, times are as exact as a double: to the microsecond. */
  async #setTimes(atime: Timestamp | 'now' | undefined, mtime: Timestamp | 'now' | undefined): Promise<void> {
    const { libc } = this.tree;
    if (libc) {
      const as = (time: typeof atime): NanosecondTime => time ?? 'as it is';
      return libc.setTimes(this.onDisk(), as(atime), as(mtime));
    }
    const { atime: oldAtime, mtime: oldMtime } = this.attributes();
    return local.setTimes(this.onDisk(), secondsOf(atime ?? oldAtime), secondsOf(mtime ?? oldMtime));
  }

  /** Asks the local file system. What it no longer has keeps the attributes that it had. */
  #look(): void {
    this.#isOutdated = false;
    let stat: BigIntStats;
    try {
      stat = local.statNow(this.onDisk());
    } catch {
      return;
    }
    if (stat.ino !== this.ino) return;
    this.#stat = stat;
    this.#attributes = undefined;
  }

  #attributesOf(stat: BigIntStats): Attributes {
    return {
      ino: this.tree.inodeNumber(this.ino),
      kind: this.kind,
      mode: Number(stat.mode) & PERMISSIONS,
      nlink: Number(stat.nlink),
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      size: Number(stat.size),
      blocks: Number(stat.blocks),
      atime: timestampOf(stat.atimeNs),
      mtime: timestampOf(stat.mtimeNs),
      ctime: timestampOf(stat.ctimeNs),
    };
  }
}

export class StagedSymlink extends StagedBase implements SymlinkNode {
  readonly kind = 'symlink';
  readonly target: string;
  readonly changes: NodeChanges = this.nodeChanges();

  constructor(tree: StagingTree, stat: BigIntStats, place: Place, target: string) {
    super(tree, stat, place);
    this.target = target;
  }
}

/** A named pipe or a socket. */
export class StagedSpecial extends StagedBase implements SpecialNode {
  readonly kind: SpecialKind;
  readonly changes: NodeChanges = this.nodeChanges();

  constructor(tree: StagingTree, stat: BigIntStats, place: Place, kind: SpecialKind) {
    super(tree, stat, place);
    this.kind = kind;
  }
}

export function isSamePlace(a: Place, b: Place): boolean {
  return a.directory === b.directory && a.name === b.name;
}

function secondsOf(time: Timestamp | 'now'): number {
  return time === 'now' ? Date.now() / 1000 : time.seconds + time.nanoseconds / 1e9;
}

/** Times before 1970 have a negative second and nanoseconds after it. */
export function timestampOf(nanoseconds: bigint): Timestamp {
  const rest = ((nanoseconds % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  return { seconds: Number((nanoseconds - rest) / NANOSECONDS), nanoseconds: Number(rest) };
}
