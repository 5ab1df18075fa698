import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { FsError, type FsErrorCode } from '../../../src/errors.ts';
import type * as LocalFiles from '../../../src/fuse/staging/local-files.ts';
import { Area } from '../../../src/fuse/staging/area.ts';
import { ownArea } from '../../../src/fuse/staging/known-areas.ts';
import type { FileNode, OpenFile } from '../../../src/fuse/tree/node.ts';
import type { StagedFolder } from '../../../src/fuse/tree/staging-folder.ts';
import { StagingRoot } from '../../../src/fuse/tree/staging-root.ts';
import { silentLogger } from '../../../src/log.ts';
import { FAILED_FILES_ROOM_BYTES } from '../../../src/limits.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const ENDPOINT = 'https://ecs.example.org:9021';

/** Which calls to the local disk fail, by the function, and with what. */
const faults = vi.hoisted(() => new Map<string, FsErrorCode>());

vi.mock('../../../src/fuse/staging/local-files.ts', async (original) => {
  const local = await original<typeof LocalFiles>();
  const failing =
    <A extends unknown[], T>(name: string, call: (...args: A) => Promise<T>) =>
    async (...args: A): Promise<T> => {
      const code = faults.get(name);
      // A close that fails closes all the same.
      if (code === undefined || name === 'close') await Promise.resolve();
      const result = code === undefined || name === 'close' ? await call(...args) : undefined;
      if (code !== undefined) throw new FsError(code, `${name} failed`);
      return result as T;
    };
  return {
    ...local,
    close: failing('close', local.close),
    write: failing('write', local.write),
    sync: failing('sync', local.sync),
    flush: failing('flush', local.flush),
  };
});

const { signal: never } = new AbortController();
const me = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

interface Opened {
  readonly area: Area;
  readonly folder: StagedFolder;
  close(): Promise<void>;
}

const open = async (directory: string): Promise<Opened> => {
  const area = await Area.open(await ownArea(directory, 'bucket', ENDPOINT), {
    endpoint: ENDPOINT,
    datasets: [],
    mountpoint: '/mnt/ecs',
    log: silentLogger,
  });
  const root = await StagingRoot.open(area, {
    bucket: 'bucket',
    ownership: { ...me, umask: 0 },
    clock: new ManualClock(),
    log: silentLogger,
    freeze: async () => {},
    onSettled: () => {},
    onRemoved: () => {},
    onMoved: () => {},
  });
  if (!root.folder('folder')) await root.changes.makeDirectory('folder', 0o755, me);
  const folder = root.folder('folder');
  if (!folder) throw new Error('no folder');
  return {
    area,
    folder,
    close: async () => {
      await root.closed();
      await area.close();
    },
  };
};

let directory: string;
beforeEach(async () => {
  faults.clear();
  directory = await fs.mkdtemp(join(tmpdir(), 'staging-test-'));
  onTestFinished(() => fs.rm(directory, { recursive: true }));
});

const make = async (
  { folder }: Opened,
  name: string,
): Promise<{ readonly node: FileNode; readonly file: OpenFile }> =>
  folder.directory.changes.create(name, 0o644, me, 'read-write');

/** Seals as a freeze does and tells what failed. */
const failed = async ({ folder }: Opened): Promise<unknown> => {
  await folder.seal();
  const found = Object.fromEntries(await folder.failed());
  folder.unseal();
  return found;
};

const put = async (file: OpenFile, text: string): Promise<void> => file.changes?.write(0, Buffer.from(text));

test.each([
  ['write', 'ENOSPC', async (file: OpenFile) => put(file, 'more')],
  ['sync', 'EIO', async (file: OpenFile) => file.sync?.(true)],
  ['flush', 'EDQUOT', async (file: OpenFile) => file.flush?.()],
] as const)('a %s that fails is told, and the file is not frozen', async (call, code, work) => {
  const stage = await open(directory);
  const { file } = await make(stage, 'file');
  await put(file, 'text');
  faults.set(call, code);
  await expect(work(file)).rejects.toMatchObject({ code });
  faults.clear();
  file.close();
  expect(await failed(stage)).toEqual({ file: code });
  await stage.close();
});

test('the last close that fails, with nobody to tell, keeps the file from being frozen', async () => {
  const stage = await open(directory);
  const { file } = await make(stage, 'file');
  await put(file, 'text');
  faults.set('close', 'EDQUOT');
  file.close();
  expect(await failed(stage)).toEqual({ file: 'EDQUOT' });
  faults.clear();
  await stage.close();
});

test('a file that is shorter on disk than what was written is not frozen', async () => {
  const stage = await open(directory);
  const [whole, cut, shortened] = await Promise.all(
    ['whole', 'cut', 'shortened'].map((name) => make(stage, name)),
  );
  for (const made of [whole, cut, shortened]) await put(made?.file as OpenFile, '0123456789');
  await fs.truncate(join(stage.folder.path, 'cut'), 9);
  await shortened?.node.changes?.setAttributes({ size: 3 });
  for (const made of [whole, cut, shortened]) made?.file.close();
  expect(await failed(stage)).toEqual({ cut: 'EIO' });
  await stage.close();
});

test('a mark follows the file to all its names and over a new mount, until it is written anew or removed', async () => {
  const first = await open(directory);
  const { directory: top } = first.folder;
  for (const name of ['a', 'b', 'c']) {
    const { node, file } = await make(first, name);
    faults.set('flush', 'EDQUOT');
    await expect(file.flush?.()).rejects.toThrow('flush failed');
    faults.clear();
    file.close();
    if (name === 'a') await top.changes.link('a2', node);
  }
  await top.changes.makeDirectory('sub', 0o755, me);
  const sub = await top.lookup('sub', never);
  if (sub.kind !== 'directory') throw new Error('no directory');
  await top.changes.rename('a', sub, 'a', 'replace', () => never);
  expect(await failed(first)).toEqual({ 'sub/a': 'EDQUOT', a2: 'EDQUOT', b: 'EDQUOT', c: 'EDQUOT' });
  await first.close();

  const second = await open(directory);
  expect(await failed(second)).toEqual({ 'sub/a': 'EDQUOT', a2: 'EDQUOT', b: 'EDQUOT', c: 'EDQUOT' });
  const node = await second.folder.directory.lookup('a2', never);
  await node.changes?.setAttributes({ size: 1 });
  expect(await failed(second)).toHaveProperty('a2');
  await node.changes?.setAttributes({ size: 0 });
  await second.folder.directory.changes.unlink('b');
  expect(await failed(second)).toEqual({ c: 'EDQUOT' });
  // The local disk uses inodes again.
  for (let index = 0; index < 20; index += 1) {
    const { file } = await make(second, `new-${index}`);
    file.close();
  }
  expect(await failed(second)).toEqual({ c: 'EDQUOT' });
  await second.close();

  const third = await open(directory);
  expect(await failed(third)).toEqual({ c: 'EDQUOT' });
  expect(third.area.failed.size).toBe(1);
  expect((await fs.stat(join(third.area.path, 'failed'))).size).toBe(FAILED_FILES_ROOM_BYTES);
  await third.close();
});

test('a file of marks that can not be had, or is damaged, keeps nobody from staging', async () => {
  const first = await open(directory);
  await first.close();
  const path = join(first.area.path, 'failed');
  await fs.writeFile(path, 'no mark\n'.repeat(100));
  const second = await open(directory);
  const { file } = await make(second, 'file');
  faults.set('flush', 'EDQUOT');
  await expect(file.flush?.()).rejects.toThrow('flush failed');
  faults.clear();
  file.close();
  expect(await failed(second)).toEqual({ file: 'EDQUOT' });
  await second.close();
  await fs.rm(path);
  await fs.mkdir(path);
  const third = await open(directory);
  expect(await failed(third)).toEqual({});
  await third.close();
});
