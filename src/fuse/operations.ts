import { constants } from 'node:fs';
import { FsError } from '../errors.ts';
import { DirectoryVersions } from './directory-versions.ts';
import { type DirectoryHandle, type FileHandle, Handles, type HandlesOptions } from './handles.ts';
import { changesOf, directory, lookedAt, readOnly, tooLarge } from './requirements.ts';
import { accessOf, isWriting } from './open-flags.ts';
import { modeIn, ownerIn, withoutPrivileges } from './privileges.ts';
import { RequestCounters } from './request-counters.ts';
import type { Allocation, AttributeChanges, DirectoryChanges, Owner, RenameMode } from './tree/changes.ts';
import * as xattrs from './xattrs.ts';
import type { DirectoryEntries, DirectoryNode, Node, SpaceUsage, Tree } from './tree/node.ts';

const PERMISSIONS = 0o7777;

/**
 * What the kernel may ask, in terms of nodes: the part of every request that no transport has a say in. Rejects with
 * an FsError that `errno.ts` translates. Who would change what has no `changes` gets EROFS.
 *
 * Changes are not cancelled: whoever asked is told what became of them.
 */
export class Operations {
  readonly #tree: Tree;
  /** How long the kernel's requests take, as the transport counts them. */
  readonly requests = new RequestCounters();
  readonly #handles: Handles;
  readonly #versions = new DirectoryVersions();

  constructor(tree: Tree, handles: HandlesOptions = {}) {
    this.#tree = tree;
    this.#handles = new Handles(handles);
  }

  get root(): DirectoryNode {
    return this.#tree.root;
  }

  get openHandles(): number {
    return this.#handles.size;
  }

  async lookup(parent: Node, name: string, signal: AbortSignal): Promise<Node> {
    const node = await directory(parent).lookup(name, signal);
    await lookedAt(node);
    return node;
  }

  /**
   * Opens a file and returns its handle, a number from 1 to 2^31 - 1.
   *
   * @param flags of open(2); O_TRUNC is done here
   * @param uid who opens it, and has a share of what can be open
   * @param unprivileged as in {@link setAttributes}, for truncating
   */
  async open(
    node: Node,
    flags: number,
    signal: AbortSignal,
    uid: number,
    unprivileged?: Owner,
  ): Promise<number> {
    if (node.kind === 'directory') throw new FsError('EISDIR', 'is a directory');
    if (node.kind === 'symlink') throw new FsError('ELOOP', 'is a symbolic link');
    if (node.kind !== 'file') throw new FsError('ENXIO', 'the kernel opens pipes and sockets by itself');
    if (isWriting(flags)) changesOf(node);
    const { handle } = await this.#handles.open(
      uid,
      node.isLocal === true,
      async (): Promise<FileHandle> => ({
        kind: 'file',
        node,
        file: await node.open(signal, accessOf(flags)),
      }),
    );
    try {
      if ((flags & constants.O_TRUNC) !== 0) await this.setAttributes(node, { size: 0 }, unprivileged);
      return handle;
    } catch (error) {
      this.release(handle);
      throw error;
    }
  }

  /** As the `read` of an open file. */
  async read<T>(
    handle: number,
    offset: number,
    length: number,
    signal: AbortSignal,
    use: (parts: readonly Uint8Array[]) => T,
  ): Promise<T> {
    return this.#handles.file(handle).file.read(offset, length, signal, use);
  }

  /**
   * Writes all of `data`, which is free as soon as this returns its promise.
   *
   * @param unprivileged as in {@link setAttributes}
   */
  async write(handle: number, offset: number, data: Uint8Array, unprivileged?: Owner): Promise<void> {
    const { node, file } = this.#handles.file(handle);
    if (file.changes === undefined) throw readOnly();
    if (!Number.isSafeInteger(offset + data.length)) throw tooLarge();
    await file.changes.write(offset, data);
    if (unprivileged) await this.setAttributes(node, {}, unprivileged);
  }

  /**
   * As `OpenFileChanges.allocate`.
   *
   * @param unprivileged as in {@link setAttributes}
   */
  async allocate(
    handle: number,
    offset: number,
    length: number,
    how: Allocation,
    unprivileged?: Owner,
  ): Promise<void> {
    const { node, file } = this.#handles.file(handle);
    if (file.changes === undefined) throw readOnly();
    if (!Number.isSafeInteger(offset + length)) throw tooLarge();
    await file.changes.allocate(offset, length, how);
    if (unprivileged) await this.setAttributes(node, {}, unprivileged);
  }

  /**
   * Returns where from `offset` on the next data or hole of a file begins; its end counts as a hole.
   *
   * @throws FsError ENXIO where there is none
   */
  async seek(handle: number, offset: number, to: 'data' | 'hole'): Promise<number> {
    const { node, file } = this.#handles.file(handle);
    const { size } = node.attributes();
    // Also what no number holds.
    if (!(offset < size)) throw new FsError('ENXIO', 'nothing is there');
    // Whatever tells no holes is one piece of data.
    return (await file.seek?.(offset, to)) ?? (to === 'data' ? offset : size);
  }

  /** Puts a file on disk, whatever it is open for; what can't be changed is as durable as it gets. */
  async syncFile(handle: number, dataOnly: boolean): Promise<void> {
    await this.#handles.file(handle).file.sync?.(dataOnly);
  }

  /** Closes one descriptor of a handle, which stays open: see `OpenFile.flush`. */
  async flush(handle: number): Promise<void> {
    await this.#handles.file(handle).file.flush?.();
  }

  async syncDirectory(node: Node): Promise<void> {
    await directory(node).changes?.sync();
  }

  /**
   * Opens a directory: the handle stands for its entries as they were at that moment.
   *
   * @param uid see {@link open}
   */
  async openDirectory(node: Node, signal: AbortSignal, uid: number): Promise<number> {
    const { handle } = await this.#handles.open(uid, false, async () => this.#list(directory(node), signal));
    return handle;
  }

  entries(handle: number): DirectoryEntries {
    return this.#handles.directory(handle).entries;
  }

  /** Entries of an open directory, of which `at` has `count` from `from` on; see `DirectoryEntries.load`. */
  someEntries(handle: number, from: number, count: number): DirectoryEntries | Promise<DirectoryEntries> {
    const entries = this.entries(handle);
    return entries.load?.(from, count) ?? entries;
  }

  /** Whether every entry of an open directory still stands for what it did; entries can become outdated by changes. */
  isCurrent(handle: number): boolean {
    const { node, version } = this.#handles.directory(handle);
    return this.#versions.of(node) === version;
  }

  /** Makes an open directory stand for its entries as they are now: rewinddir(3). */
  async relist(handle: number, signal: AbortSignal): Promise<void> {
    const listed = await this.#list(this.#handles.directory(handle).node, signal);
    this.#handles.replace(handle, listed);
  }

  /** Closes a handle of either kind; an unknown one is ignored, as close must never fail. */
  release(handle: number): void {
    this.#handles.release(handle);
  }

  releaseAll(): void {
    this.#handles.releaseAll();
  }

  readlink(node: Node): string | Uint8Array {
    if (node.kind !== 'symlink') throw new FsError('EINVAL', 'not a symbolic link');
    return node.target;
  }

  /** @throws FsError EROFS: what access(2) says of writing where nothing can be changed */
  requireChangeable(node: Node): void {
    changesOf(node);
  }

  /**
   * @param unprivileged who changes a file and has not CAP_FSETID: takes set-user-id and set-group-id away, as changing
   *   its owner does; see inode(7) and FUSE_HANDLE_KILLPRIV_V2
   */
  async setAttributes(node: Node, changes: AttributeChanges, unprivileged?: Owner): Promise<void> {
    const nodeChanges = changesOf(node);
    if (changes.size !== undefined) {
      if (node.kind !== 'file') throw new FsError('EINVAL', 'only files have a size that can be set');
      if (!Number.isSafeInteger(changes.size)) throw tooLarge();
    }
    await lookedAt(node);
    const { mode, gid } = node.attributes();
    const drops = unprivileged !== undefined || changes.uid !== undefined || changes.gid !== undefined;
    const isForeign = unprivileged !== undefined && unprivileged.gid !== gid;
    const less = drops && node.kind === 'file' ? withoutPrivileges(mode, isForeign) : mode;
    const all = changes.mode === undefined && less !== mode ? { ...changes, mode: less } : changes;
    if (Object.keys(all).length === 0) return;
    await nodeChanges.setAttributes(all);
    await lookedAt(node);
  }

  /**
   * Makes a file and opens it. One that is there already is opened as it is, unless `flags` say O_EXCL.
   *
   * @param flags of open(2)
   * @param mode permission bits, less those of the caller's umask
   */
  async create(
    parent: Node,
    name: string,
    flags: number,
    mode: number,
    owner: Owner,
  ): Promise<{ readonly node: Node; readonly handle: number }> {
    try {
      const { handle, opened } = await this.#handles.open(
        owner.uid,
        parent.isLocal === true,
        async (): Promise<FileHandle> => {
          const made = await this.#change(parent, async (changes, to) =>
            changes.create(name, mode & PERMISSIONS, ownerIn(to, owner), accessOf(flags)),
          );
          return { kind: 'file', ...made };
        },
      );
      return { node: opened.node, handle };
    } catch (error) {
      const isThere = error instanceof FsError && error.code === 'EEXIST';
      if (!isThere || (flags & constants.O_EXCL) !== 0) throw error;
      const { signal } = new AbortController();
      const node = await this.lookup(parent, name, signal);
      return { node, handle: await this.open(node, flags, signal, owner.uid) };
    }
  }

  /**
   * Makes a file without a name and opens it: O_TMPFILE of open(2).
   *
   * @param flags of open(2)
   * @param mode as in {@link create}
   */
  async createTemporary(
    parent: Node,
    flags: number,
    mode: number,
    owner: Owner,
  ): Promise<{ readonly node: Node; readonly handle: number }> {
    const to = directory(parent);
    const changes = changesOf(to);
    const { handle, opened } = await this.#handles.open(
      owner.uid,
      to.isLocal === true,
      async (): Promise<FileHandle> => ({
        kind: 'file',
        ...(await changes.createTemporary(mode & PERMISSIONS, ownerIn(to, owner), accessOf(flags))),
      }),
    );
    return { node: opened.node, handle };
  }

  /**
   * Makes a regular file and leaves it closed, or a named pipe or a socket.
   *
   * @param mode type and permission bits
   * @throws FsError EPERM for devices, of which there are none here
   */
  async makeNode(parent: Node, name: string, mode: number, owner: Owner): Promise<Node> {
    const type = mode & constants.S_IFMT;
    if (type === constants.S_IFIFO || type === constants.S_IFSOCK) {
      const kind = type === constants.S_IFIFO ? 'fifo' : 'socket';
      return this.#change(parent, async (changes, to) =>
        changes.makeSpecial(name, kind, mode & PERMISSIONS, ownerIn(to, owner)),
      );
    }
    if (type !== constants.S_IFREG && type !== 0) {
      changesOf(directory(parent));
      throw new FsError('EPERM', 'devices can not be made here');
    }
    const { node, handle } = await this.create(parent, name, constants.O_EXCL, mode, owner);
    this.release(handle);
    return node;
  }

  async makeDirectory(parent: Node, name: string, mode: number, owner: Owner): Promise<Node> {
    return this.#change(parent, async (changes, to) => {
      return changes.makeDirectory(name, modeIn(to, mode & PERMISSIONS), ownerIn(to, owner));
    });
  }

  async makeSymlink(parent: Node, name: string, target: string | Uint8Array, owner: Owner): Promise<Node> {
    return this.#change(parent, async (changes, to) => changes.makeSymlink(name, target, ownerIn(to, owner)));
  }

  /** Gives something a further name. */
  async link(node: Node, parent: Node, name: string): Promise<void> {
    await this.#change(parent, async (changes) => {
      if (node.kind === 'directory') throw new FsError('EPERM', 'directories have one name');
      await changes.link(name, node);
    });
    await lookedAt(node);
  }

  async unlink(parent: Node, name: string): Promise<void> {
    await this.#change(parent, async (changes) => changes.unlink(name));
  }

  async removeDirectory(parent: Node, name: string): Promise<void> {
    await this.#change(parent, async (changes) => changes.removeDirectory(name));
  }

  /**
   * Renames; between parts of the tree that have nothing to do with each other it is EXDEV or EROFS, by the tree.
   *
   * @param signal see `DirectoryChanges.rename`
   */
  async rename(
    parent: Node,
    name: string,
    to: Node,
    toName: string,
    mode: RenameMode,
    signal: () => AbortSignal,
  ): Promise<void> {
    const target = directory(to);
    try {
      await this.#change(parent, async (changes) => changes.rename(name, target, toName, mode, signal));
    } finally {
      this.#versions.changed(target);
    }
  }

  async getxattr(node: Node, name: string): Promise<Uint8Array> {
    return xattrs.get(node, name);
  }

  async listxattr(node: Node): Promise<readonly string[]> {
    return [...((await node.xattrs?.keys()) ?? [])];
  }

  /** @param must see `NodeChanges.setXattr` */
  async setxattr(node: Node, name: string, value: Uint8Array, must?: 'create' | 'replace'): Promise<void> {
    await changesOf(node).setXattr(xattrs.settable(name), value, must);
  }

  async removexattr(node: Node, name: string): Promise<void> {
    await changesOf(node).removeXattr(xattrs.settable(name));
  }

  async statfs(): Promise<SpaceUsage> {
    return this.#tree.space();
  }

  /** Changes the entries of a directory, after which no listing of it is current, whatever became of it. */
  async #change<T>(
    parent: Node,
    work: (changes: DirectoryChanges, parent: DirectoryNode) => Promise<T>,
  ): Promise<T> {
    const node = directory(parent);
    const changes = changesOf(node);
    // What is made takes after the directory.
    await lookedAt(node);
    try {
      return await work(changes, node);
    } finally {
      this.#versions.changed(node);
    }
  }

  async #list(node: DirectoryNode, signal: AbortSignal): Promise<DirectoryHandle> {
    // Counted before: a change meanwhile may or may not be in the entries.
    const version = this.#versions.of(node);
    return { kind: 'directory', node, version, entries: await node.list(signal) };
  }
}
