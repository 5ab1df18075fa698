import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Area } from '../../../src/fuse/staging/area.ts';
import { chooseArea } from '../../../src/fuse/staging/choose-area.ts';
import { areaName, ownArea, readAreas } from '../../../src/fuse/staging/known-areas.ts';
import { silentLogger } from '../../../src/log.ts';
import { uuidOf } from '../../support/datasets.ts';

const ECS = 'https://ecs.example.org:9021';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'choose-area-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

interface Staged {
  readonly folders?: readonly string[];
  readonly datasets?: readonly string[];
}

/** Uses an area as a mount does, and returns its path. */
async function stage(
  endpoint: string,
  { folders = [], datasets = [] }: Staged,
  bucket = 'lab',
): Promise<string> {
  const area = await Area.open(await ownArea(directory, bucket, endpoint), {
    endpoint,
    datasets: datasets.map(uuidOf),
    mountpoint: '/mnt/ecs',
    log: silentLogger,
  });
  for (const name of folders) await area.make(name, 0o755);
  await area.close();
  return area.path;
}

async function choose(endpoint: string, { datasets = [] as readonly string[], takeAll = false } = {}) {
  const asked: string[] = [];
  const { area, hidden } = await chooseArea(directory, {
    bucket: 'lab',
    endpoint,
    takeAll,
    hasDataset: async (uuid) => {
      asked.push(uuid);
      return datasets.map(uuidOf).includes(uuid);
    },
  });
  return {
    path: area.path,
    folders: area.folders,
    hidden: hidden.map((other) => other.path),
    asked: asked.length,
  };
}

test.each([
  ['https://ecs.example.org:443', 'https://ecs.example.org'],
  ['http://ecs.example.org:9021/', 'https://ecs.example.org:9021'],
  ['http://localhost:9000', 'http://127.0.0.1:9000'],
  ['http://127.0.0.1:9000', 'http://[::1]:9000'],
  ['https://ecs.example.org.', 'https://ecs.example.org'],
])('%s and %s are one address, which costs no request', async (one, other) => {
  const path = await stage(one, { folders: ['a'] });
  expect(await choose(other)).toEqual({ path, folders: ['a'], hidden: [], asked: 0 });
});

test('another address is the same store where the bucket has a dataset that the area remembers', async () => {
  const path = await stage(ECS, { folders: ['a'], datasets: ['gone', 'known'] });
  expect(await choose('https://balancer.example.org', { datasets: ['known'] })).toMatchObject({
    path,
    asked: 2,
  });
});

test('another store’s folders are hidden, and named, until they are taken', async () => {
  const path = await stage(ECS, { folders: ['a'], datasets: ['theirs'] });
  const other = 'http://localhost:9000';
  const own = join(directory, areaName('lab', other));
  expect(await choose(other, { datasets: ['ours'] })).toMatchObject({
    path: own,
    folders: [],
    hidden: [path],
  });
  expect(await choose(other, { takeAll: true })).toMatchObject({ path, folders: ['a'], hidden: [] });
});

test('folders of this very endpoint come first, and none of a bucket of another name ever', async () => {
  const own = await stage(ECS, { folders: ['own'] });
  const other = await stage('http://ecs.example.org:9021', { folders: ['other'] });
  await stage(ECS, { folders: ['elsewhere'] }, 'lab2');
  expect(await choose(ECS, { takeAll: true })).toMatchObject({ path: own, hidden: [other] });
});

test('an area remembers all its spellings and, while the store is away, the datasets that it knew', async () => {
  const path = await stage('http://localhost:1', { folders: ['a'], datasets: ['x'] });
  const { area: known } = await chooseArea(directory, {
    bucket: 'lab',
    endpoint: 'http://127.0.0.1:1',
    takeAll: false,
    hasDataset: async () => false,
  });
  const area = await Area.open(known, {
    endpoint: 'http://127.0.0.1:1',
    datasets: [],
    mountpoint: '/mnt/ecs',
    log: silentLogger,
  });
  expect(area.endpoint).toBe('http://localhost:1');
  await area.close();
  expect(await readAreas(directory)).toEqual([
    {
      path,
      bucket: 'lab',
      endpoints: ['http://localhost:1', 'http://127.0.0.1:1'],
      datasets: [uuidOf('x')],
      folders: ['a'],
    },
  ]);
  expect((await readFile(join(path, 'area.json'), 'utf8')).endsWith('\n')).toBe(true);
});

test('an area of an earlier version is known by its name; names that lead nowhere are no folders', async () => {
  for (const endpoint of ['http://127.0.0.1:9000', 'https://h/with/path']) {
    const path = join(directory, areaName('lab', endpoint));
    await mkdir(join(path, 'folders/1'), { recursive: true });
    await mkdir(join(path, 'names'));
    await symlink('../folders/1', join(path, 'names/there'));
    await symlink('../folders/2', join(path, 'names/gone'));
  }
  const areas = await readAreas(directory);
  expect(areas.map(({ bucket, endpoints, folders }) => ({ bucket, endpoints, folders }))).toEqual([
    { bucket: 'lab', endpoints: ['http://127.0.0.1:9000'], folders: ['there'] },
    { bucket: 'lab', endpoints: [], folders: ['there'] },
  ]);
  expect((await choose('http://localhost:9000')).folders).toEqual(['there']);
  expect(await readAreas(join(directory, 'missing'))).toEqual([]);
});

test('what else lies beside the areas hides none', async () => {
  await stage('http://localhost:1', { folders: ['a'] });
  await writeFile(join(directory, 'mount.log'), '');
  await mkdir(join(directory, 'lost+found'), { mode: 0o000 });
  expect((await choose('http://localhost:1')).folders).toEqual(['a']);
});
