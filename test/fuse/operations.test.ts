import { constants } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { Operations } from '../../src/fuse/operations.ts';
import { HANDLES_MAX } from '../../src/limits.ts';
import { BIG_BYTES, HELLO, createFixture } from '../support/fixture-tree.ts';

const never = new AbortController().signal;
let operations: Operations;
beforeEach(() => {
  operations = new Operations(createFixture({ uid: 1, gid: 1 }).tree);
});
const lookup = async (name: string) => operations.lookup(operations.root, name, never);

describe('files', () => {
  test('are opened, read and released', async () => {
    const handle = await operations.open(await lookup('hello.txt'), constants.O_RDONLY, never);
    expect(handle).toBeGreaterThan(0);
    expect(Buffer.concat(await operations.read(handle, 0, 100, never)).toString()).toBe(HELLO);
    expect(operations.openHandles).toBe(1);
    operations.release(handle);
    operations.release(handle);
    expect(operations.openHandles).toBe(0);
    await expect(operations.read(handle, 0, 1, never)).rejects.toMatchObject({ code: 'EBADF' });
  });

  test('are not opened for writing', async () => {
    const file = await lookup('hello.txt');
    for (const flags of [constants.O_WRONLY, constants.O_RDWR, constants.O_TRUNC]) {
      await expect(operations.open(file, flags, never)).rejects.toMatchObject({ code: 'EROFS' });
    }
    // Appending only says where a write would go.
    expect(await operations.open(file, constants.O_RDONLY | constants.O_APPEND, never)).toBeGreaterThan(0);
    expect(() => operations.change()).toThrow('read-only');
  });

  test('are nothing else', async () => {
    await expect(operations.open(await lookup('a'), 0, never)).rejects.toMatchObject({ code: 'EISDIR' });
    await expect(operations.open(await lookup('link'), 0, never)).rejects.toMatchObject({ code: 'ELOOP' });
    const file = await lookup('hello.txt');
    await expect(operations.lookup(file, 'x', never)).rejects.toMatchObject({ code: 'ENOTDIR' });
    await expect(operations.openDirectory(file, never)).rejects.toMatchObject({ code: 'ENOTDIR' });
    expect(() => operations.readlink(file)).toThrow('not a symbolic link');
    expect(operations.readlink(await lookup('link'))).toBe('hello.txt');
    await expect(lookup('missing')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

test('directories are opened as they are, and handles of one kind are none of the other', async () => {
  const directory = await operations.openDirectory(operations.root, never);
  expect(operations.entries(directory).at(0)?.name).toBe('hello.txt');
  await expect(operations.read(directory, 0, 1, never)).rejects.toMatchObject({ code: 'EBADF' });
  const file = await operations.open(await lookup('hello.txt'), 0, never);
  expect(() => operations.entries(file)).toThrow('not an open directory');
  operations.releaseAll();
  expect(operations.openHandles).toBe(0);
});

test('extended attributes and space', async () => {
  const file = await lookup('hello.txt');
  expect(operations.listxattr(file)).toEqual(['user.dtool.hash', 'user.empty']);
  expect(Buffer.from(operations.getxattr(file, 'user.dtool.hash')).toString()).toBe('5eb63bbb');
  expect(() => operations.getxattr(file, 'user.other')).toThrow('no extended attribute');
  expect(operations.listxattr(operations.root)).toEqual([]);
  expect(await operations.statfs(never)).toMatchObject({ bytes: BIG_BYTES });
});

test('handles have a bound, and a file that exceeds it is closed again', async () => {
  const fixture = createFixture({ uid: 1, gid: 1 });
  let open = 0;
  const file = Object.assign(fixture.changing.file, {
    open: async () => {
      open += 1;
      return {
        read: async () => [],
        close: () => {
          open -= 1;
        },
      };
    },
  });
  for (let index = 0; index < HANDLES_MAX; index += 1) await operations.open(file, 0, never);
  await expect(operations.open(file, 0, never)).rejects.toMatchObject({ code: 'EMFILE' });
  expect(open).toBe(HANDLES_MAX);
  operations.releaseAll();
  expect(open).toBe(0);
});
