import { constants } from 'node:os';
import { beforeEach, expect, test } from 'vitest';
import { FakeKernel, names, type Reply, u32, u64 } from '../../../support/fake-kernel.ts';
import { type MemoryDirectory, memoryTree } from '../../../support/memory-tree.ts';

const { errno } = constants;
const ENTRY_BYTES = 128;
const OPEN_BYTES = 16;

let root: MemoryDirectory;
let kernel: FakeKernel;

beforeEach(() => {
  const tree = memoryTree({ uid: 0, gid: 0 });
  ({ root } = tree);
  kernel = new FakeKernel(tree);
});

const createIn = (name: string, flags = 0x42): Buffer =>
  Buffer.concat([u32(flags, 0o100640, 0o22, 0), names(name)]);
const nodeOf = ({ body }: Reply): number => Number(body.readBigUInt64LE(0));
const done = (reply: Reply): Reply => {
  expect(reply.error).toBe(0);
  return reply;
};
const writeIn = (fh: bigint, offset: number | bigint, data: string, flags = 0): Buffer =>
  Buffer.concat([u64(fh, offset), u32(data.length, flags), u64(0), u32(0, 0), Buffer.from(data)]);

async function create(name: string): Promise<{ node: number; fh: bigint }> {
  const reply = done(await kernel.call('CREATE', 1, createIn(name)));
  return { node: nodeOf(reply), fh: reply.body.readBigUInt64LE(ENTRY_BYTES) };
}

async function content(fh: bigint): Promise<string> {
  const readIn = Buffer.concat([u64(fh, 0), u32(4096, 0), u64(0), u32(0, 0)]);
  return done(await kernel.call('READ', 1, readIn)).body.toString();
}

test('CREATE replies with entry and handle; the owner is who asks, the mode as it came', async () => {
  const { body } = done(await kernel.call('CREATE', 1, createIn('f')));
  expect(body.byteLength).toBe(ENTRY_BYTES + OPEN_BYTES);
  expect(body.readUInt32LE(40 + 60)).toBe(0o100640);
  expect([body.readUInt32LE(40 + 68), body.readUInt32LE(40 + 72)]).toEqual([1000, 1000]);
  // KEEP_CACHE, but not NOFLUSH: mappings are written when the file is closed.
  expect(body.readUInt32LE(ENTRY_BYTES + 8)).toBe(2);
  expect(kernel.operations.openHandles).toBe(1);
  expect((await kernel.call('CREATE', 1, createIn('f', 0xc2))).error).toBe(-errno.EEXIST);
});

test('references are counted exactly, by whatever reply they came', async () => {
  const { inodes } = kernel.connection;
  const { node: file } = await create('f');
  const made = [
    done(await kernel.call('MKNOD', 1, Buffer.concat([u32(0o100644, 0, 0, 0), names('n')]))),
    done(await kernel.call('MKDIR', 1, Buffer.concat([u32(0o755, 0), names('d')]))),
    done(await kernel.call('SYMLINK', 1, names('s', 'target'))),
  ].map(nodeOf);
  const linked = done(await kernel.call('LINK', 1, Buffer.concat([u64(file), names('l')])));
  expect(nodeOf(linked)).toBe(file);
  // nlink, which the kernel now has of either name.
  expect(linked.body.readUInt32LE(40 + 64)).toBe(2);
  expect(inodes.size).toBe(5);
  for (const node of made) kernel.send('FORGET', node, u64(1));
  expect(inodes.size).toBe(2);
  kernel.send('FORGET', file, u64(1));
  expect(inodes.size).toBe(2);
  kernel.send('FORGET', file, u64(1));
  expect(inodes.size).toBe(1);
});

test('what the kernel did not take is let go', async () => {
  await create('f');
  const before = [kernel.connection.inodes.size, kernel.operations.openHandles];
  kernel.takes = false;
  await kernel.call('CREATE', 1, createIn('g'));
  await kernel.call('MKNOD', 1, Buffer.concat([u32(0o100644, 0, 0, 0), names('n')]));
  await kernel.call('MKDIR', 1, Buffer.concat([u32(0o755, 0), names('d')]));
  await kernel.call('SYMLINK', 1, names('s', 'target'));
  await kernel.call('LINK', 1, Buffer.concat([u64(2), names('l')]));
  expect([kernel.connection.inodes.size, kernel.operations.openHandles]).toEqual(before);
  // They were made all the same.
  expect([...root.entries.keys()]).toEqual(['f', 'g', 'n', 'd', 's', 'l']);
});

test('WRITE takes the data over before the buffer is used again', async () => {
  const { node, fh } = await create('f');
  const both = [
    kernel.call('WRITE', node, writeIn(fh, 0, 'hello')),
    kernel.call('WRITE', node, writeIn(fh, 5, '!')),
  ];
  for (const reply of await Promise.all(both)) expect(done(reply).body.byteLength).toBe(8);
  expect(await content(fh)).toBe('hello!');
  expect((await kernel.call('WRITE', node, writeIn(fh, -1n, 'x'))).error).toBe(-errno.EFBIG);
  expect((await kernel.call('WRITE', node, writeIn(99n, 0, 'x'))).error).toBe(-errno.EBADF);
  expect((await kernel.call('WRITE', node, writeIn(fh, 0, 'xyz').subarray(0, -1))).error).toBe(-errno.EINVAL);
});

test('what is unlinked goes on while it is known or open, and renames keep numbers', async () => {
  const { node, fh } = await create('f');
  done(await kernel.call('RENAME', 1, Buffer.concat([u64(1), names('f', 'g')])));
  expect(nodeOf(done(await kernel.call('LOOKUP', 1, names('g'))))).toBe(node);
  done(await kernel.call('UNLINK', 1, names('g')));
  done(await kernel.call('WRITE', node, writeIn(fh, 0, 'still here')));
  kernel.send('FORGET', node, u64(2));
  expect(await content(fh)).toBe('still here');
});

test('RENAME2 has the modes of renameat2', async () => {
  await create('a');
  await create('b');
  const rename = async (flags: number, from: string, to: string) =>
    (await kernel.call('RENAME2', 1, Buffer.concat([u64(1), u32(flags, 0), names(from, to)]))).error;
  expect(await rename(1, 'a', 'b')).toBe(-errno.EEXIST);
  const b = root.entries.get('b');
  expect(await rename(2, 'a', 'b')).toBe(0);
  expect(root.entries.get('a')).toBe(b);
  for (const flags of [3, 4, 5, 8]) expect(await rename(flags, 'a', 'b')).toBe(-errno.EINVAL);
  expect(await rename(0, 'a', 'b')).toBe(0);
  expect([...root.entries.keys()]).toEqual(['b']);
});

test('SETATTR sets what is marked, and replies with what is then', async () => {
  const { node } = await create('f');
  const setattr = async (valid: number) => {
    const body = Buffer.alloc(88);
    body.writeUInt32LE(valid, 0);
    body.writeBigUInt64LE(4n, 16);
    body.writeBigInt64LE(-2n, 32);
    body.writeBigInt64LE(1_600_000_000n, 40);
    body.writeUInt32LE(1, 56);
    body.writeUInt32LE(123_456_789, 60);
    body.writeUInt32LE(0o104711, 68);
    body.writeUInt32LE(7, 76);
    body.writeUInt32LE(8, 80);
    return done(await kernel.call('SETATTR', node, body)).body.subarray(16);
  };
  const attributes = await setattr(1 | 8 | 16 | 32);
  expect(attributes.readUInt32LE(60)).toBe(0o104711);
  expect(attributes.readBigUInt64LE(8)).toBe(4n);
  expect([attributes.readBigInt64LE(24), attributes.readUInt32LE(48)]).toEqual([-2n, 1]);
  expect([attributes.readBigInt64LE(32), attributes.readUInt32LE(52)]).toEqual([1_600_000_000n, 123_456_789]);
  expect([attributes.readUInt32LE(68), attributes.readUInt32LE(72)]).toEqual([1000, 1000]);
  const owned = await setattr(2 | 4);
  expect([owned.readUInt32LE(68), owned.readUInt32LE(72), owned.readUInt32LE(60)]).toEqual([7, 8, 0o100711]);
  const now = await setattr(16 | 128 | 32 | 256);
  expect(Number(now.readBigInt64LE(24))).toBeGreaterThan(1_600_000_000);
  await setattr(1);
  expect((await setattr(8 | 2048)).readUInt32LE(60)).toBe(0o100711);
});

test('READDIRPLUS gives names alone once changes have overtaken the listing, and a new one from the start', async () => {
  for (const name of ['a', 'b', 'c']) await create(name);
  const opened = done(await kernel.call('OPENDIR', 1, u32(0, 0))).body;
  // What changes is not kept by the kernel.
  expect(opened.readUInt32LE(8)).toBe(0);
  const nodes = async (offset: number) => {
    const readIn = Buffer.concat([u64(opened.readBigUInt64LE(0), offset), u32(4096, 0), u64(0), u32(0, 0)]);
    const { body } = done(await kernel.call('READDIRPLUS', 1, readIn));
    // A name of one letter takes 160 bytes.
    return Array.from(
      { length: body.byteLength / 160 },
      (_, index) => body.readBigUInt64LE(index * 160) > 0n,
    );
  };
  expect(await nodes(2)).toEqual([true, true, true]);
  done(await kernel.call('UNLINK', 1, names('b')));
  expect(await nodes(2)).toEqual([false, false, false]);
  expect(await nodes(0)).toEqual([false, false, true, true]);
  expect(await nodes(2)).toEqual([true, true]);
});

test('names that are not UTF-8 are not made', async () => {
  const odd = Buffer.from([0x61, 0xff, 0]);
  expect((await kernel.call('CREATE', 1, Buffer.concat([u32(0x42, 0o644, 0, 0), odd]))).error).toBe(
    -errno.EILSEQ,
  );
  expect((await kernel.call('MKDIR', 1, Buffer.concat([u32(0o755, 0), odd]))).error).toBe(-errno.EILSEQ);
  expect(root.entries.size).toBe(0);
});

test('changes are not interrupted: who asked is told what became of them', async () => {
  const unique = kernel.send('MKDIR', 1, Buffer.concat([u32(0o755, 0), names('d')]));
  kernel.send('INTERRUPT', 0, u64(unique));
  await new Promise((resolve) => setImmediate(resolve));
  expect(kernel.replies.map(({ error }) => error)).toEqual([0]);
});
