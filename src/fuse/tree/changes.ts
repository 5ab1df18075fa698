import type {
  Access,
  DirectoryNode,
  FileNode,
  OpenFile,
  SpecialKind,
  SpecialNode,
  SymlinkNode,
  Timestamp,
} from './node.ts';

/**
 * What can be asked of the parts of the tree that may be written to. A node without it can't be changed, and who tries
 * gets EROFS; so no part of the tree can forget to say that it is read-only.
 */

/** Who asks for something new, and so owns it. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** What to change of a node's attributes; what is absent stays. */
export interface AttributeChanges {
  /** Permission bits, at most 0o7777. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Bytes: what is beyond is cut off, what is missing reads as zeros. */
  readonly size?: number;
  readonly atime?: Timestamp | 'now';
  readonly mtime?: Timestamp | 'now';
}

/** What can be changed of any node. All of it goes on working for what is open after its last name was removed. */
export interface NodeChanges {
  setAttributes(changes: AttributeChanges): Promise<void>;
  /**
   * @param must `create`: EEXIST when it is there already; `replace`: ENODATA when it is not
   */
  setXattr(name: string, value: Uint8Array, must?: 'create' | 'replace'): Promise<void>;
  /** @throws FsError ENODATA when there is none of that name */
  removeXattr(name: string): Promise<void>;
}

/** What can have several names. */
export type LinkableNode = FileNode | SymlinkNode | SpecialNode;

/** What rename(2) does with what has the new name already: replace it (if it can), fail with EEXIST, or swap the two. */
export type RenameMode = 'replace' | 'no-replace' | 'exchange';

export interface DirectoryChanges extends NodeChanges {
  /**
   * Makes a file and opens it; whatever the mode says, for `access`.
   *
   * @throws FsError EEXIST
   */
  create(
    name: string,
    mode: number,
    owner: Owner,
    access: Access,
  ): Promise<{ readonly node: FileNode; readonly file: OpenFile }>;
  /**
   * Makes a file without a name and opens it: it is gone when it is closed, unless it was linked to a name before.
   *
   * @throws FsError ENOTSUP where there is no such thing
   */
  createTemporary(
    mode: number,
    owner: Owner,
    access: Access,
  ): Promise<{ readonly node: FileNode; readonly file: OpenFile }>;
  /** @throws FsError EEXIST */
  makeDirectory(name: string, mode: number, owner: Owner): Promise<DirectoryNode>;
  /** @throws FsError EEXIST */
  makeSymlink(name: string, target: string | Uint8Array, owner: Owner): Promise<SymlinkNode>;
  /** @throws FsError EEXIST, and EPERM where there is no such thing */
  makeSpecial(name: string, kind: SpecialKind, mode: number, owner: Owner): Promise<SpecialNode>;
  /**
   * Gives something a further name.
   *
   * @throws FsError EEXIST, EXDEV for what is not of this part of the tree
   */
  link(name: string, node: LinkableNode): Promise<void>;
  /** @throws FsError EISDIR for a directory */
  unlink(name: string): Promise<void>;
  /** @throws FsError ENOTDIR, ENOTEMPTY */
  removeDirectory(name: string): Promise<void>;
  /**
   * @param to may be this directory, or one of another part of the tree
   * @param signal is asked for only by a rename that stands for long work, which it then detaches from: who is
   *   interrupted does not know what will come of it
   * @throws FsError ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, and EXDEV or EROFS for a directory of another part
   */
  rename(
    name: string,
    to: DirectoryNode,
    toName: string,
    mode: RenameMode,
    signal: () => AbortSignal,
  ): Promise<void>;
  /** Puts the directory's entries on disk. */
  sync(): Promise<void>;
}

/** What fallocate(2) puts behind a part of a file. */
export interface Allocation {
  /** Space, so that a later write can't fail for want of it; nothing, which reads as zeros; or space that reads as zeros. */
  readonly as: 'space' | 'hole' | 'zeros';
  readonly keepSize: boolean;
}

/** What an open file that may be written to can do besides reading. */
export interface OpenFileChanges {
  /** Writes all of `data` at `offset`; it must be done with the buffer when it first awaits anything. */
  write(offset: number, data: Uint8Array): Promise<void>;
  /**
   * Changes what is behind a part of the file on disk, which extends the file unless `how` says not.
   *
   * @throws FsError ENOTSUP where the file system can't
   */
  allocate(offset: number, length: number, how: Allocation): Promise<void>;
}
