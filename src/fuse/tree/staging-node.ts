import type { BigIntStats } from 'node:fs';
import { FsError } from '../../errors.ts';
import type { NanosecondTime, Target } from '../staging/libc.ts';
import * as local from '../staging/local-files.ts';
import { pace } from '../staging/pace.ts';
import type { AttributeChanges, NodeChanges } from './changes.ts';
import { localInode, type LocalInode } from './inode-numbers.ts';
import { timestampOf } from './staging-attributes.ts';
import type { Attributes, SpecialKind, SpecialNode, SymlinkNode, Timestamp, Xattrs } from './node.ts';
import { attributesOf } from './staging-attributes.ts';
import type { StagedDirectory } from './staging-directory.ts';
import type { StagedFolder } from './staging-folder.ts';
import { FurtherPlaces, type Place } from './staging-names.ts';
import type { StagedNode, StagingTree } from './staging-tree.ts';

const XATTR_PREFIX = 'user.';
/** What chown(2) takes for what is to stay. */
const UNCHANGED = -1;

/**
 * A file, directory or symbolic link of a staged folder: one of the local disk, by its inode. All changes to it come
 * through here, so what was learned of it stays true until one is made; after that the local file system is asked again
 * when somebody wants to know.
 *
 * The kernel may remember millions of them. So a node that is only remembered is small: where it is, and nothing that
 * the local file system can tell again.
 */
export abstract class StagedBase implements NodeChanges {
  abstract readonly kind: StagedNode['kind'];
  readonly inode: LocalInode;
  protected readonly tree: StagingTree;
  // The first of its places, which for most nodes is the only one.
  #directory: StagedDirectory | undefined;
  #name: string;
  #others: FurtherPlaces | undefined;
  /** What was seen last; undefined when that was long ago. Of what has no place any more nothing else is known. */
  #attributes: Attributes | undefined;
  #isOutdated = false;
  #remembered = 0;

  constructor(tree: StagingTree, stat: BigIntStats, place?: Place) {
    this.tree = tree;
    this.inode = localInode(stat.ino);
    this.#directory = place?.directory;
    this.#name = place?.name ?? '';
    this.saw(stat);
  }

  /** Nobody else changes it. */
  get lifetime(): 'forever' {
    return 'forever';
  }

  get isLocal(): true {
    return true;
  }

  get ino(): bigint {
    return BigInt(this.inode);
  }

  get changes(): NodeChanges {
    return this;
  }

  get xattrs(): Xattrs {
    const { lock, libc } = this.tree;
    return {
      get: async (name) => lock.shared(async () => libc?.getXattr(this.onDisk(), name)),
      keys: async () =>
        lock.shared(async () => {
          const names = (await libc?.listXattrs(this.onDisk())) ?? [];
          return names.filter((name) => name.startsWith(XATTR_PREFIX));
        }),
    };
  }

  /** One of its names; undefined when it has none. */
  get place(): Place | undefined {
    return this.#directory && { directory: this.#directory, name: this.#name };
  }

  /** The names that it is known to have; there may be others that nobody has asked for. */
  get places(): readonly Place[] {
    return [...(this.place ? [this.place] : []), ...(this.#others?.all ?? [])];
  }

  /** Whether its last name was removed. */
  get isGone(): boolean {
    return !this.#directory && this.#attributes?.nlink === 0;
  }

  /** The staged folder that it belongs to; undefined when it has no name any more. */
  get folder(): StagedFolder | undefined {
    let at = this.#directory;
    while (at && !at.top) at = at.parent;
    return at?.top;
  }

  /** The directory that its name is in, or one of its names. */
  get parent(): StagedDirectory | undefined {
    return this.#directory;
  }

  get name(): string {
    return this.#name;
  }

  /**
   * Its path on the local disk, true for as long as a share of the path lock is held.
   *
   * @throws FsError ENOENT when it has no name any more, ESTALE when its folder was removed
   */
  get path(): string {
    if (!this.#directory) throw new FsError('ENOENT', 'a file that was removed');
    return this.#directory.pathOf(this.#name);
  }

  /** @throws FsError EBUSY while its folder is being frozen */
  requireUnsealed(): void {
    this.folder?.requireUnsealed();
    for (const directory of this.#others?.directories ?? []) directory.folder?.requireUnsealed();
  }

  /** Gives it a further name on the local disk. */
  async linkTo(path: string): Promise<void> {
    await local.link(this.path, path);
  }

  /** It has this name. */
  gain(place: Place): void {
    if (!this.#directory) {
      this.#directory = place.directory;
      this.#name = place.name;
    } else if (!this.#isFirst(place)) {
      this.#others ??= new FurtherPlaces();
      this.#others.add(place);
    }
  }

  /** It has this name no more. */
  lose(place: Place): void {
    if (this.#isFirst(place)) {
      const next = this.#others?.take();
      this.#directory = next?.directory;
      this.#name = next?.name ?? '';
    } else this.#others?.delete(place);
    if (this.#others?.all.length === 0) this.#others = undefined;
    this.changed();
  }

  /** It has no name any more. */
  protected loseAll(): void {
    this.#others = undefined;
    this.#directory = undefined;
    this.#name = '';
    this.changed();
  }

  #isFirst({ directory, name }: Place): boolean {
    return this.#directory === directory && this.#name === name;
  }

  /**
   * One of its names was removed.
   *
   * @param before what it was before that
   */
  unlinked(place: Place, before: BigIntStats): void {
    this.lose(place);
    if (this.kind !== 'directory' && before.nlink > 1n) return;
    this.#attributes = { ...this.#attributesOf(before), nlink: 0 };
    this.#isOutdated = false;
    this.tree.drop(this.#self);
  }

  get remembered(): number {
    return this.#remembered;
  }

  /** While it is remembered it has to be found again. */
  set remembered(number: number) {
    this.#remembered = number;
    this.tree.hold(this.#self, number !== 0);
  }

  /** What to do something to: its path, or where there is one an open descriptor. */
  protected onDisk(_forWriting = false): Target {
    return this.path;
  }

  protected async truncate(size: number): Promise<void> {
    await local.truncate(this.onDisk(true), size);
  }

  /**
   * Where the local file system is slow, what was seen last is given until somebody has {@link look looked}: nobody else
   * is served while this thread waits.
   *
   * @throws FsError what the local file system says of a node that was not looked at for long
   */
  attributes(): Attributes {
    const isGood = !this.#isOutdated || !pace.isQuick;
    return this.#attributes && isGood ? this.#attributes : this.#look();
  }

  /** @throws FsError as {@link attributes} */
  look(): Promise<void> | undefined {
    if (!this.hasToLook) return undefined;
    return this.tree.lock.shared(async () => this.#lookLater());
  }

  /**
   * Its attributes are these.
   *
   * @param isCurrent whether nothing can have changed since; default: yes
   */
  saw(stat: BigIntStats, isCurrent = true): Attributes {
    const isNews = this.#attributes === undefined;
    this.#attributes = this.#attributesOf(stat);
    this.#isOutdated = !isCurrent;
    if (isNews) this.tree.looked.add(this);
    return this.#attributes;
  }

  /** Whether the local file system has to be asked for its attributes. */
  get hasToLook(): boolean {
    return this.#attributes === undefined || this.#isOutdated;
  }

  /** The local file system can tell them again. */
  forgetAttributes(): void {
    if (this.folder?.isThere === true) this.#attributes = undefined;
  }

  async birthTime(): Promise<Timestamp | undefined> {
    return this.tree.lock.shared(async () => {
      let stat: BigIntStats;
      try {
        stat = await local.stat(this.onDisk());
      } catch {
        // It has no name any more.
        return undefined;
      }
      return stat.birthtimeNs > 0n ? timestampOf(stat.birthtimeNs) : undefined;
    });
  }

  /** Something was done that may have changed its attributes. */
  changed(): void {
    this.#isOutdated = true;
    this.tree.changes += 1;
  }

  async setAttributes(changes: AttributeChanges): Promise<void> {
    await this.#change(async () => this.#setAttributes(changes));
  }

  async setXattr(name: string, value: Uint8Array, must?: 'create' | 'replace'): Promise<void> {
    await this.#change(async () => {
      if (!this.tree.libc) throw new FsError('ENOTSUP', 'extended attributes need the package koffi');
      await this.tree.libc.setXattr(this.onDisk(), name, value, must);
    });
  }

  async removeXattr(name: string): Promise<void> {
    await this.#change(async () => {
      if (!this.tree.libc) throw new FsError('ENODATA', `no extended attribute ${name}`);
      await this.tree.libc.removeXattr(this.onDisk(), name);
    });
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
    if (this.hasToLook && !pace.isQuick) await this.#lookLater();
    const { atime: oldAtime, mtime: oldMtime } = this.attributes();
    return local.setTimes(this.onDisk(), secondsOf(atime ?? oldAtime), secondsOf(mtime ?? oldMtime));
  }

  /** Asks the local file system. What it no longer has keeps the attributes that it had, if these are known. */
  #look(): Attributes {
    const known = this.#attributes;
    try {
      const stat = local.statNow(this.onDisk());
      if (localInode(stat.ino) === this.inode) return this.saw(stat);
    } catch (error) {
      if (!known) throw error;
    }
    if (!known) throw new FsError('ESTALE', 'another file has its name');
    return known;
  }

  /** The same, on a thread of the pool where that is better. A share of the path lock is held. */
  async #lookLater(): Promise<void> {
    const { changes } = this.tree;
    try {
      const stat = await local.stat(this.onDisk());
      if (localInode(stat.ino) === this.inode) this.saw(stat, changes === this.tree.changes);
    } catch (error) {
      if (!this.#attributes) throw error;
    }
    if (!this.#attributes) throw new FsError('ESTALE', 'another file has its name');
  }

  #attributesOf(stat: BigIntStats): Attributes {
    return attributesOf(stat, this.tree.shownInode(this.inode));
  }

  /** It is one of these; TypeScript knows no sealed classes. */
  get #self(): StagedNode {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that extend it
    return this as unknown as StagedNode;
  }
}

export class StagedSymlink extends StagedBase implements SymlinkNode {
  readonly target: string | Uint8Array;

  constructor(tree: StagingTree, stat: BigIntStats, place: Place, target: string | Uint8Array) {
    super(tree, stat, place);
    this.target = target;
  }

  get kind(): 'symlink' {
    return 'symlink';
  }
}

/** A named pipe or a socket. */
export class StagedSpecial extends StagedBase implements SpecialNode {
  readonly #kind: SpecialKind;

  constructor(tree: StagingTree, stat: BigIntStats, place: Place, kind: SpecialKind) {
    super(tree, stat, place);
    this.#kind = kind;
  }

  get kind(): SpecialKind {
    return this.#kind;
  }
}

function secondsOf(time: Timestamp | 'now'): number {
  return time === 'now' ? Date.now() / 1000 : time.seconds + time.nanoseconds / 1e9;
}
