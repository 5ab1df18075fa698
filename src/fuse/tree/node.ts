/**
 * The file system as objects: what a kernel can ask of a file, a directory or a symbolic link, in promises and
 * {@link FsError}. No kernel types: everything here runs and is tested without /dev/fuse.
 *
 * Nodes are canonical: as long as somebody holds a node, looking its name up again gives the same object, unless the
 * name stands for something else by then. What can't change has no method that changes it; who asks gets EROFS.
 */

import type { InvalidationRelay } from './invalidation.ts';
import type { DirectoryChanges, NodeChanges, OpenFileChanges } from './changes.ts';

export type Node = FileNode | DirectoryNode | SymlinkNode | SpecialNode;

/** A point in time as stat(2) has it; `nanoseconds` is below 10^9. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

export interface Attributes {
  /** Inode number: a positive safe integer, the same at every mount; two nodes may share one by bad luck. */
  readonly ino: number;
  readonly kind: Node['kind'];
  /** Permission bits, at most 0o7777. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes. */
  readonly size: number;
  /** Allocated units of 512 bytes. */
  readonly blocks: number;
  readonly atime: Timestamp;
  readonly mtime: Timestamp;
  readonly ctime: Timestamp;
}

/**
 * How long what is said of a node stays true (its attributes, what a file holds, which names a directory has) unless it is
 * changed through the mount, of which the kernel knows: for ever, until the next refresh of what the bucket holds, or only
 * for this one answer. The kernel may cache accordingly.
 */
export type Lifetime = 'forever' | 'refresh' | 'none';

interface AnyNode {
  /** What is known now; never waits for the store. */
  attributes(): Attributes;
  /**
   * Makes {@link attributes} know them, waiting for changes that are under way and for a disk that may be slow. Undefined,
   * or absent: they are known.
   *
   * @throws FsError
   */
  look?(): Promise<void> | undefined;
  readonly lifetime: Lifetime;
  /** Returns when it was made, asked of the disk; absent, or undefined, where nobody knows. */
  birthTime?(): Promise<Timestamp | undefined>;
  /** Whether it is of the local disk: it answers within milliseconds, and an open file is a descriptor of this process. */
  readonly isLocal?: true;
  /** Absent where there are none. */
  readonly xattrs?: Xattrs;
  /** Absent where nothing can be changed. */
  readonly changes?: NodeChanges;
  /**
   * The number that a transport remembers the node by, which only it sets; 0 where none does. Absent on nodes whose
   * numbers it has to keep by itself.
   */
  remembered?: number;
}

/** Extended attributes by name, `user.` and so on included; any read-only map is that. */
export interface Xattrs {
  get(name: string): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  keys(): Iterable<string> | Promise<Iterable<string>>;
}

/** What a file is opened for. */
export type Access = 'read' | 'write' | 'read-write';

export interface FileNode extends AnyNode {
  readonly kind: 'file';
  /**
   * @param access other than `read` only where the file can be changed
   * @throws FsError
   */
  open(signal: AbortSignal, access: Access): Promise<OpenFile>;
}

export interface SymlinkNode extends AnyNode {
  readonly kind: 'symlink';
  /** Bytes where it is no UTF-8. */
  readonly target: string | Uint8Array;
}

/** A named pipe or a unix socket. All that programs do with one the kernel does by itself: here it only has a place. */
export interface SpecialNode extends AnyNode {
  readonly kind: SpecialKind;
}

export type SpecialKind = 'fifo' | 'socket';

export interface DirectoryNode extends AnyNode {
  readonly kind: 'directory';
  readonly changes?: DirectoryChanges;
  /** @throws FsError ENOENT when there is no such name */
  lookup(name: string, signal: AbortSignal): Promise<Node>;
  /** The entries as they are now, without `.` and `..`; the answer does not change afterwards. */
  list(signal: AbortSignal): Promise<DirectoryEntries>;
}

/** Entries in a fixed order, made on demand: any read-only array is one. */
export interface DirectoryEntries {
  readonly length: number;
  /** Undefined beyond the end, and for one that has gone since. */
  at(index: number): DirectoryEntry | undefined;
  /**
   * Where `at` can't know: looks at `count` entries from `from` on, which `at` of the answer then has. While all of them have
   * gone it goes on, so that there is one unless there are no more.
   */
  load?(from: number, count: number): Promise<DirectoryEntries>;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly node: Node;
  /** As they were when the entry was looked at, for a node that can't tell them any more. */
  readonly attributes?: Attributes;
}

export interface OpenFile {
  /**
   * Reads `length` bytes from `offset`, fewer only where the file ends.
   *
   * @param use has them as parts that come one after the other, for the time of the call: they are the cache's, must not
   *   be written to, and are other bytes afterwards
   * @returns what that returns
   * @throws FsError EIO and others; never short data instead
   */
  read<T>(
    offset: number,
    length: number,
    signal: AbortSignal,
    use: (parts: readonly Uint8Array[]) => T,
  ): Promise<T>;
  /** Absent where the file can't be changed. */
  readonly changes?: OpenFileChanges;
  /**
   * Returns where from `offset`, which is below the size, the next data or hole begins; absent, or undefined, where nobody
   * knows of holes.
   *
   * @throws FsError ENXIO where no more data follows
   */
  seek?(offset: number, to: 'data' | 'hole'): Promise<number | undefined>;
  /**
   * Puts the file's content, and unless `dataOnly` its attributes, on disk: all that was written, through whichever handle.
   * Absent where nothing is ever on its way there.
   *
   * @throws FsError
   */
  sync?(dataOnly: boolean): Promise<void>;
  /**
   * One descriptor of the handle is being closed. Absent where that can't fail.
   *
   * @throws FsError which close(2) fails with, such as EDQUOT of a network file system that has put off its writes
   */
  flush?(): Promise<void>;
  /** Gives up read-ahead and what else the handle holds. Called once. */
  close(): void;
}

/** What statfs(2) tells of a mount. */
export interface SpaceUsage {
  /** Bytes of the items that are known. */
  readonly bytes: number;
  /** Number of the items that are known. */
  readonly files: number;
  /** What there is room for besides; absent where nothing can be written. */
  readonly free?: { readonly bytes: number; readonly files: number } | undefined;
}

/** The whole tree, as a transport gets it. */
export interface Tree {
  readonly root: DirectoryNode;
  /** What changes in it by itself; absent where nothing does. */
  readonly invalidations?: InvalidationRelay;
  /** At no request to a store. */
  space(): Promise<SpaceUsage>;
}
