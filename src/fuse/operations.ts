import { constants } from 'node:fs';
import { FsError } from '../errors.ts';
import { HANDLES_MAX } from '../limits.ts';
import type { DirectoryEntries, DirectoryNode, Node, OpenFile, SpaceUsage, Tree } from './tree/node.ts';

/** O_APPEND alone changes nothing: it only says where a write would go. */
const WRITE_FLAGS = constants.O_WRONLY | constants.O_RDWR | constants.O_TRUNC;

/** What stands behind a file handle. */
type Handle =
  | { readonly kind: 'file'; readonly file: OpenFile }
  | { readonly kind: 'directory'; readonly entries: DirectoryEntries };

/**
 * What the kernel may ask, in terms of nodes: the part of every request that no transport has a say in. Rejects with
 * an FsError that `errno.ts` translates. Everything in the tree is read-only, so every change ends in EROFS.
 */
export class Operations {
  readonly #tree: Tree;
  readonly #handles = new Map<number, Handle>();
  #lastHandle = 0;

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  get root(): DirectoryNode {
    return this.#tree.root;
  }

  get openHandles(): number {
    return this.#handles.size;
  }

  async lookup(parent: Node, name: string, signal: AbortSignal): Promise<Node> {
    return directory(parent).lookup(name, signal);
  }

  /**
   * Opens a file and returns its handle, a number from 1 to 2^31 - 1.
   *
   * @param flags of open(2)
   */
  async open(node: Node, flags: number, signal: AbortSignal): Promise<number> {
    if ((flags & WRITE_FLAGS) !== 0) throw readOnly();
    if (node.kind === 'directory') throw new FsError('EISDIR', 'is a directory');
    if (node.kind === 'symlink') throw new FsError('ELOOP', 'is a symbolic link');
    const file = await node.open(signal);
    try {
      return this.#add({ kind: 'file', file });
    } catch (error) {
      file.close();
      throw error;
    }
  }

  async read(
    handle: number,
    offset: number,
    length: number,
    signal: AbortSignal,
  ): Promise<readonly Uint8Array[]> {
    const open = this.#handles.get(handle);
    if (open?.kind !== 'file') throw new FsError('EBADF', 'not open for reading');
    return open.file.read(offset, length, signal);
  }

  /** Opens a directory: the handle stands for its entries as they were at that moment. */
  async openDirectory(node: Node, signal: AbortSignal): Promise<number> {
    return this.#add({ kind: 'directory', entries: await directory(node).list(signal) });
  }

  entries(handle: number): DirectoryEntries {
    const open = this.#handles.get(handle);
    if (open?.kind !== 'directory') throw new FsError('EBADF', 'not an open directory');
    return open.entries;
  }

  /** Closes a handle of either kind; an unknown one is ignored, as close must never fail. */
  release(handle: number): void {
    const open = this.#handles.get(handle);
    this.#handles.delete(handle);
    if (open?.kind === 'file') open.file.close();
  }

  releaseAll(): void {
    for (const handle of this.#handles.keys()) this.release(handle);
  }

  readlink(node: Node): string {
    if (node.kind !== 'symlink') throw new FsError('EINVAL', 'not a symbolic link');
    return node.target;
  }

  getxattr(node: Node, name: string): Uint8Array {
    const value = node.xattrs?.get(name);
    if (value === undefined) throw new FsError('ENODATA', `no extended attribute ${name}`);
    return value;
  }

  listxattr(node: Node): readonly string[] {
    return [...(node.xattrs?.keys() ?? [])];
  }

  async statfs(signal: AbortSignal): Promise<SpaceUsage> {
    return this.#tree.space(signal);
  }

  /** The answer to every request that would change something. */
  change(): never {
    throw readOnly();
  }

  #add(handle: Handle): number {
    if (this.#handles.size >= HANDLES_MAX)
      throw new FsError('EMFILE', `${HANDLES_MAX} files are open already`);
    do {
      this.#lastHandle = this.#lastHandle === 0x7fffffff ? 1 : this.#lastHandle + 1;
    } while (this.#handles.has(this.#lastHandle));
    this.#handles.set(this.#lastHandle, handle);
    return this.#lastHandle;
  }
}

function directory(node: Node): DirectoryNode {
  if (node.kind !== 'directory') throw new FsError('ENOTDIR', 'not a directory');
  return node;
}

function readOnly(): FsError {
  return new FsError('EROFS', 'frozen datasets are read-only');
}
