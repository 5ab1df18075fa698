import { FsError, type FsErrorCode } from '../../src/errors.ts';
import type {
  AttributeChanges,
  DirectoryChanges,
  NodeChanges,
  OpenFileChanges,
  Owner,
  RenameMode,
} from '../../src/fuse/tree/changes.ts';
import type {
  Attributes,
  DirectoryEntries,
  DirectoryNode,
  FileNode,
  Node,
  OpenFile,
  SpecialKind,
  SpecialNode,
  SymlinkNode,
  Timestamp,
  Tree,
} from '../../src/fuse/tree/node.ts';

/**
 * A file system in memory that everything can be done to, to hold the transports against: the semantics of POSIX with
 * nothing behind them. Keeps content as one buffer per file, so files should stay below some hundred megabytes, but for
 * sparse ones, which cost what is written.
 */
export function memoryTree(
  owner: Owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
): Tree & {
  readonly root: MemoryDirectory;
} {
  return {
    root: new MemoryDirectory(0o755, owner),
    space: async () => ({ bytes: 0, files: 0 }),
  };
}

/**
 * What becomes of writes that are on their way: with a code, those that made a file longer are lost, and fsync(2) and
 * close(2) of the descriptor that wrote them fail with it, as on a network file system whose quota is used up.
 */
export const memoryFaults: { flush: FsErrorCode | undefined } = { flush: undefined };

/** What the trees of this process were asked. */
export const memoryCounts = { writes: 0, longestWriteBytes: 0, syncs: 0 };

/** Inode numbers need more than 32 bits. */
let lastIno = 2 ** 40;

/** Attributes and extended attributes of anything. */
abstract class MemoryNode {
  abstract readonly kind: Node['kind'];
  readonly lifetime = 'forever';
  readonly xattrs = new Map<string, Uint8Array>();
  readonly ino = (lastIno += 1);
  nlink = 1;
  mode: number;
  uid: number;
  gid: number;
  atime: Timestamp;
  mtime: Timestamp;
  ctime: Timestamp;

  constructor(mode: number, { uid, gid }: Owner) {
    this.mode = mode;
    this.uid = uid;
    this.gid = gid;
    this.atime = now();
    this.mtime = this.atime;
    this.ctime = this.atime;
  }

  abstract get size(): number;

  attributes(): Attributes {
    const { ino, kind, mode, nlink, uid, gid, size, atime, mtime, ctime } = this;
    return { ino, kind, mode, nlink, uid, gid, size, blocks: Math.ceil(size / 512), atime, mtime, ctime };
  }

  protected nodeChanges(): NodeChanges {
    return {
      setAttributes: async (changes) => this.setAttributes(changes),
      setXattr: async (name, value, must) => {
        if (must === 'create' && this.xattrs.has(name)) throw new FsError('EEXIST', name);
        if (must === 'replace' && !this.xattrs.has(name)) throw new FsError('ENODATA', name);
        this.xattrs.set(name, Uint8Array.from(value));
        this.ctime = now();
      },
      removeXattr: async (name) => {
        if (!this.xattrs.delete(name)) throw new FsError('ENODATA', name);
        this.ctime = now();
      },
    };
  }

  protected setAttributes({ mode, uid, gid, atime, mtime }: AttributeChanges): void {
    if (mode !== undefined) this.mode = mode;
    if (uid !== undefined) this.uid = uid;
    if (gid !== undefined) this.gid = gid;
    if (atime !== undefined) this.atime = atime === 'now' ? now() : atime;
    if (mtime !== undefined) this.mtime = mtime === 'now' ? now() : mtime;
    this.ctime = now();
  }
}

const CHUNK_BYTES = 64 * 1024;

export class MemoryFile extends MemoryNode implements FileNode {
  readonly kind = 'file';
  readonly changes: NodeChanges = this.nodeChanges();
  size = 0;
  /** Up to where it is safe. */
  #durable = 0;
  /** By index; a missing one is zeros. */
  readonly #chunks = new Map<number, Uint8Array>();

  async open(): Promise<OpenFile> {
    const changes: OpenFileChanges = {
      write: async (offset, data) => {
        memoryCounts.writes += 1;
        memoryCounts.longestWriteBytes = Math.max(memoryCounts.longestWriteBytes, data.length);
        this.write(offset, data);
      },
      allocate: async (offset, length, { as, keepSize }) => {
        const end = Math.min(this.size, offset + length);
        if (as !== 'space' && end > offset) this.write(offset, new Uint8Array(end - offset));
        if (!keepSize) this.size = Math.max(this.size, offset + length);
      },
    };
    return {
      changes,
      close: () => {},
      flush: async () => this.#flush(),
      sync: async () => {
        memoryCounts.syncs += 1;
        this.#flush();
      },
      read: async (offset, length, _, use) => use(this.read(offset, length)),
    };
  }

  read(offset: number, length: number): readonly Uint8Array[] {
    const parts: Uint8Array[] = [];
    const end = Math.min(this.size, offset + length);
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / CHUNK_BYTES);
      const from = at - index * CHUNK_BYTES;
      const until = Math.min(CHUNK_BYTES, end - index * CHUNK_BYTES);
      const chunk = this.#chunks.get(index) ?? ZEROS;
      parts.push(chunk.subarray(from, until));
      at += until - from;
    }
    return parts;
  }

  write(offset: number, data: Uint8Array): void {
    for (let at = 0; at < data.length; ) {
      const index = Math.floor((offset + at) / CHUNK_BYTES);
      const from = offset + at - index * CHUNK_BYTES;
      const length = Math.min(CHUNK_BYTES - from, data.length - at);
      let chunk = this.#chunks.get(index);
      if (!chunk) {
        chunk = new Uint8Array(CHUNK_BYTES);
        this.#chunks.set(index, chunk);
      }
      chunk.set(data.subarray(at, at + length), from);
      at += length;
    }
    this.size = Math.max(this.size, offset + data.length);
    this.mtime = now();
    this.ctime = this.mtime;
  }

  #flush(): void {
    if (memoryFaults.flush !== undefined && this.size > this.#durable) {
      this.#truncate(this.#durable);
      throw new FsError(memoryFaults.flush, 'lost what was on its way');
    }
    this.#durable = this.size;
  }

  protected override setAttributes(changes: AttributeChanges): void {
    if (changes.size !== undefined) this.#truncate(changes.size);
    super.setAttributes(changes);
  }

  #truncate(size: number): void {
    const last = Math.floor(size / CHUNK_BYTES);
    for (const index of this.#chunks.keys()) if (index > last) this.#chunks.delete(index);
    this.#chunks.get(last)?.fill(0, size - last * CHUNK_BYTES);
    this.size = size;
    this.#durable = Math.min(this.#durable, size);
    this.mtime = now();
  }
}

const ZEROS = new Uint8Array(CHUNK_BYTES);

export class MemorySymlink extends MemoryNode implements SymlinkNode {
  readonly kind = 'symlink';
  readonly target: string | Uint8Array;
  readonly changes: NodeChanges = this.nodeChanges();

  constructor(target: string | Uint8Array, owner: Owner) {
    super(0o777, owner);
    this.target = target;
  }

  get size(): number {
    return Buffer.byteLength(this.target);
  }
}

export class MemorySpecial extends MemoryNode implements SpecialNode {
  readonly kind: SpecialKind;
  readonly size = 0;
  readonly changes: NodeChanges = this.nodeChanges();

  constructor(kind: SpecialKind, mode: number, owner: Owner) {
    super(mode, owner);
    this.kind = kind;
  }
}

type MemoryAny = MemoryDirectory | MemoryFile | MemorySymlink | MemorySpecial;

export class MemoryDirectory extends MemoryNode implements DirectoryNode {
  readonly kind = 'directory';
  readonly size = 4096;
  readonly entries = new Map<string, MemoryAny>();
  readonly changes: DirectoryChanges;

  constructor(mode: number, owner: Owner) {
    super(mode, owner);
    this.nlink = 2;
    this.changes = {
      ...this.nodeChanges(),
      create: async (name, fileMode, fileOwner) => {
        const node = this.add(name, new MemoryFile(fileMode, fileOwner));
        return { node, file: await node.open() };
      },
      createTemporary: async (fileMode, fileOwner) => {
        const node = new MemoryFile(fileMode, fileOwner);
        node.nlink = 0;
        return { node, file: await node.open() };
      },
      makeDirectory: async (name, directoryMode, directoryOwner) =>
        this.add(name, new MemoryDirectory(directoryMode, directoryOwner)),
      makeSymlink: async (name, target, linkOwner) => this.add(name, new MemorySymlink(target, linkOwner)),
      makeSpecial: async (name, kind, specialMode, specialOwner) =>
        this.add(name, new MemorySpecial(kind, specialMode, specialOwner)),
      link: async (name, node) => {
        if (!(node instanceof MemoryFile || node instanceof MemorySymlink || node instanceof MemorySpecial))
          throw new FsError('EXDEV', name);
        this.add(name, node);
        node.nlink += 1;
      },
      unlink: async (name) => {
        const node = this.#find(name);
        if (node.kind === 'directory') throw new FsError('EISDIR', name);
        node.nlink -= 1;
        this.#remove(name);
      },
      removeDirectory: async (name) => {
        const node = this.#find(name);
        if (node.kind !== 'directory') throw new FsError('ENOTDIR', name);
        if (node.entries.size > 0) throw new FsError('ENOTEMPTY', name);
        this.#remove(name);
      },
      rename: async (name, to, toName, renameMode) => this.#rename(name, to, toName, renameMode),
      sync: async () => {
        memoryCounts.syncs += 1;
      },
    };
  }

  async lookup(name: string): Promise<Node> {
    return this.#find(name);
  }

  async list(): Promise<DirectoryEntries> {
    return Array.from(this.entries, ([name, node]) => ({ name, node }));
  }

  add<T extends MemoryAny>(name: string, node: T): T {
    if (this.entries.has(name)) throw new FsError('EEXIST', name);
    this.entries.set(name, node);
    this.#touch();
    return node;
  }

  #find(name: string): MemoryAny {
    const node = this.entries.get(name);
    if (!node) throw new FsError('ENOENT', name);
    return node;
  }

  #remove(name: string): void {
    this.entries.delete(name);
    this.#touch();
  }

  #touch(): void {
    this.mtime = now();
    this.ctime = this.mtime;
  }

  #rename(name: string, to: DirectoryNode, toName: string, mode: RenameMode): void {
    if (!(to instanceof MemoryDirectory)) throw new FsError(to.changes ? 'EXDEV' : 'EROFS', toName);
    const node = this.#find(name);
    const taken = to.entries.get(toName);
    if (mode === 'exchange') {
      if (!taken) throw new FsError('ENOENT', toName);
      this.entries.set(name, taken);
      to.entries.set(toName, node);
    } else {
      if (taken === node) return;
      if (taken && mode === 'no-replace') throw new FsError('EEXIST', toName);
      if (taken?.kind === 'directory') {
        if (node.kind !== 'directory') throw new FsError('EISDIR', toName);
        if (taken.entries.size > 0) throw new FsError('ENOTEMPTY', toName);
      } else if (taken && node.kind === 'directory') throw new FsError('ENOTDIR', toName);
      if (taken) taken.nlink -= 1;
      this.entries.delete(name);
      to.entries.set(toName, node);
    }
    node.ctime = now();
    this.#touch();
    to.#touch();
  }
}

function now(): Timestamp {
  const ms = Date.now();
  return { seconds: Math.floor(ms / 1000), nanoseconds: (ms % 1000) * 1e6 };
}
