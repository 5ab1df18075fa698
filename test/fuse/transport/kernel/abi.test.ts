import { expect, test } from 'vitest';
import * as replies from '../../../../src/fuse/transport/kernel/abi/replies.ts';
import * as requests from '../../../../src/fuse/transport/kernel/abi/requests.ts';
import { struct } from '../../../../src/fuse/transport/kernel/abi/struct.ts';

/** sizeof() by a C compiler from linux/fuse.h; STATX and COPY_FILE_RANGE_64 from the declarations of 7.45. */
const REQUEST_BYTES: Record<string, number> = {
  InHeader: 40,
  InitIn: 16,
  InitInMore: 48,
  ForgetIn: 8,
  BatchForgetIn: 8,
  ForgetOne: 16,
  GetattrIn: 16,
  SetattrIn: 88,
  AccessIn: 8,
  MknodIn: 16,
  MkdirIn: 8,
  RenameIn: 8,
  Rename2In: 16,
  LinkIn: 8,
  OpenIn: 8,
  CreateIn: 16,
  ReadIn: 40,
  WriteIn: 40,
  FlushIn: 24,
  FsyncIn: 16,
  ReleaseIn: 24,
  LseekIn: 24,
  StatxIn: 24,
  FallocateIn: 32,
  SetxattrIn: 8,
  GetxattrIn: 8,
  InterruptIn: 8,
  NotifyReplyIn: 40,
};
const REPLY_BYTES: Record<string, number> = {
  OutHeader: 16,
  InitOut: 64,
  Attr: 88,
  AttrOut: 16,
  EntryOut: 40,
  OpenOut: 16,
  WriteOut: 8,
  GetxattrOut: 8,
  LseekOut: 8,
  StatxOut: 32,
  Statx: 256,
  StatfsOut: 80,
  Dirent: 24,
  NotifyInvalInodeOut: 24,
  NotifyInvalEntryOut: 16,
  NotifyDeleteOut: 24,
  NotifyRetrieveOut: 32,
};

const sizes = (module: object): Record<string, number> =>
  Object.fromEntries(
    Object.entries(module).flatMap(([name, value]: [string, unknown]) =>
      typeof value === 'object' && value !== null && 'size' in value ? [[name, Number(value.size)]] : [],
    ),
  );

test('every structure has the size that the ABI gives it', () => {
  expect(sizes(requests)).toEqual(REQUEST_BYTES);
  expect(sizes(replies)).toEqual(REPLY_BYTES);
});

test('fields are where the ABI has them', () => {
  expect(requests.InHeader.at).toMatchObject({ opcode: 4, unique: 8, nodeid: 16, uid: 24, totalExtlen: 36 });
  expect(requests.SetattrIn.at).toMatchObject({
    size: 16,
    mtime: 40,
    mtimensec: 60,
    mode: 68,
    uid: 76,
    gid: 80,
  });
  expect(requests.ReadIn.at).toMatchObject({ offset: 8, size: 16, lockOwner: 24 });
  expect(requests.WriteIn.at).toMatchObject({ offset: 8, size: 16, lockOwner: 24 });
  expect(replies.Attr.at).toMatchObject({ mtime: 32, mode: 60, nlink: 64, uid: 68, blksize: 80 });
  expect(replies.InitOut.at).toMatchObject({ maxBackground: 16, maxWrite: 20, maxPages: 28, flags2: 32 });
  expect(replies.Statx.at).toMatchObject({ ino: 32, atime: 64, btime: 80, mtime: 112, devMinor: 140 });
  expect(replies.StatfsOut.at).toMatchObject({ bsize: 40, namelen: 44, frsize: 48 });
});

const sample = struct({ wide: 'u64', small: 'u16', gap: 6, signed: 'i64', error: 'i32' });

test.each([
  ['small', sample.get.small, sample.set.small, 0xbeef],
  ['error', sample.get.error, sample.set.error, -2],
  ...[0, 0x1_0000_0000, Number.MAX_SAFE_INTEGER].map(
    (value) => ['wide', sample.get.wide, sample.set.wide, value] as const,
  ),
  ...[-1, -86_400, -(2 ** 40) - 5, Number.MIN_SAFE_INTEGER, 2 ** 33 + 1].map(
    (value) => ['signed', sample.get.signed, sample.set.signed, value] as const,
  ),
] as const)('%s survives writing and reading', (field, get, set, value) => {
  const view = new DataView(new ArrayBuffer(40));
  set(view, 3, value);
  expect(get(view, 3)).toBe(value);
  expect(sample.decode(view, 3)).toMatchObject({ [field]: value });
});

test('64-bit numbers have the bytes that the kernel reads', () => {
  const bytes = Buffer.alloc(28);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  sample.set.wide(view, 0, 0x0001_0203_0405_0607);
  sample.set.signed(view, 0, -86_400);
  expect(bytes.subarray(0, 8).toString('hex')).toBe('0706050403020100');
  expect(bytes.readBigInt64LE(sample.at.signed)).toBe(-86_400n);
});

test('a field that C would move is refused', () => {
  expect(() => struct({ first: 'u32', second: 'u64' })).toThrow('second is not aligned');
});
