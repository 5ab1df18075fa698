import type {
  Attributes,
  DirectoryEntries,
  DirectoryNode,
  FileNode,
  Node,
  OpenFile,
} from '../../src/fuse/tree/node.ts';
import { FsError } from '../../src/errors.ts';

const FIRST_INO = 2 ** 41;
const TIME = { seconds: 1_600_000_000, nanoseconds: 0 };
const NAME = /^file-(\d+)\.bin$/;

function attributesOf(kind: Node['kind'], ino: number): Attributes {
  const mode = kind === 'directory' ? 0o555 : 0o444;
  const times = { atime: TIME, mtime: TIME, ctime: TIME };
  return { ino, kind, mode, nlink: 1, uid: 0, gid: 0, size: 0, blocks: 0, ...times };
}

class LeanFile implements FileNode {
  readonly kind = 'file';
  readonly lifetime = 'forever';
  readonly #ino: number;

  constructor(ino: number) {
    this.#ino = ino;
  }

  attributes(): Attributes {
    return attributesOf('file', this.#ino);
  }

  async open(): Promise<OpenFile> {
    return { read: async (_offset, _length, _signal, use) => use([]), close: () => {} };
  }
}

/** A frozen directory of so many empty files `file-<index>.bin`, which are made when they are first asked for. */
export class LeanDirectory implements DirectoryNode {
  readonly kind = 'directory';
  readonly lifetime = 'forever';
  readonly #files: LeanFile[] = [];
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
  }

  attributes(): Attributes {
    return attributesOf('directory', FIRST_INO);
  }

  async lookup(name: string): Promise<Node> {
    const index = Number(NAME.exec(name)?.[1] ?? Number.NaN);
    if (!(index < this.#count)) throw new FsError('ENOENT', name);
    return this.#file(index);
  }

  async list(): Promise<DirectoryEntries> {
    const at = (index: number) => ({ name: `file-${index}.bin`, node: this.#file(index) });
    return { length: this.#count, at };
  }

  #file(index: number): LeanFile {
    return (this.#files[index] ??= new LeanFile(FIRST_INO + 1 + index));
  }
}
