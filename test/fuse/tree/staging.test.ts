import { readdirSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Area } from '../../../src/fuse/staging/area.ts';
import { ownArea } from '../../../src/fuse/staging/known-areas.ts';
import type { OpenFile } from '../../../src/fuse/tree/node.ts';
import { Directory } from '../../../src/fuse/tree/directory.ts';
import { StagedDirectory } from '../../../src/fuse/tree/staging-directory.ts';
import { StagedFile } from '../../../src/fuse/tree/staging-file.ts';
import type { StagedFolder } from '../../../src/fuse/tree/staging-folder.ts';
import { StagingRoot, type StagingRootOptions } from '../../../src/fuse/tree/staging-root.ts';
import { silentLogger } from '../../../src/log.ts';
import { copied } from '../../support/copied.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import type { StagedBase } from '../../../src/fuse/tree/staging-node.ts';

const ENDPOINT = 'https://ecs.example.org:9021';

const { signal: never } = new AbortController();
const me = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

/** On a disk that is slow at the moment a node knows its attributes only after a look. */
const lookedAt = async <T extends StagedBase>(node: T): Promise<T> => {
  await node.look();
  return node;
};

const temporary = async (): Promise<string> => {
  const directory = await fs.mkdtemp(join(tmpdir(), 'staging-test-'));
  onTestFinished(() => fs.rm(directory, { recursive: true }));
  return directory;
};

const openArea = async (directory: string, mountpoint = '/mnt/ecs'): Promise<Area> => {
  const area = await Area.open(await ownArea(directory, 'bucket', ENDPOINT), {
    endpoint: ENDPOINT,
    datasets: [],
    mountpoint,
    log: silentLogger,
  });
  return area;
};

interface Opened {
  readonly area: Area;
  readonly root: StagingRoot;
  readonly removed: string[];
  readonly moved: string[];
}

const openRoot = async (area: Area, options: Partial<StagingRootOptions> = {}): Promise<Opened> => {
  const [removed, moved]: [string[], string[]] = [[], []];
  const root = await StagingRoot.open(area, {
    bucket: 'bucket',
    ownership: { ...me, umask: 0 },
    clock: new ManualClock(),
    log: silentLogger,
    freeze: async () => {},
    onSettled: () => {},
    onRemoved: ({ name }) => removed.push(name),
    onMoved: (name) => moved.push(name),
    ...options,
  });
  return { area, root, removed, moved };
};

const opened = async (options: Partial<StagingRootOptions> = {}): Promise<Opened> => {
  const area = await openArea(await temporary());
  onTestFinished(() => area.close());
  return openRoot(area, options);
};

const makeFolder = async (root: StagingRoot, name: string): Promise<[StagedFolder, StagedDirectory]> => {
  await root.changes.makeDirectory(name, 0o755, me);
  const folder = root.folder(name);
  if (!folder) throw new Error('no folder');
  return [folder, folder.directory];
};

const makeFile = async (
  directory: StagedDirectory,
  name: string,
  content = '',
): Promise<{ readonly node: StagedFile; readonly file: OpenFile }> => {
  const { node, file } = await directory.changes.create(name, 0o644, me, 'read-write');
  if (!(node instanceof StagedFile)) throw new Error('no file');
  await file.changes?.write(0, Buffer.from(content));
  return { node, file };
};

const text = async (file: OpenFile): Promise<string> => (await file.read(0, 100, never, copied)).toString();

test('a new folder is no directory that was there before, though the local disk uses inodes again', async () => {
  const { root } = await opened();
  const known = new Set<StagedDirectory>();
  for (let round = 0; round < 20; round += 1) {
    const [folder, directory] = await makeFolder(root, 'folder');
    const sub = await directory.changes.makeDirectory('sub', 0o755, me);
    for (const made of [directory, sub as StagedDirectory]) {
      expect(known.has(made), `in round ${round}`).toBe(false);
      known.add(made);
    }
    if (round % 2 === 0) await folder.remove();
    else {
      await directory.changes.removeDirectory('sub');
      await root.changes.removeDirectory('folder');
    }
  }
});

test('a sealed folder can be read and not changed', async () => {
  const { root } = await opened();
  const [folder, directory] = await makeFolder(root, 'a');
  const [, other] = await makeFolder(root, 'b');
  const sub = await directory.changes.makeDirectory('sub', 0o755, me);
  if (!(sub instanceof StagedDirectory)) throw new Error('no directory');
  const { node, file } = await makeFile(sub, 'file', 'content');
  await directory.changes.link('again', node);
  expect(folder.writers()).toEqual(['sub/file']);
  await expect(folder.seal()).rejects.toMatchObject({
    code: 'EBUSY',
    message: expect.stringContaining('sub/file'),
  });
  file.close();
  expect(folder.writers()).toEqual([]);
  await folder.seal();
  const moved = await makeFile(other, 'other');
  moved.file.close();
  const signal = () => never;
  for (const change of [
    () => sub.changes.create('new', 0o644, me, 'read'),
    () => sub.changes.makeDirectory('new', 0o755, me),
    () => sub.changes.makeSymlink('new', 'x', me),
    () => sub.changes.link('new', node),
    () => sub.changes.unlink('file'),
    () => directory.changes.removeDirectory('sub'),
    () => directory.changes.rename('sub', directory, 'new', 'replace', signal),
    () => directory.changes.rename('sub', root, 'new', 'replace', signal),
    () => other.changes.rename('other', sub, 'other', 'replace', signal),
    () => root.changes.removeDirectory('a'),
    () => root.changes.rename('a', root, 'c', 'replace', signal),
    () => root.changes.rename('a', other, 'a', 'replace', signal),
    () => root.changes.rename('b', root, 'a', 'exchange', signal),
    () => root.changes.rename('b', sub, 'b', 'replace', signal),
    () => node.open(never, 'read-write'),
    () => node.changes.setAttributes({ mode: 0o600 }),
    () => node.changes.setAttributes({ size: 0 }),
    () => node.changes.setXattr('user.a', Buffer.from('x')),
    () => directory.changes.setAttributes({ mtime: 'now' }),
  ]) {
    await expect(change(), String(change)).rejects.toMatchObject({ code: 'EBUSY' });
  }
  const reader = await node.open(never, 'read');
  expect(await text(reader)).toBe('content');
  reader.close();
  folder.unseal();
  (await node.open(never, 'write')).close();
  await root.changes.rename('a', root, 'c', 'no-replace', signal);
  expect(root.folders.map(({ name }) => name).toSorted()).toEqual(['b', 'c']);
});

test('a folder that is removed is gone at once, and for good; who reads in it goes on', async () => {
  const { area, root, removed } = await opened();
  const [folder, directory] = await makeFolder(root, 'a');
  const { node, file } = await makeFile(directory, 'file', 'content');
  await folder.remove();
  expect([removed, root.folders, await area.folders()]).toEqual([['a'], [], new Map()]);
  expect(await text(file)).toBe('content');
  file.close();
  await expect(directory.lookup('file', never)).rejects.toMatchObject({ code: 'ESTALE' });
  await expect(node.open(never, 'read')).rejects.toMatchObject({ code: 'ESTALE' });
  await expect(root.lookup('a')).rejects.toMatchObject({ code: 'ENOENT' });
  const [again] = await makeFolder(root, 'a');
  expect(again.path).not.toBe(folder.path);
  await expect.poll(async () => fs.readdir(join(area.path, 'removed'))).toEqual([]);
});

test('nodes are canonical, follow renames, and have the same inode numbers in the next mount', async () => {
  const directory = await temporary();
  const first = await openRoot(await openArea(directory));
  const [folder, top] = await makeFolder(first.root, 'a');
  const { node, file } = await makeFile(top, 'file', 'content');
  file.close();
  await top.changes.link('link', node);
  expect(await top.lookup('link', never)).toBe(node);
  expect((await lookedAt(node)).attributes().nlink).toBe(2);
  await first.root.changes.rename('a', first.root, 'b', 'replace', () => never);
  expect((await first.root.lookup('b')).attributes().ino).toBe(top.attributes().ino);
  expect([await first.root.lookup('b'), folder.name, node.path]).toEqual([
    top,
    'b',
    join(folder.path, 'file'),
  ]);
  await top.changes.unlink('file');
  expect([(await lookedAt(node)).attributes().nlink, node.path]).toEqual([1, join(folder.path, 'link')]);
  const inos = [top.attributes().ino, node.attributes().ino];
  await first.area.close();
  const second = await openRoot(await openArea(directory));
  onTestFinished(() => second.area.close());
  const again = await second.root.lookup('b');
  if (again.kind !== 'directory') throw new Error('no directory');
  expect([again.attributes().ino, (await again.lookup('link', never)).attributes().ino]).toEqual(inos);
  expect(second.root.folder('b')?.path).toBe(folder.path);
});

test('a file with very many names gains and loses them as fast as one with few', async () => {
  const { root } = await opened();
  const [folder, top] = await makeFolder(root, 'a');
  const { node, file } = await makeFile(top, 'file');
  file.close();
  const sub = await top.changes.makeDirectory('sub', 0o755, me);
  if (!(sub instanceof StagedDirectory)) throw new Error('no directory');
  /** Milliseconds of the processor that so many names take to come and go. */
  const cost = (count: number): number => {
    const places = Array.from({ length: count }, (_, index) => ({
      directory: index % 2 === 0 ? top : sub,
      name: `name-${index}`,
    }));
    const begin = process.cpuUsage();
    for (const place of places) node.gain(place);
    for (const place of places) node.gain(place);
    expect(node.places.length).toBe(count + 1);
    // The first of them last, so that another one is always at hand.
    for (const place of places.toReversed()) node.lose(place);
    for (const place of places) node.gain(place);
    for (const place of places) node.lose(place);
    const { user, system } = process.cpuUsage(begin);
    expect([node.places.length, node.path, node.folder]).toEqual([1, join(folder.path, 'file'), folder]);
    return (user + system) / 1000;
  };
  cost(4_000);
  // As many as ext4 allows. 16 times the names take 16 times as long, and would take 256 times if each looked at all.
  const [few, many] = [Math.min(cost(4_000), cost(4_000), cost(4_000)), cost(64_000)];
  expect(many / few, `${few} ms for 4,000 and ${many} ms for 64,000`).toBeLessThan(100);
});

test('a file that lost the name that it was found by is found by its others', async () => {
  const { root } = await opened();
  const [folder, top] = await makeFolder(root, 'a');
  const { node, file } = await makeFile(top, 'file-0', 'content');
  file.close();
  for (let index = 1; index < 6; index += 1) await top.changes.link(`file-${index}`, node);
  const left = new Set(node.places.map(({ name }) => name));
  for (const name of ['file-0', 'file-3', 'file-5', 'file-1', 'file-2']) {
    await top.changes.unlink(name);
    left.delete(name);
    expect(new Set(node.places.map((place) => place.name))).toEqual(left);
    expect(await fs.readFile(node.path, 'utf8')).toBe('content');
    expect((await lookedAt(node)).attributes().nlink).toBe(left.size);
  }
  await top.changes.unlink('file-4');
  expect([node.places, node.folder, (await lookedAt(node)).attributes().nlink]).toEqual([[], undefined, 0]);
  expect(() => node.path).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  expect(folder.writers()).toEqual([]);
});

test('attributes that were let go are asked for again, and are those after the last change', async () => {
  const { root } = await opened();
  const [folder, top] = await makeFolder(root, 'a');
  const { node, file } = await makeFile(top, 'file', 'content');
  const removed = await makeFile(top, 'removed', 'content');
  await top.changes.unlink('removed');
  file.close();
  removed.file.close();
  for (const each of [node, removed.node, top]) each.forgetAttributes();
  await node.changes.setAttributes({ size: 3, mode: 0o640 });
  expect((await lookedAt(node)).attributes()).toMatchObject({ size: 3, mode: 0o640, nlink: 1 });
  // Nobody but us knows what it was.
  expect((await lookedAt(removed.node)).attributes()).toMatchObject({ size: 7, nlink: 0 });
  node.forgetAttributes();
  expect((await top.lookup('file', never)).attributes()).toBe(node.attributes());
  expect(node.hasToLook).toBe(false);
  node.forgetAttributes();
  await folder.remove();
  expect(() => node.attributes()).toThrow(expect.objectContaining({ code: 'ESTALE' }));
});

test('a listing has what is there when it is read, and goes on behind what has gone', async () => {
  const { root } = await opened();
  const [, top] = await makeFolder(root, 'a');
  const names = Array.from({ length: 100 }, (_, index) => `file-${index}`);
  for (const name of names) (await makeFile(top, name)).file.close();
  const entries = await top.list(never);
  const shown = async (from: number, count: number): Promise<readonly (string | undefined)[]> => {
    const some = await entries.load(from, count);
    return Array.from({ length: entries.length - from }, (_, index) => some.at(from + index)?.name);
  };
  const order = await shown(0, 100);
  expect(new Set(order)).toEqual(new Set(names));
  expect((await shown(10, 5)).slice(0, 5)).toEqual(order.slice(10, 15));
  for (const name of order.slice(2, 98)) await top.changes.unlink(name ?? '');
  // A part with nothing in it would be taken for the end.
  expect((await shown(2, 5)).filter((name) => name !== undefined)).toEqual(order.slice(98));
  for (const name of order.slice(98)) await top.changes.unlink(name ?? '');
  expect((await shown(2, 5)).filter((name) => name !== undefined)).toEqual([]);
});

test('directories are as deep as one likes, though a path has an end', async () => {
  const { area, root } = await opened();
  const [folder, top] = await makeFolder(root, 'a');
  const name = 'd'.repeat(250);
  /** More than all directories that are kept open reach. */
  const DEPTH = 1_200;
  const way = [top];
  for (let depth = 1; depth < DEPTH; depth += 1) {
    const made = await way[depth - 1]?.changes.makeDirectory(name, 0o755, me);
    if (!(made instanceof StagedDirectory)) throw new Error('no directory');
    way.push(made);
  }
  const at = (depth: number): StagedDirectory => way[depth] ?? top;
  const [bottom, middle] = [at(DEPTH - 1), at(DEPTH / 2)];
  const { node, file } = await makeFile(bottom, 'file', 'deep');
  expect(folder.writers()).toEqual([`${`${name}/`.repeat(DEPTH - 1)}file`]);
  file.close();
  expect(Buffer.byteLength(node.path)).toBeLessThan(4096);
  // From all depths at once, each has its own.
  const made = await Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      const directory = at(index * (DEPTH / 100));
      (await makeFile(directory, `at-${index}`, `${index}`)).file.close();
      return directory;
    }),
  );
  await Promise.all(
    made.map(async (directory, index) => {
      const found = await directory.lookup(`at-${index}`, never);
      if (!(found instanceof StagedFile)) throw new Error('no file');
      const reader = await found.open(never, 'read');
      expect(await text(reader)).toBe(`${index}`);
      reader.close();
    }),
  );
  expect(readdirSync('/proc/self/fd').length).toBeLessThan(300);
  await bottom.changes.link('link', node);
  await bottom.changes.makeSymlink('symlink', 'file', me);
  await bottom.changes.rename('file', top, 'up', 'replace', () => never);
  await top.changes.rename('up', middle, 'down', 'replace', () => never);
  expect([(await lookedAt(node)).attributes().nlink, (await middle.lookup('down', never)) === node]).toEqual([
    2,
    true,
  ]);
  expect((await bottom.list(never)).length).toBe(2);
  // What is open for its way moves as a whole.
  await at(9).changes.rename(name, top, 'moved', 'replace', () => never);
  await bottom.changes.unlink('link');
  expect(await fs.readFile(node.path, 'utf8')).toBe('deep');
  await node.changes.setAttributes({ mode: 0o600 });
  expect((await lookedAt(node)).attributes()).toMatchObject({ mode: 0o600, nlink: 1 });
  await folder.remove();
  await expect(bottom.lookup('symlink', never)).rejects.toMatchObject({ code: 'ESTALE' });
  await expect.poll(async () => fs.readdir(join(area.path, 'removed'))).toEqual([]);
});

test('what a crash has left between two steps is put in order, and nothing is lost', async () => {
  const directory = await temporary();
  const area = await openArea(directory);
  await area.make('kept', 0o755);
  await area.close();
  const [names, folders, removed] = ['names', 'folders', 'removed'].map((part) => join(area.path, part));
  await fs.symlink('../folders/0123', join(names ?? '', 'dangling'));
  await fs.mkdir(join(folders ?? '', 'empty'));
  await fs.mkdir(join(folders ?? '', 'full'));
  await fs.writeFile(join(folders ?? '', 'full', 'file'), 'data');
  await fs.mkdir(join(removed ?? '', 'old', 'locked'), { recursive: true });
  await fs.writeFile(join(removed ?? '', 'old', 'locked', 'file'), '');
  await fs.chmod(join(removed ?? '', 'old', 'locked'), 0o500);
  const again = await openArea(directory);
  onTestFinished(() => again.close());
  expect([...(await again.folders()).keys()].toSorted()).toEqual(['kept', 'recovered-full']);
  expect(await fs.readFile(join(names ?? '', 'recovered-full', 'file'), 'utf8')).toBe('data');
  await expect.poll(async () => fs.readdir(removed ?? '')).toEqual([]);
});

test('an area has one owner at a time, and is private', async () => {
  const directory = await temporary();
  const area = await openArea(directory, '/mnt/first');
  const mode = async (path: string) => (await fs.stat(path)).mode & 0o777;
  expect([await mode(area.path), await mode(join(area.path, 'owner'))]).toEqual([0o700, 0o600]);
  await expect(openArea(directory, '/mnt/second')).rejects.toMatchObject({
    message: `the mount at /mnt/first (process ${process.pid}) has it`,
    advice: expect.stringContaining('umount /mnt/first'),
  });
  await area.close();
  const next = await openArea(directory, '/mnt/second');
  await next.close();
  await expect(openArea(directory, directory)).rejects.toMatchObject({
    message: expect.stringContaining('inside the mount'),
  });
});

test('without koffi less can be done, and it is said', async () => {
  const area = await openArea(await temporary());
  onTestFinished(() => area.close());
  const { root } = await openRoot(Object.assign(area, { libc: undefined }));
  const [, top] = await makeFolder(root, 'a');
  const { node, file } = await makeFile(top, 'file', 'x');
  await makeFile(top, 'other').then((made) => made.file.close());
  const time = { seconds: 1_600_000_000, nanoseconds: 123_456_000 };
  await node.changes.setAttributes({ mtime: time });
  expect(Math.abs((await lookedAt(node)).attributes().mtime.nanoseconds - time.nanoseconds)).toBeLessThan(
    1000,
  );
  await expect(node.changes.setXattr('user.a', Buffer.from('x'))).rejects.toMatchObject({ code: 'ENOTSUP' });
  expect(await node.xattrs.get('user.a')).toBeUndefined();
  await expect(file.changes?.allocate(0, 10, { as: 'space', keepSize: false })).rejects.toMatchObject({
    code: 'ENOTSUP',
  });
  const rename = (mode: 'exchange' | 'no-replace', to: string) =>
    top.changes.rename('file', top, to, mode, () => never);
  await expect(rename('exchange', 'other')).rejects.toMatchObject({ code: 'EINVAL' });
  await expect(rename('no-replace', 'other')).rejects.toMatchObject({ code: 'EEXIST' });
  await rename('no-replace', 'new');
  file.close();
});

test('a rename onto the root waits for the freeze, but neither for ever nor after Ctrl-C', async () => {
  const clock = new ManualClock();
  const freezes: { name: string; end: (error?: Error) => void }[] = [];
  const freeze = (_folder: StagedFolder, name: string): Promise<void> =>
    new Promise((resolve, reject) => {
      freezes.push({ name, end: (error) => (error ? reject(error) : resolve()) });
    });
  const { root, moved } = await opened({ clock, freeze });
  const taken = new Directory(root.attributes(), 'refresh', []);
  const bucket = new Directory(root.attributes(), 'refresh', [new Map([['taken', taken]])]);
  root.freezesInto(bucket);
  const [, top] = await makeFolder(root, 'a');
  await makeFile(top, 'file').then(({ file }) => file.close());
  const rename = (to: string, signal = never) =>
    root.changes.rename('a', bucket, to, 'replace', () => signal);
  const begun = async (count: number) => expect.poll(() => freezes.length).toBe(count);

  await expect(rename('taken')).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(top.changes.rename('file', bucket, 'x', 'replace', () => never)).rejects.toMatchObject({
    code: 'EROFS',
  });

  const frozen = rename('b');
  await begun(1);
  freezes[0]?.end();
  await frozen;
  expect([freezes[0]?.name, moved]).toEqual(['b', ['b']]);

  const failed = rename('c');
  await begun(2);
  freezes[1]?.end(new Error('the store is away'));
  await expect(failed).rejects.toMatchObject({ code: 'EIO', message: 'the store is away' });

  const long = rename('d');
  await begun(3);
  const refused = expect(long).rejects.toMatchObject({ code: 'EINPROGRESS' });
  clock.advance(60_000);
  await refused;

  const caller = new AbortController();
  const interrupted = rename('e', caller.signal);
  await begun(4);
  caller.abort();
  await expect(interrupted).rejects.toMatchObject({ name: 'AbortError' });
  freezes[2]?.end();
  freezes[3]?.end();
  expect(moved).toEqual(['b']);
});
