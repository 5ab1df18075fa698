import { constants } from 'node:os';
import { beforeEach, describe, expect, test } from 'vitest';
import { Opcode, type OpcodeName } from '../../../../src/fuse/transport/kernel/abi/opcodes.ts';
import type { Node } from '../../../../src/fuse/tree/node.ts';
import { FakeKernel, names, type Reply, u32, u64 } from '../../../support/fake-kernel.ts';
import {
  BIG_BYTES,
  bigBytes,
  createFixture,
  HELLO,
  WIDE_ENTRIES,
  wideName,
  type Fixture,
} from '../../../support/fixture-tree.ts';

const { errno } = constants;
const DAY = 86_400n;
const O_WRONLY = 1;

let fixture: Fixture;
let kernel: FakeKernel;

beforeEach(() => {
  fixture = createFixture({ uid: 1000, gid: 1000 });
  kernel = new FakeKernel(fixture.tree);
});

/** The number of the node at a path, looked up as the kernel does. */
async function walk(...path: string[]): Promise<number> {
  let node = 1;
  for (const name of path) {
    const { error, body } = await kernel.call('LOOKUP', node, names(name));
    expect(error).toBe(0);
    node = Number(body.readBigUInt64LE(0));
  }
  return node;
}

async function openHandle(opcode: 'OPEN' | 'OPENDIR', node: number): Promise<{ fh: bigint; flags: number }> {
  const { error, body } = await kernel.call(opcode, node, u32(0, 0));
  expect(error).toBe(0);
  return { fh: body.readBigUInt64LE(0), flags: body.readUInt32LE(8) };
}

const readIn = (fh: bigint, offset: number, size: number): Buffer =>
  Buffer.concat([u64(fh, offset), u32(size, 0), u64(0), u32(0, 0)]);

const expectError = (reply: Reply, code: keyof typeof errno) => {
  expect(reply.error).toBe(-errno[code]);
  expect(reply.body.byteLength).toBe(0);
};

const init = (major: number, minor: number, flags = 0xffffffff, flags2 = 0xffffffff): Buffer =>
  Buffer.concat([u32(major, minor, 131_072, flags, flags2), Buffer.alloc(44)]);

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('INIT', () => {
  test('agrees on the older version and on what both know', async () => {
    const { body } = await kernel.call('INIT', 0, init(7, 36));
    expect(body.byteLength).toBe(64);
    expect([body.readUInt32LE(0), body.readUInt32LE(4)]).toEqual([7, 36]);
    expect(body.readUInt32LE(8)).toBe(131_072);
    const flags = body.readUInt32LE(12);
    // ASYNC_READ, ATOMIC_O_TRUNC, BIG_WRITES, readdirplus and its auto mode, PARALLEL_DIROPS, MAX_PAGES,
    // CACHE_SYMLINKS, EXPLICIT_INVAL_DATA, HANDLE_KILLPRIV_V2, INIT_EXT; and nothing else.
    expect(flags).toBe(0x52c4_6029);
    expect(body.readUInt32LE(20)).toBe(1_048_576);
    expect(body.readUInt16LE(28)).toBe(256);
    expect(kernel.inits).toEqual([undefined]);
  });

  test('refuses file handles, where the kernel knows how to', async () => {
    const flags2 = async (offered: number) =>
      (await kernel.call('INIT', 0, init(7, 40, 0xffffffff, offered))).body.readUInt32LE(32);
    // NO_EXPORT_SUPPORT, bit 38 of both words.
    expect([await flags2(0xffffffff), await flags2(0xffffffbf)]).toEqual([0x40, 0]);
    const short = await kernel.call('INIT', 0, init(7, 35).subarray(0, 16));
    expect(short.body.readUInt32LE(32)).toBe(0);
  });

  test('asks for nothing that the kernel does not offer', async () => {
    const { body } = await kernel.call('INIT', 0, init(7, 31, 0x20).subarray(0, 16));
    expect(body.readUInt32LE(4)).toBe(31);
    expect(body.readUInt32LE(12)).toBe(0x20);
  });

  test('a newer minor version than is known is answered with ours, a newer major with 7 alone', async () => {
    expect((await kernel.call('INIT', 0, init(7, 99))).body.readUInt32LE(4)).toBe(45);
    kernel.inits.length = 0;
    const { error, body } = await kernel.call('INIT', 0, init(8, 1));
    expect([error, body.readUInt32LE(0)]).toEqual([0, 7]);
    expect(kernel.inits).toEqual([]);
  });

  test('an old kernel is refused in words', async () => {
    expectError(await kernel.call('INIT', 0, init(7, 30)), 'EIO');
    expect(kernel.inits[0]?.message).toContain('7.30');
    expect(kernel.inits[0]?.advice).toContain('Linux 5.4');
  });
});

describe('names', () => {
  test('LOOKUP replies with node, timeouts and attributes where the ABI has them', async () => {
    const { body } = await kernel.call('LOOKUP', await walk('a', 'b', 'c'), names('deep.txt'));
    expect(body.byteLength).toBe(128);
    expect(body.readBigUInt64LE(16)).toBe(DAY);
    expect(body.readBigUInt64LE(24)).toBe(DAY);
    expect(body.readBigUInt64LE(40 + 8)).toBe(4n);
    expect(body.readBigInt64LE(40 + 32)).toBe(1_600_000_000n);
    expect(body.readUInt32LE(40 + 52)).toBe(123_456_789);
    expect(body.readUInt32LE(40 + 60)).toBe(0o100444);
    expect([body.readUInt32LE(40 + 68), body.readUInt32LE(40 + 72)]).toEqual([1000, 1000]);
  });

  test('a name is good no longer than its directory, attributes as long as the node', async () => {
    const { body } = await kernel.call('LOOKUP', 1, names('hello.txt'));
    expect(body.readBigUInt64LE(16)).toBe(5n);
    expect(body.readBigUInt64LE(24)).toBe(DAY);
  });

  test('times before 1970 are negative', async () => {
    const { body } = await kernel.call('LOOKUP', 1, names('old.txt'));
    expect(body.readBigInt64LE(40 + 32)).toBe(-86_400n);
    expect(body.readUInt32LE(40 + 52)).toBe(500_000_000);
  });

  test('a missing name is remembered: a day where nothing changes, a second elsewhere', async () => {
    const frozen = await kernel.call('LOOKUP', await walk('a'), names('nothing'));
    expect([frozen.error, frozen.body.readBigUInt64LE(0), frozen.body.readBigUInt64LE(16)]).toEqual([
      0,
      0n,
      DAY,
    ]);
    const root = await kernel.call('LOOKUP', 1, names('nothing'));
    expect([root.error, root.body.readBigUInt64LE(0), root.body.readBigUInt64LE(16)]).toEqual([0, 0n, 1n]);
  });

  test('names that can not be', async () => {
    expectError(await kernel.call('LOOKUP', 1, names('x'.repeat(256))), 'ENAMETOOLONG');
    expectError(await kernel.call('LOOKUP', 1, Buffer.from('no end')), 'EINVAL');
    expectError(await kernel.call('LOOKUP', 1, names('')), 'EINVAL');
    expectError(await kernel.call('LOOKUP', 1, names('a/b')), 'EINVAL');
    const { error, body } = await kernel.call('LOOKUP', 1, Buffer.from([0xff, 0xfe, 0]));
    expect([error, body.readBigUInt64LE(0)]).toEqual([0, 0n]);
    expectError(await kernel.call('LOOKUP', 4711, names('a')), 'ESTALE');
    expectError(await kernel.call('LOOKUP', await walk('hello.txt'), names('a')), 'ENOTDIR');
  });

  test('FORGET and BATCH_FORGET take references back and get no reply', async () => {
    const [a, hello] = [await walk('a'), await walk('hello.txt')];
    await walk('hello.txt');
    expect(kernel.connection.inodes.size).toBe(3);
    const replies = kernel.replies.length;
    kernel.send('FORGET', a, u64(1));
    kernel.send('BATCH_FORGET', 0, Buffer.concat([u32(2, 0), u64(hello, 1, 999, 5)]));
    expect(kernel.connection.inodes.size).toBe(2);
    kernel.send('BATCH_FORGET', 0, Buffer.concat([u32(0xffffffff, 0), u64(hello, 1)]));
    expect(kernel.connection.inodes.size).toBe(1);
    expect(kernel.replies.length).toBe(replies);
  });

  test('what the kernel did not take is not counted', async () => {
    kernel.takes = false;
    await kernel.call('LOOKUP', 1, names('hello.txt'));
    expect(kernel.connection.inodes.size).toBe(1);
    const handle = await kernel.operations.openDirectory(
      fixture.tree.root,
      new AbortController().signal,
      1000,
    );
    await kernel.call('READDIRPLUS', 1, readIn(BigInt(handle), 0, 4096));
    expect(kernel.connection.inodes.size).toBe(1);
    await kernel.call('OPENDIR', 1, u32(0, 0));
    expect(kernel.operations.openHandles).toBe(1);
  });
});

describe('files', () => {
  test('what is frozen keeps its pages, nothing is flushed', async () => {
    expect((await openHandle('OPEN', await walk('hello.txt'))).flags).toBe(2 | 32);
    expect((await openHandle('OPEN', await walk('changing', 'file'))).flags).toBe(32);
  });

  test('reads parts as they are, beyond 4 GiB and at the end', async () => {
    const { fh } = await openHandle('OPEN', await walk('big'));
    for (const [offset, size] of [
      [0, 10],
      [2 ** 32 + 262_140, 300_000],
      [BIG_BYTES - 5, 4096],
      [BIG_BYTES, 4096],
    ] as const) {
      const { body } = await kernel.call('READ', 2, readIn(fh, offset, size));
      const expected = bigBytes(offset, Math.max(0, Math.min(size, BIG_BYTES - offset)));
      expect(body.equals(expected)).toBe(true);
    }
    await kernel.call('RELEASE', 2, Buffer.concat([u64(fh), u32(0, 0), u64(0)]));
    expect(kernel.operations.openHandles).toBe(0);
    expectError(await kernel.call('READ', 2, readIn(fh, 0, 1)), 'EBADF');
  });

  test('an offset that no number holds is refused', async () => {
    const { fh } = await openHandle('OPEN', await walk('hello.txt'));
    expectError(await kernel.call('READ', 2, Buffer.concat([u64(fh, -1), u32(1, 0), u64(0, 0)])), 'EINVAL');
  });

  test('opening to write is refused', async () => {
    expectError(await kernel.call('OPEN', await walk('hello.txt'), u32(O_WRONLY, 0)), 'EROFS');
    expectError(await kernel.call('OPEN', 1, u32(0, 0)), 'EISDIR');
  });

  test('READLINK has no NUL', async () => {
    expect((await kernel.call('READLINK', await walk('link'))).body.toString()).toBe('hello.txt');
    expectError(await kernel.call('READLINK', 1), 'EINVAL');
  });

  test('GETATTR, STATFS and ACCESS', async () => {
    const hello = await walk('hello.txt');
    const attributes = await kernel.call('GETATTR', hello, Buffer.concat([u32(0, 0), u64(0)]));
    expect(attributes.body.byteLength).toBe(104);
    expect(attributes.body.readBigUInt64LE(16 + 8)).toBe(BigInt(HELLO.length));
    const { body } = await kernel.call('STATFS', 1);
    expect(body.byteLength).toBe(80);
    expect(body.readBigUInt64LE(0)).toBe(BigInt(Math.ceil(BIG_BYTES / 4096)));
    expect([body.readBigUInt64LE(8), body.readBigUInt64LE(24)]).toEqual([0n, BigInt(WIDE_ENTRIES)]);
    expect((await kernel.call('ACCESS', hello, u32(4, 0))).error).toBe(0);
    expectError(await kernel.call('ACCESS', hello, u32(1, 0)), 'EACCES');
    expectError(await kernel.call('ACCESS', hello, u32(6, 0)), 'EROFS');
  });

  test('extended attributes: value, length, room, and names', async () => {
    const hello = await walk('hello.txt');
    const get = (name: string, size: number) =>
      kernel.call('GETXATTR', hello, Buffer.concat([u32(size, 0), names(name)]));
    expect((await get('user.dtool.hash', 0)).body.readUInt32LE(0)).toBe(8);
    expect((await get('user.dtool.hash', 8)).body.toString()).toBe('5eb63bbb');
    expectError(await get('user.dtool.hash', 7), 'ERANGE');
    expect((await get('user.empty', 8)).body.byteLength).toBe(0);
    expectError(await get('user.other', 0), 'ENODATA');
    expectError(await get('system.posix_acl_access', 0), 'ENOTSUP');
    const list = await kernel.call('LISTXATTR', hello, u32(100, 0));
    expect(list.body.toString()).toBe('user.dtool.hash\0user.empty\0');
    expect((await kernel.call('LISTXATTR', 1, u32(0, 0))).body.readUInt32LE(0)).toBe(0);
  });
});

describe('directories', () => {
  interface Entry {
    readonly ino: bigint;
    readonly off: number;
    readonly type: number;
    readonly name: string;
    readonly node: bigint;
  }

  function entriesOf(body: Buffer, plus: boolean): Entry[] {
    const entries: Entry[] = [];
    for (let at = 0; at < body.byteLength; ) {
      const node = plus ? body.readBigUInt64LE(at) : 0n;
      if (plus) at += 128;
      const length = body.readUInt32LE(at + 16);
      entries.push({
        ino: body.readBigUInt64LE(at),
        off: Number(body.readBigUInt64LE(at + 8)),
        type: body.readUInt32LE(at + 20),
        name: body.toString('utf8', at + 24, at + 24 + length),
        node,
      });
      at += Math.ceil((24 + length) / 8) * 8;
    }
    return entries;
  }

  test.each([
    ['READDIR', false],
    ['READDIRPLUS', true],
  ] as const)('%s gives every entry once, in as many calls as it takes', async (opcode, plus) => {
    const wide = await walk('wide');
    const { fh } = await openHandle('OPENDIR', wide);
    const seen: string[] = [];
    for (let offset = 0; ; ) {
      const { body } = await kernel.call(opcode, wide, readIn(fh, offset, 65_536));
      expect(body.byteLength).toBeLessThanOrEqual(65_536);
      const entries = entriesOf(body, plus);
      if (entries.length === 0) break;
      seen.push(...entries.map((entry) => entry.name));
      offset = entries.at(-1)?.off ?? 0;
    }
    expect(seen.length).toBe(WIDE_ENTRIES + 2);
    expect(seen.slice(0, 3)).toEqual(['.', '..', wideName(0)]);
    expect(new Set(seen).size).toBe(seen.length);
    // The wide directory, the root, and a reference to each entry.
    expect(kernel.connection.inodes.size).toBe(plus ? WIDE_ENTRIES + 2 : 2);
  });

  test('READDIRPLUS names nodes, types and inode numbers; the dots have no node', async () => {
    const { fh, flags } = await openHandle('OPENDIR', 1);
    expect(flags).toBe(0);
    const { body } = await kernel.call('READDIRPLUS', 1, readIn(fh, 0, 65_536));
    const entries = new Map(entriesOf(body, true).map((entry) => [entry.name, entry]));
    expect(entries.get('.')?.node).toBe(0n);
    expect(entries.get('..')?.node).toBe(0n);
    expect(entries.get('a')?.type).toBe(4);
    expect(entries.get('link')?.type).toBe(10);
    expect(entries.get('grüße 🙂.txt')?.type).toBe(8);
    const hello = entries.get('hello.txt');
    const node: Node = kernel.connection.inodes.node(Number(hello?.node));
    expect(BigInt(node.attributes().ino)).toBe(hello?.ino);
  });

  test('the kernel may keep short listings of what is frozen', async () => {
    expect((await openHandle('OPENDIR', await walk('a'))).flags).toBe(2 | 8);
    expect((await openHandle('OPENDIR', await walk('wide'))).flags).toBe(0);
    expect((await openHandle('OPENDIR', await walk('changing'))).flags).toBe(0);
  });

  test('a buffer too small for one entry gets none, a handle of a file is none', async () => {
    const { fh } = await openHandle('OPENDIR', 1);
    expect((await kernel.call('READDIR', 1, readIn(fh, 0, 24))).body.byteLength).toBe(0);
    const file = await openHandle('OPEN', await walk('hello.txt'));
    expectError(await kernel.call('READDIR', 1, readIn(file.fh, 0, 4096)), 'EBADF');
  });
});

describe('changes and what is not there', () => {
  const CHANGES: readonly (readonly [OpcodeName, Buffer])[] = [
    ['SETATTR', Buffer.alloc(88)],
    ['SYMLINK', names('new', '../target/with/slashes')],
    ['MKNOD', Buffer.concat([u32(0o100644, 0, 0o22, 0), names('new')])],
    ['MKDIR', Buffer.concat([u32(0o755, 0o22), names('new')])],
    ['UNLINK', names('hello.txt')],
    ['RMDIR', names('a')],
    ['RENAME', Buffer.concat([u64(1), names('a', 'b')])],
    ['RENAME2', Buffer.concat([u64(1), u32(1, 0), names('a', 'b')])],
    ['LINK', Buffer.concat([u64(1), names('new')])],
    ['TMPFILE', u32(0x41, 0o644, 0o22, 0)],
    ['CREATE', Buffer.concat([u32(0x41, 0o644, 0o22, 0), names('new')])],
    ['WRITE', Buffer.concat([u64(1, 0), u32(5, 0), u64(0), u32(0, 0), Buffer.from('hello')])],
    ['FALLOCATE', Buffer.concat([u64(1), Buffer.alloc(24)])],
    ['SETXATTR', Buffer.concat([u32(5, 0), names('user.ü'), Buffer.from('value')])],
    ['REMOVEXATTR', names('user.ü')],
  ];

  test.each(CHANGES)('%s is refused because nothing can be changed', async (opcode, body) => {
    // Handle 1, which the requests for open files name.
    await openHandle('OPEN', await walk('hello.txt'));
    expectError(await kernel.call(opcode, 1, body), 'EROFS');
    expectError(await kernel.call(opcode, 1, body.subarray(0, body.byteLength - 1)), 'EINVAL');
  });

  test.each([
    'COPY_FILE_RANGE',
    'COPY_FILE_RANGE_64',
    'SYNCFS',
    'IOCTL',
    'POLL',
    'GETLK',
    'SETLK',
    'SETLKW',
    'BMAP',
  ] as const)('%s is left to the kernel', async (opcode) => {
    expectError(await kernel.call(opcode, 1, Buffer.alloc(64)), 'ENOSYS');
  });

  test('opcodes from the future are left to the kernel', async () => {
    expectError(await kernel.call(54, 1, Buffer.alloc(64)), 'ENOSYS');
    expectError(await kernel.call(0xffffffff, 1), 'ENOSYS');
  });

  test.each([
    ['FLUSH', 24],
    ['FSYNC', 16],
    ['FSYNCDIR', 16],
    ['RELEASEDIR', 24],
    ['DESTROY', 0],
  ] as const)('%s succeeds', async (opcode, bytes) => {
    await openHandle('OPEN', await walk('hello.txt'));
    const body = bytes === 0 ? Buffer.alloc(0) : Buffer.concat([u64(1), Buffer.alloc(bytes - 8)]);
    const reply = await kernel.call(opcode, 1, body);
    expect([reply.error, reply.body.byteLength]).toEqual([0, 0]);
  });

  test('every opcode of the kernel is known by its number', () => {
    expect(new Set(Object.values(Opcode)).size).toBe(Object.keys(Opcode).length);
  });
});

describe('counting', () => {
  const counted = () =>
    Object.fromEntries(
      Object.entries(kernel.operations.requests.snapshot()).map(([kind, { count }]) => [kind, count]),
    );

  test('every request once, by what it asks, whatever comes of it', async () => {
    const node = await walk('hello.txt');
    await kernel.call('GETATTR', node, Buffer.alloc(16));
    await kernel.call('LOOKUP', 1, names('missing'));
    await kernel.call('GETATTR', 4711, Buffer.alloc(16));
    kernel.send('FORGET', node, u64(1));
    await kernel.call(4095, 1);
    // Too short for its structure, and without a whole header.
    await kernel.call('READ', node, u32(0));
    kernel.sendRaw(Buffer.alloc(8));
    expect(counted()).toEqual({ lookup: 2, getattr: 2, forget: 1, unknown: 1, read: 1 });
  });

  test('one that waits when it has ended', async () => {
    const directory = await walk('stuck-dir');
    const stuck = kernel.send('LOOKUP', directory, names('x'));
    await settled();
    expect(counted()).toEqual({ lookup: 1 });
    kernel.send('INTERRUPT', 0, u64(stuck));
    await settled();
    expect(counted()).toMatchObject({ interrupt: 1 });
  });
});

describe('interrupts', () => {
  test('one that waits is answered at once, others go on', async () => {
    const stuckDir = await walk('stuck-dir');
    const stuck = kernel.send('LOOKUP', stuckDir, names('x'));
    await walk('hello.txt');
    expect(kernel.connection.waiting).toBe(1);
    kernel.send('INTERRUPT', 0, u64(stuck));
    await settled();
    const reply = kernel.replies.find((one) => one.unique === stuck);
    expect(reply?.error).toBe(-errno.EINTR);
    expect(fixture.counts.aborted).toBe(1);
    expect(kernel.connection.waiting).toBe(0);
    // INTERRUPT itself gets no reply, nor does a second one change anything.
    kernel.send('INTERRUPT', 0, u64(stuck));
    await settled();
    expect(kernel.replies.filter((one) => one.unique === stuck).length).toBe(1);
    expect(kernel.replies.length).toBe(3);
  });

  test('an operation that heeds its signal does not make a second reply', async () => {
    const { fh } = await openHandle('OPEN', await walk('obedient'));
    const read = kernel.send('READ', 2, readIn(fh, 0, 4096));
    kernel.send('INTERRUPT', 0, u64(read));
    await settled();
    expect(kernel.replies.filter((one) => one.unique === read).map((one) => one.error)).toEqual([
      -errno.EINTR,
    ]);
  });

  test('what comes late is let go: references and handles', async () => {
    const hello = await walk('hello.txt');
    const open = kernel.send('OPEN', hello, u32(0, 0));
    kernel.send('LOOKUP', 1, names('a'));
    kernel.connection.end();
    await settled();
    expect(kernel.operations.openHandles).toBe(0);
    expect(kernel.connection.inodes.size).toBe(2);
    expect(kernel.replies.filter((one) => one.unique >= open).length).toBe(2);
  });

  test('an unknown one is ignored', () => {
    kernel.send('INTERRUPT', 0, u64(4711));
    expect(kernel.replies).toEqual([]);
  });

  test('when the mount ends, all that wait and all that would are interrupted', async () => {
    const stuckDir = await walk('stuck-dir');
    const waiting = [1, 2, 3].map((n) => kernel.send('LOOKUP', stuckDir, names(`x${n}`)));
    kernel.connection.end();
    for (const unique of waiting) {
      expect(kernel.replies.find((one) => one.unique === unique)?.error).toBe(-errno.EINTR);
    }
    expectError(await kernel.call('LOOKUP', stuckDir, names('y')), 'EINTR');
    expect(kernel.connection.waiting).toBe(0);
  });
});
