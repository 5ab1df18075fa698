import { setTimeout as sleep } from 'node:timers/promises';
import { FsError } from '../../src/errors.ts';
import { GiB, KiB } from '../../src/limits.ts';
import type {
  Attributes,
  DirectoryEntries,
  DirectoryNode,
  FileNode,
  Lifetime,
  Node,
  SymlinkNode,
  Tree,
} from '../../src/fuse/tree/node.ts';

/** What the synthetic tree holds, for both sides of a mount: the program that serves it and the test that reads it. */
export const HELLO = 'hello, world\n';
export const BIG_BYTES = 5 * GiB + 12_345;
export const WIDE_ENTRIES = 100_000;
export const MTIME = { seconds: 1_600_000_000, nanoseconds: 123_456_789 };
/** Before 1970, to see that the sign gets through. */
export const OLD_MTIME = { seconds: -86_400, nanoseconds: 500_000_000 };
const PART_BYTES = 256 * KiB;
const SLOW_MS = 3;
const LATE_MS = 700;
const SLOW_ENTRIES = 10;

export const wideName = (index: number): string => `file-${String(index).padStart(6, '0')}.bin`;

/** The bytes of the big file: every aligned word of 4 bytes tells its own place. */
export function bigBytes(offset: number, length: number): Buffer {
  const first = Math.floor(offset / 4);
  const words = new Uint32Array(Math.ceil((offset + length) / 4) - first);
  for (let index = 0; index < words.length; index++) words[index] = Math.imul(first + index, 0x9e3779b1);
  return Buffer.from(words.buffer).subarray(offset - first * 4, offset - first * 4 + length);
}

/** What the tree has seen. */
export interface FixtureCounts {
  lookups: number;
  reads: number;
  /** Signals that aborted while an operation waited. */
  aborted: number;
  /** Operations that wait for ever. */
  stuck: number;
}

export interface Fixture {
  readonly tree: Tree;
  readonly counts: FixtureCounts;
  /** The file `changing/file`, with its present content. */
  content: string;
  readonly stuckDirectory: DirectoryNode;
  readonly changing: { readonly directory: DirectoryNode; readonly file: FileNode };
  /** Whether `changing/late` exists. */
  late: boolean;
}

/**
 * ```
 * hello.txt        with extended attributes; old.txt, empty
 * a/b/c/deep.txt   frozen directories
 * link             -> hello.txt
 * big              {@link BIG_BYTES}
 * wide/            {@link WIDE_ENTRIES} empty files
 * stuck            a file whose reads wait for ever and ignore their signal; obedient: they heed it
 * stuck-dir/       a directory whose lookups wait for ever
 * slow/            file-0 to file-9 ("some"), each call about which takes some milliseconds, and late, which takes long to be found
 * changing/        file (lives until the next refresh), late (see {@link Fixture.late})
 * ```
 */
export function createFixture(owner: { readonly uid: number; readonly gid: number }): Fixture {
  const counts: FixtureCounts = { lookups: 0, reads: 0, aborted: 0, stuck: 0 };
  let lastIno = 100;

  const attributes = (kind: Node['kind'], size: number, mtime = MTIME): Attributes => {
    lastIno += 1;
    const mode = kind === 'directory' ? 0o555 : kind === 'file' ? 0o444 : 0o777;
    const blocks = Math.ceil(size / 512);
    return { ino: lastIno, kind, mode, nlink: 1, ...owner, size, blocks, atime: mtime, mtime, ctime: mtime };
  };
  const forever = (signal: AbortSignal, heed: boolean): Promise<never> => {
    counts.stuck += 1;
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        counts.aborted += 1;
        if (heed) reject(new FsError('EINTR', 'aborted'));
      });
    });
  };
  const file = (
    size: number,
    read: (offset: number, length: number, signal: AbortSignal) => Promise<readonly Uint8Array[]>,
    mtime = MTIME,
  ): FileNode => {
    const fixed = attributes('file', size, mtime);
    return {
      kind: 'file',
      lifetime: 'forever',
      attributes: () => fixed,
      open: async () => ({
        read: async (offset, length, signal, use) => {
          counts.reads += 1;
          return use(await read(offset, length, signal));
        },
        close() {},
      }),
    };
  };
  const text = (content: string, mtime = MTIME): FileNode =>
    file(
      content.length,
      async (offset, length) => [Buffer.from(content).subarray(offset, offset + length)],
      mtime,
    );
  const directory = (
    entries: DirectoryEntries,
    find: (name: string, signal: AbortSignal) => Node | undefined | Promise<Node | undefined>,
    lifetime: Lifetime = 'forever',
  ): DirectoryNode => {
    const fixed = attributes('directory', 0);
    return {
      kind: 'directory',
      lifetime,
      attributes: () => fixed,
      async lookup(name, signal) {
        counts.lookups += 1;
        const node = await find(name, signal);
        if (node === undefined) throw new FsError('ENOENT', `no ${name}`);
        return node;
      },
      list: async () => entries,
    };
  };
  const plain = (nodes: Readonly<Record<string, Node>>, lifetime: Lifetime = 'forever'): DirectoryNode =>
    directory(
      Object.entries(nodes).map(([name, node]) => ({ name, node })),
      (name) => (Object.hasOwn(nodes, name) ? nodes[name] : undefined),
      lifetime,
    );
  const link = (target: string): SymlinkNode => {
    const fixed = attributes('symlink', target.length);
    return { kind: 'symlink', lifetime: 'forever', attributes: () => fixed, target };
  };

  const readBig = async (offset: number, length: number): Promise<readonly Uint8Array[]> => {
    const end = Math.min(offset + length, BIG_BYTES);
    const parts: Uint8Array[] = [];
    for (let at = offset; at < end; ) {
      const next = Math.min(end, (Math.floor(at / PART_BYTES) + 1) * PART_BYTES);
      parts.push(bigBytes(at, next - at));
      at = next;
    }
    return parts;
  };

  // Nodes of the wide directory are made when they are asked for, in an order that does not matter.
  const wideNodes: FileNode[] = [];
  const firstWideIno = 1_000_000;
  const wideNode = (index: number): FileNode => {
    const node = wideNodes[index];
    if (node !== undefined) return node;
    const made = text('');
    const fixed = { ...made.attributes(), ino: firstWideIno + index };
    return (wideNodes[index] = { ...made, attributes: () => fixed });
  };
  const wide: DirectoryEntries = {
    length: WIDE_ENTRIES,
    at: (index) => (index < WIDE_ENTRIES ? { name: wideName(index), node: wideNode(index) } : undefined),
  };

  const fixture: { content: string; late: boolean } = { content: 'first', late: false };
  const changingFixed = attributes('file', 0);
  const changingFile: FileNode = {
    kind: 'file',
    lifetime: 'refresh',
    attributes: () => ({ ...changingFixed, size: fixture.content.length }),
    open: async () => ({
      read: async (offset, length, _, use) =>
        use([Buffer.from(fixture.content).subarray(offset, offset + length)]),
      close() {},
    }),
  };
  const lateNode = text('late');
  const changing = directory(
    [{ name: 'file', node: changingFile }],
    (name) => (name === 'file' ? changingFile : name === 'late' && fixture.late ? lateNode : undefined),
    'refresh',
  );

  const hello: FileNode = {
    ...text(HELLO),
    xattrs: new Map([
      ['user.dtool.hash', Buffer.from('5eb63bbb')],
      ['user.empty', Buffer.alloc(0)],
    ]),
  };
  // As a store that takes some time, and whose requests are given up when nobody wants them.
  const pause = async (ms: number, signal: AbortSignal): Promise<void> => sleep(ms, undefined, { signal });
  const slowContent = Buffer.from('some');
  const slowFile = (): FileNode => {
    const fixed = attributes('file', slowContent.length);
    return {
      kind: 'file',
      lifetime: 'none',
      attributes: () => fixed,
      async open(signal) {
        await pause(SLOW_MS, signal);
        return {
          read: async (offset, length, reading, use) => {
            await pause(SLOW_MS, reading);
            return use([slowContent.subarray(offset, offset + length)]);
          },
          close() {},
        };
      },
    };
  };
  const slowEntries = Array.from({ length: SLOW_ENTRIES }, (_, index) => ({
    name: `file-${index}`,
    node: slowFile(),
  }));
  const late = slowFile();
  const slow: DirectoryNode = {
    ...directory(
      slowEntries,
      async (name, signal) => {
        await pause(name === 'late' ? LATE_MS : SLOW_MS, signal);
        return name === 'late' ? late : slowEntries.find((one) => one.name === name)?.node;
      },
      'none',
    ),
    async list(signal) {
      await pause(SLOW_MS, signal);
      return slowEntries;
    },
  };

  const stuckDirectory = directory([], (_name, signal) => forever(signal, false));
  const root = plain(
    {
      'hello.txt': hello,
      'old.txt': text('old', OLD_MTIME),
      empty: text(''),
      a: plain({ b: plain({ c: plain({ 'deep.txt': text('deep') }) }) }),
      link: link('hello.txt'),
      big: file(BIG_BYTES, readBig),
      wide: directory(wide, (name) => {
        const index = Number(/^file-(\d{6})\.bin$/.exec(name)?.[1] ?? Number.NaN);
        return index < WIDE_ENTRIES ? wideNode(index) : undefined;
      }),
      stuck: file(4096, (_offset, _length, signal) => forever(signal, false)),
      obedient: file(4096, (_offset, _length, signal) => forever(signal, true)),
      'stuck-dir': stuckDirectory,
      slow,
      changing,
      'grüße 🙂.txt': text('unicode'),
    },
    'refresh',
  );
  return Object.assign(fixture, {
    tree: { root, space: async () => ({ bytes: BIG_BYTES, files: WIDE_ENTRIES }) },
    counts,
    stuckDirectory,
    changing: { directory: changing, file: changingFile },
  });
}
