import { constants } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { Operations } from '../../src/fuse/operations.ts';
import { FsError } from '../../src/errors.ts';
import type { FileNode, Node } from '../../src/fuse/tree/node.ts';
import { HANDLES_MAX } from '../../src/limits.ts';
import { copied } from '../support/copied.ts';
import { BIG_BYTES, HELLO, createFixture } from '../support/fixture-tree.ts';
import { memoryTree } from '../support/memory-tree.ts';

const never = new AbortController().signal;
const UID = 1;
let operations: Operations;
beforeEach(() => {
  operations = new Operations(createFixture({ uid: 1, gid: 1 }).tree);
});
const lookup = async (name: string) => operations.lookup(operations.root, name, never);

describe('files', () => {
  test('are opened, read and released', async () => {
    const handle = await operations.open(await lookup('hello.txt'), constants.O_RDONLY, never, UID);
    expect(handle).toBeGreaterThan(0);
    expect((await operations.read(handle, 0, 100, never, copied)).toString()).toBe(HELLO);
    expect(operations.openHandles).toBe(1);
    operations.release(handle);
    operations.release(handle);
    expect(operations.openHandles).toBe(0);
    await expect(operations.read(handle, 0, 1, never, copied)).rejects.toMatchObject({ code: 'EBADF' });
  });

  test('are not opened for writing', async () => {
    const file = await lookup('hello.txt');
    for (const flags of [constants.O_WRONLY, constants.O_RDWR, constants.O_TRUNC]) {
      await expect(operations.open(file, flags, never, UID)).rejects.toMatchObject({ code: 'EROFS' });
    }
    // Appending only says where a write would go.
    expect(await operations.open(file, constants.O_RDONLY | constants.O_APPEND, never, UID)).toBeGreaterThan(
      0,
    );
    expect(() => operations.requireChangeable(file)).toThrow('read-only');
  });

  test('are nothing else', async () => {
    await expect(operations.open(await lookup('a'), 0, never, UID)).rejects.toMatchObject({ code: 'EISDIR' });
    await expect(operations.open(await lookup('link'), 0, never, UID)).rejects.toMatchObject({
      code: 'ELOOP',
    });
    const file = await lookup('hello.txt');
    await expect(operations.lookup(file, 'x', never)).rejects.toMatchObject({ code: 'ENOTDIR' });
    await expect(operations.openDirectory(file, never, UID)).rejects.toMatchObject({ code: 'ENOTDIR' });
    expect(() => operations.readlink(file)).toThrow('not a symbolic link');
    expect(operations.readlink(await lookup('link'))).toBe('hello.txt');
    await expect(lookup('missing')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

test('directories are opened as they are, and handles of one kind are none of the other', async () => {
  const directory = await operations.openDirectory(operations.root, never, UID);
  expect(operations.entries(directory).at(0)?.name).toBe('hello.txt');
  await expect(operations.read(directory, 0, 1, never, copied)).rejects.toMatchObject({ code: 'EBADF' });
  const file = await operations.open(await lookup('hello.txt'), 0, never, UID);
  expect(() => operations.entries(file)).toThrow('not an open directory');
  operations.releaseAll();
  expect(operations.openHandles).toBe(0);
});

test('extended attributes and space', async () => {
  const file = await lookup('hello.txt');
  expect(await operations.listxattr(file)).toEqual(['user.dtool.hash', 'user.empty']);
  expect(Buffer.from(await operations.getxattr(file, 'user.dtool.hash')).toString()).toBe('5eb63bbb');
  await expect(operations.getxattr(file, 'user.other')).rejects.toThrow('no extended attribute');
  expect(await operations.listxattr(operations.root)).toEqual([]);
  expect(await operations.statfs()).toMatchObject({ bytes: BIG_BYTES });
});

describe('what is open', () => {
  const OTHER = 2;
  let open: number;
  let refused: number[];
  const file = (isLocal?: true): FileNode => ({
    ...createFixture({ uid: UID, gid: 1 }).changing.file,
    ...(isLocal && { isLocal }),
    open: async () => {
      open += 1;
      return {
        read: async () => Promise.reject(new Error('nobody reads it')),
        close: () => {
          open -= 1;
        },
      };
    },
  });
  const openMany = async (node: Node, count: number, uid: number): Promise<number[]> => {
    const handles: number[] = [];
    for (let index = 0; index < count; index += 1) handles.push(await operations.open(node, 0, never, uid));
    return handles;
  };
  const expectFull = async (node: Node, uid: number) => {
    const before = open;
    await expect(operations.open(node, 0, never, uid)).rejects.toMatchObject({ code: 'EMFILE' });
    expect(open).toBe(before);
  };

  beforeEach(() => {
    open = 0;
    refused = [];
    const { tree } = createFixture({ uid: UID, gid: 1 });
    operations = new Operations(tree, { descriptors: 8, onRefused: (uid) => refused.push(uid) });
  });

  test('has a bound, of which a user has half of what the others leave', async () => {
    const node = file();
    const [handle = 0] = await openMany(node, HANDLES_MAX / 2, UID);
    await expectFull(node, UID);
    await expect(operations.openDirectory(operations.root, never, UID)).rejects.toMatchObject({
      code: 'EMFILE',
    });
    await openMany(node, HANDLES_MAX / 4, OTHER);
    await expectFull(node, OTHER);
    operations.release(handle);
    // Others leave less now than when it opened its own.
    await expectFull(node, UID);
    operations.releaseAll();
    expect([open, operations.openHandles]).toEqual([0, 0]);
    await openMany(node, HANDLES_MAX / 2, OTHER);
  });

  test('takes descriptors on the local disk, of which there are fewer', async () => {
    const [local, remote] = [file(true), file()];
    const handles = await openMany(local, 4, UID);
    await expectFull(local, UID);
    await openMany(remote, 10, UID);
    await openMany(local, 2, OTHER);
    await openMany(local, 1, 3);
    await openMany(local, 1, 4);
    await expectFull(local, 5);
    await expectFull(local, UID);
    for (const handle of handles) operations.release(handle);
    await openMany(local, 2, UID);
    operations.releaseAll();
    await openMany(local, 4, 5);
  });

  test('is counted while it opens, and given back when it can not be opened', async () => {
    let fail!: (error: Error) => void;
    const node: FileNode = {
      ...file(true),
      open: async () =>
        new Promise<never>((_, reject) => {
          fail = reject;
        }),
    };
    const opening = operations.open(node, 0, never, UID);
    await openMany(file(true), 3, UID);
    await expectFull(file(true), UID);
    fail(new FsError('EACCES', 'no'));
    await expect(opening).rejects.toMatchObject({ code: 'EACCES' });
    await openMany(file(true), 1, UID);
  });

  test('is told of once when it is refused, and again after something was closed', async () => {
    const [handle = 0] = await openMany(file(true), 4, UID);
    await expectFull(file(true), UID);
    await expectFull(file(true), UID);
    expect(refused).toEqual([UID]);
    operations.release(handle);
    await openMany(file(true), 1, UID);
    await expectFull(file(true), UID);
    expect(refused).toEqual([UID, UID]);
  });
});

describe('changes', () => {
  const caller = { uid: 1000, gid: 1000 };
  let changing: Operations;
  beforeEach(() => {
    changing = new Operations(memoryTree(caller));
  });
  const mode = async (name: string) => (await changing.lookup(changing.root, name, never)).attributes().mode;
  const make = async (name: string, permissions = 0o644) =>
    changing.create(changing.root, name, constants.O_EXCL, permissions, caller);

  test('are refused structurally where there are none', async () => {
    const file = await lookup('hello.txt');
    const { root } = operations;
    for (const refused of [
      operations.setAttributes(file, { mode: 0o600 }),
      operations.create(root, 'new', 0, 0o644, caller),
      operations.makeNode(root, 'new', constants.S_IFIFO, caller),
      operations.makeDirectory(root, 'new', 0o755, caller),
      operations.makeSymlink(root, 'new', 'x', caller),
      operations.link(file, root, 'new'),
      operations.unlink(root, 'hello.txt'),
      operations.removeDirectory(root, 'a'),
      operations.rename(root, 'a', root, 'b', 'replace', () => never),
      operations.setxattr(file, 'user.a', Buffer.alloc(1)),
      operations.removexattr(file, 'user.empty'),
    ]) {
      await expect(refused).rejects.toMatchObject({ code: 'EROFS' });
    }
    const handle = await operations.open(file, 0, never, UID);
    await expect(operations.write(handle, 0, Buffer.alloc(1))).rejects.toMatchObject({ code: 'EROFS' });
    await expect(operations.allocate(handle, 0, 1, { as: 'space', keepSize: false })).rejects.toMatchObject({
      code: 'EROFS',
    });
    await operations.syncFile(handle, false);
    await operations.syncDirectory(root);
  });

  test('between parts of the tree are refused', async () => {
    const { node } = await make('file');
    await expect(
      changing.rename(changing.root, 'file', operations.root, 'x', 'replace', () => never),
    ).rejects.toMatchObject({
      code: 'EROFS',
    });
    const elsewhere = new Operations(memoryTree(caller));
    await expect(changing.link(await lookup('hello.txt'), changing.root, 'x')).rejects.toMatchObject({
      code: 'EXDEV',
    });
    await expect(elsewhere.link(elsewhere.root, elsewhere.root, 'x')).rejects.toMatchObject({
      code: 'EPERM',
    });
    expect(node.attributes().nlink).toBe(1);
  });

  test('a file that is there is opened by create, and truncated when that is asked', async () => {
    const { handle } = await make('file');
    await changing.write(handle, 0, Buffer.from('content'));
    await expect(make('file')).rejects.toMatchObject({ code: 'EEXIST' });
    const again = await changing.create(changing.root, 'file', constants.O_RDWR, 0o600, caller);
    expect(again.node.attributes()).toMatchObject({ size: 7, mode: 0o644 });
    await changing.create(changing.root, 'file', constants.O_RDWR | constants.O_TRUNC, 0o600, caller);
    expect(again.node.attributes().size).toBe(0);
    await changing.makeDirectory(changing.root, 'd', 0o755, caller);
    await expect(changing.create(changing.root, 'd', 0, 0o644, caller)).rejects.toMatchObject({
      code: 'EISDIR',
    });
  });

  test('an open that fails to truncate leaves nothing open', async () => {
    const { node, handle } = await make('file');
    changing.release(handle);
    if (node.changes) node.changes.setAttributes = async () => Promise.reject(new FsError('ENOSPC', 'full'));
    const open = changing.open(node, constants.O_WRONLY | constants.O_TRUNC, never, UID);
    await expect(open).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(changing.openHandles).toBe(0);
  });

  const stranger = { uid: 4711, gid: 4711 };

  test('privileges of a file go with its owner, and when the kernel says so', async () => {
    const { node, handle } = await make('file', 0o6755);
    await changing.write(handle, 0, Buffer.from('x'));
    expect(await mode('file')).toBe(0o6755);
    await changing.write(handle, 0, Buffer.from('x'), stranger);
    expect(await mode('file')).toBe(0o755);
    await changing.setAttributes(node, { mode: 0o6755 });
    await changing.allocate(handle, 0, 1, { as: 'space', keepSize: false }, stranger);
    expect(await mode('file')).toBe(0o755);
    await changing.setAttributes(node, { mode: 0o6745 });
    await changing.setAttributes(node, { uid: 5 });
    // Set-group-id without permission to execute is no privilege.
    expect(await mode('file')).toBe(0o2745);
    await changing.write(handle, 0, Buffer.from('x'), { uid: 1, gid: node.attributes().gid });
    expect(await mode('file')).toBe(0o2745);
    // But those who are not of the group lose it.
    await changing.write(handle, 0, Buffer.from('x'), stranger);
    expect(await mode('file')).toBe(0o745);
    await changing.setAttributes(node, { gid: 5, mode: 0o4755 });
    expect(await mode('file')).toBe(0o4755);
    changing.release(await changing.open(node, constants.O_TRUNC, never, UID, stranger));
    expect(await mode('file')).toBe(0o755);
  });

  test('sizes and offsets that no number holds, and sizes of what has none', async () => {
    const { node, handle } = await make('file');
    for (const refused of [
      changing.write(handle, Number.MAX_SAFE_INTEGER, Buffer.alloc(2)),
      changing.allocate(handle, Number.MAX_SAFE_INTEGER, 2, { as: 'space', keepSize: false }),
      changing.setAttributes(node, { size: 2 ** 53 }),
    ]) {
      await expect(refused).rejects.toMatchObject({ code: 'EFBIG' });
    }
    await expect(changing.setAttributes(changing.root, { size: 0 })).rejects.toMatchObject({
      code: 'EINVAL',
    });
  });

  test('no devices can be made by mknod, and only user attributes be set', async () => {
    const { root } = changing;
    for (const type of [constants.S_IFCHR, constants.S_IFBLK]) {
      await expect(changing.makeNode(root, 'x', type | 0o644, caller)).rejects.toMatchObject({
        code: 'EPERM',
      });
    }
    for (const [kind, type] of [
      ['fifo', constants.S_IFIFO],
      ['socket', constants.S_IFSOCK],
    ] as const) {
      const node = await changing.makeNode(root, kind, type | 0o640, caller);
      expect(node.attributes()).toMatchObject({ kind, mode: 0o640 });
      await expect(changing.open(node, constants.O_RDONLY, never, UID)).rejects.toMatchObject({
        code: 'ENXIO',
      });
    }
    const file = await changing.makeNode(root, 'x', constants.S_IFREG | 0o640, caller);
    expect(file.attributes()).toMatchObject({ kind: 'file', mode: 0o640 });
    expect(changing.openHandles).toBe(0);
    await changing.setxattr(file, 'user.a', Buffer.from('1'));
    await expect(changing.setxattr(file, 'security.capability', Buffer.from('1'))).rejects.toMatchObject({
      code: 'ENOTSUP',
    });
    await expect(changing.getxattr(file, 'security.capability')).rejects.toMatchObject({ code: 'ENOTSUP' });
  });

  test('outdate listings, which can be taken again', async () => {
    const { root } = changing;
    changing.release((await make('a')).handle);
    const handle = await changing.openDirectory(root, never, UID);
    expect(changing.isCurrent(handle)).toBe(true);
    await changing.makeDirectory(root, 'd', 0o755, caller);
    expect(changing.isCurrent(handle)).toBe(false);
    expect(changing.entries(handle).length).toBe(1);
    await changing.relist(handle, never);
    expect([changing.isCurrent(handle), changing.entries(handle).length]).toEqual([true, 2]);
    const inside = await changing.openDirectory(await changing.lookup(root, 'd', never), never, UID);
    await changing.rename(root, 'a', await changing.lookup(root, 'd', never), 'b', 'no-replace', () => never);
    expect([changing.isCurrent(handle), changing.isCurrent(inside)]).toEqual([false, false]);
    changing.releaseAll();
    await expect(changing.relist(handle, never)).rejects.toMatchObject({ code: 'EBADF' });
  });
});
