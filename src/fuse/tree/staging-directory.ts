import { constants, type BigIntStats } from 'node:fs';
import { FsError } from '../../errors.ts';
import { exchange } from '../staging/area.ts';
import type { Target } from '../staging/libc.ts';
import * as local from '../staging/local-files.ts';
import type { DirectoryChanges, LinkableNode, Owner, RenameMode } from './changes.ts';
import type {
  Access,
  DirectoryEntry,
  DirectoryNode,
  FileNode,
  Node,
  OpenFile,
  SpecialKind,
  SpecialNode,
  SymlinkNode,
} from './node.ts';
import { OPEN_FLAGS } from './staging-file.ts';
import type { StagedFolder } from './staging-folder.ts';
import { StagedEntries } from './staging-entries.ts';
import type { Place } from './staging-names.ts';
import { StagedBase } from './staging-node.ts';
import type { StagedNode } from './staging-tree.ts';

/** As all architectures that Node runs on have it. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
const PERMISSIONS = 0o7777n;

/** A directory of a staged folder, or the folder itself. */
export class StagedDirectory extends StagedBase implements DirectoryNode, DirectoryChanges {
  /** The folder that it is the top of. */
  #top: StagedFolder | undefined;

  get kind(): 'directory' {
    return 'directory';
  }

  override get changes(): DirectoryChanges {
    return this;
  }

  /** The folder that it is the top of, if it is one. */
  get top(): StagedFolder | undefined {
    return this.#top;
  }

  override get folder(): StagedFolder | undefined {
    return this.#top ?? super.folder;
  }

  override get path(): string {
    return this.tree.paths.of(this);
  }

  override requireUnsealed(): void {
    if (this.#top) this.#top.requireUnsealed();
    else super.requireUnsealed();
  }

  /** It is the top of a folder now, and in no other directory. */
  become(folder: StagedFolder): void {
    this.loseAll();
    this.#top = folder;
  }

  /** It is in another directory now, and has only that name. */
  override gain(place: Place): void {
    const { directory, name } = this.place ?? {};
    if (directory === place.directory && name === place.name) return;
    this.#top = undefined;
    this.loseAll();
    super.gain(place);
  }

  pathOf(name: string): string {
    return `${this.path}/${name}`;
  }

  async lookup(name: string, _signal: AbortSignal): Promise<Node> {
    return this.tree.lock.shared(async () => {
      const entry = await this.#entry(name);
      if (!entry) throw new FsError('ENOENT', `no file, directory or symbolic link ${name}`);
      return entry.node;
    });
  }

  async list(_signal: AbortSignal): Promise<StagedEntries> {
    const { lock } = this.tree;
    // A directory that is open or somebody's working directory stays when it is removed.
    const isGone = this.#top ? this.#top.isRemoved : !this.place;
    const names = isGone ? [] : await lock.shared(async () => local.readdir(this.path));
    return new StagedEntries(
      names,
      async (name) => this.#entry(name),
      async (work) => lock.shared(work),
    );
  }

  /** Undefined when it has gone meanwhile, with the directory perhaps. */
  async #entry(name: string): Promise<DirectoryEntry | undefined> {
    const node = await this.tree.find({ directory: this, name });
    return node && { name, node, attributes: node.attributes() };
  }

  async create(
    name: string,
    mode: number,
    owner: Owner,
    access: Access,
  ): Promise<{ readonly node: FileNode; readonly file: OpenFile }> {
    const ours = writableMode(mode);
    return this.#make(name, async (place, path) => this.#create(place, path, { mode: ours, owner, access }));
  }

  async createTemporary(
    mode: number,
    owner: Owner,
    access: Access,
  ): Promise<{ readonly node: FileNode; readonly file: OpenFile }> {
    return this.tree.lock.shared(async () => {
      this.requireUnsealed();
      if (!this.tree.libc) throw new FsError('ENOTSUP', 'files without a name need the package koffi');
      const fd = await local.open(this.path, OPEN_FLAGS[access] | O_TMPFILE, mode);
      try {
        const node = this.tree.madeTemporary(await settle(fd, owner, mode), this.folder);
        return { node, file: node.opened(fd, access) };
      } catch (error) {
        await local.close(fd);
        throw error;
      }
    });
  }

  async makeDirectory(name: string, mode: number, owner: Owner): Promise<DirectoryNode> {
    const ours = writableMode(mode);
    return this.#make(name, async (place, path) => {
      await local.mkdir(path, ours);
      return this.tree.madeDirectory(await settle(path, owner, ours), place);
    });
  }

  async makeSymlink(name: string, target: string, owner: Owner): Promise<SymlinkNode> {
    return this.#make(name, async (place, path) => {
      await local.symlink(target, path);
      return this.tree.madeSymlink(await settle(path, owner), place, target);
    });
  }

  async makeSpecial(name: string, kind: SpecialKind, mode: number, owner: Owner): Promise<SpecialNode> {
    return this.#make(name, async (place, path) => {
      const { libc } = this.tree;
      if (!libc) throw new FsError('EPERM', 'pipes and sockets need the package koffi');
      await libc.makeSpecial(path, kind, mode);
      return this.tree.madeSpecial(await settle(path, owner, mode), place, kind);
    });
  }

  async unlink(name: string): Promise<void> {
    await this.#remove(name, async (path, stat) => {
      if (stat.isDirectory()) throw new FsError('EISDIR', `${name} is a directory`);
      await local.unlink(path, stat.size);
    });
  }

  async removeDirectory(name: string): Promise<void> {
    await this.#remove(name, async (path, stat) => {
      if (!stat.isDirectory()) throw new FsError('ENOTDIR', `${name} is no directory`);
      await local.rmdir(path);
    });
  }

  async rename(name: string, to: DirectoryNode, toName: string, mode: RenameMode): Promise<void> {
    await this.tree.lock.alone(async () => this.#rename(name, to, toName, mode));
  }

  async sync(): Promise<void> {
    const fd = await this.tree.lock.shared(async () =>
      local.open(this.path, constants.O_RDONLY | constants.O_DIRECTORY),
    );
    try {
      await local.sync(fd, false);
    } finally {
      await local.close(fd);
    }
  }

  async #make<T>(name: string, work: (place: Place, path: string) => Promise<T>): Promise<T> {
    return this.tree.lock.shared(async () => {
      this.requireUnsealed();
      try {
        return await work({ directory: this, name }, this.pathOf(name));
      } finally {
        this.changed();
      }
    });
  }

  async #create(
    place: Place,
    path: string,
    { mode, owner, access }: { readonly mode: number; readonly owner: Owner; readonly access: Access },
  ): Promise<{ readonly node: FileNode; readonly file: OpenFile }> {
    const flags = OPEN_FLAGS[access] | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const fd = await local.open(path, flags, mode);
    try {
      const stat = await settle(fd, owner, mode);
      // A mark is that of a file that was removed: the local file system uses inodes again.
      await this.tree.failedFiles.delete(stat.ino);
      const node = this.tree.madeFile(stat, place);
      return { node, file: node.opened(fd, access) };
    } catch (error) {
      await local.close(fd);
      throw error;
    }
  }

  async link(name: string, node: LinkableNode): Promise<void> {
    await this.#make(name, async (place, path) => {
      const home = node instanceof StagedBase && (node.folder ?? this.tree.temporaries.get(node));
      if (!home || home !== this.folder) {
        throw new FsError('EXDEV', 'the names of a file are all in one dataset');
      }
      await node.linkTo(path);
      node.gain(place);
      node.changed();
    });
  }

  async #remove(name: string, work: (path: string, stat: BigIntStats) => Promise<void>): Promise<void> {
    return this.tree.lock.alone(async () => {
      this.requireUnsealed();
      const path = this.pathOf(name);
      const stat = await local.stat(path);
      try {
        await work(path, stat);
      } finally {
        this.changed();
      }
      await this.tree.unlinked(stat, { directory: this, name });
    });
  }

  async #rename(name: string, to: DirectoryNode, toName: string, mode: RenameMode): Promise<void> {
    const from: Place = { directory: this, name };
    this.requireUnsealed();
    if (to === this.tree.top?.directory) return this.tree.top.take(from, toName, mode);
    if (!(to instanceof StagedDirectory) || to.tree !== this.tree) {
      throw new FsError(to.changes ? 'EXDEV' : 'EROFS', 'files are moved within the staging area only');
    }
    to.requireUnsealed();
    const stat = await local.stat(this.pathOf(name));
    if (!stat.isDirectory() && stat.nlink > 1n && to.folder !== this.folder) {
      throw new FsError('EXDEV', 'the names of a file are all in one dataset');
    }
    const place: Place = { directory: to, name: toName };
    try {
      if (mode === 'exchange') await this.#exchange(from, stat, place);
      else await this.#move(from, stat, place, mode);
    } finally {
      this.changed();
      to.changed();
    }
  }

  /**
   * Puts something in the place of what has a name, if anything has, as rename(2) does.
   *
   * @param put gets the path
   */
  async replaceBy(
    name: string,
    mode: 'replace' | 'no-replace',
    put: (path: string) => Promise<void>,
  ): Promise<void> {
    const path = this.pathOf(name);
    const taken = await local.lstat(path);
    if (taken && mode === 'no-replace') throw new FsError('EEXIST', `${name} is there already`);
    try {
      await put(path);
    } finally {
      this.changed();
    }
    if (taken) await this.tree.unlinked(taken, { directory: this, name });
  }

  async #move(from: Place, stat: BigIntStats, to: Place, mode: 'replace' | 'no-replace'): Promise<void> {
    const path = this.pathOf(from.name);
    // Two names of one file: rename(2) does nothing then.
    const there = mode === 'replace' ? await local.lstat(to.directory.pathOf(to.name)) : undefined;
    if (there?.ino === stat.ino) return;
    await to.directory.replaceBy(to.name, mode, async (toPath) => local.rename(path, toPath));
    moved(this.tree.peek(stat), from, to);
  }

  async #exchange(from: Place, stat: BigIntStats, to: Place): Promise<void> {
    const [path, toPath] = [this.pathOf(from.name), to.directory.pathOf(to.name)];
    const other = await local.stat(toPath);
    if (other.ino === stat.ino) return;
    await exchange(this.tree.libc, path, toPath);
    moved(this.tree.peek(stat), from, to);
    moved(this.tree.peek(other), to, from);
  }
}

function moved(node: StagedNode | undefined, from: Place, to: Place): void {
  node?.lose(from);
  node?.gain(to);
}

/** Permissions to read and to write. */
const OWNER_READS = 0o400;
const OWNER_WRITES = 0o200;
const ANYBODY_WRITES = 0o222;

/**
 * The mode of a file or directory that is made. What is made like something frozen (to be read by its owner, and written by
 * nobody) is a copy that is to be worked on: its owner may write to it. Modes that are set afterwards count as they are.
 */
export function writableMode(mode: number): number {
  const isLikeFrozen = (mode & ANYBODY_WRITES) === 0 && (mode & OWNER_READS) !== 0;
  return isLikeFrozen ? mode | OWNER_WRITES : mode;
}

/**
 * Gives something new the owner and mode that it is to have: the local file system has given it ours, less our umask.
 * A daemon that is not root can't give away files; what others make belongs to its user then.
 */
export async function settle(target: Target, owner: Owner, mode?: number): Promise<BigIntStats> {
  let stat = await local.stat(target);
  if (stat.uid !== BigInt(owner.uid) || stat.gid !== BigInt(owner.gid)) {
    await local.chown(target, owner.uid, owner.gid).catch((error: unknown) => {
      if (!(error instanceof FsError && error.code === 'EPERM')) throw error;
    });
    stat = await local.stat(target);
  }
  if (mode === undefined || (stat.mode & PERMISSIONS) === BigInt(mode)) return stat;
  await local.chmod(target, mode);
  return local.stat(target);
}
