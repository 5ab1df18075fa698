import { expect, test } from 'vitest';
import type { DirectoryNode } from '../../../src/fuse/tree/node.ts';
import { datasetOf, uuidOf } from '../../support/datasets.ts';
import { MemoryObjectStore } from '../../support/memory-object-store.ts';
import {
  REFRESH_MS,
  contentOf,
  directoryAt,
  fileAt,
  namesIn,
  nodeAt,
  seedDataset,
  textAt,
  treeOf,
} from '../../support/tree.ts';

const keyOf = (name: string, path: string): string => `${uuidOf(name)}/${path}`;

/** The tree of a bucket, and what it has told since the last time that was asked: a sign and the path of each name. */
async function listeningTo(store: MemoryObjectStore, ...paths: readonly string[]) {
  const tree = treeOf(store);
  const directories = new Map<DirectoryNode, string>();
  for (const path of paths) {
    const directory = await directoryAt(tree.root, path);
    directories.set(directory, path === '' ? '' : `${path}/`);
    await namesIn(tree.root, path);
  }
  const told: string[] = [];
  tree.invalidations.connect({
    invalidateEntry: (parent, name) => told.push(`? ${directories.get(parent)}${name}`),
    deleteEntry: (parent, name) => told.push(`- ${directories.get(parent)}${name}`),
    invalidateNode: () => told.push('a node'),
  });
  return { ...tree, told: () => told.splice(0).toSorted() };
}

test('nothing is told of what has not changed', async () => {
  const store = new MemoryObjectStore();
  seedDataset(store, datasetOf('one', { 'a.txt': 'one' }));
  seedDataset(store, datasetOf('open', { 'd/x': 'x' }, { frozenAt: null }));
  const { clock, root, told } = await listeningTo(store, '', 'one', 'one/.dtool/tags');
  clock.advance(REFRESH_MS);
  await namesIn(root);
  await namesIn(root, 'one');
  await namesIn(root, `.proto/open~${uuidOf('open').slice(0, 8)}/data/d`);
  clock.advance(REFRESH_MS);
  await namesIn(root, `.proto/open~${uuidOf('open').slice(0, 8)}/data/d`);
  expect(told()).toEqual([]);
});

test('datasets that came, went, were renamed and frozen', async () => {
  const store = new MemoryObjectStore();
  for (const name of ['kept', 'gone', 'old-name']) seedDataset(store, datasetOf(name, {}));
  seedDataset(store, datasetOf('open', {}, { frozenAt: null }));
  const { clock, root, told } = await listeningTo(store, '', '.uuid', '.proto');
  seedDataset(store, datasetOf('new', {}));
  seedDataset(store, datasetOf('new-name', {}, { uuid: uuidOf('old-name') }));
  seedDataset(store, datasetOf('open', {}));
  store.remove(`dtool-${uuidOf('gone')}`);
  clock.advance(REFRESH_MS);
  await namesIn(root);
  expect(told()).toEqual(
    [
      '? gone',
      `- .uuid/${uuidOf('gone')}`,
      '? new',
      `? .uuid/${uuidOf('new')}`,
      '? old-name',
      '? new-name',
      `? .uuid/${uuidOf('old-name')}`,
      '? open',
      `? .proto/open~${uuidOf('open').slice(0, 8)}`,
      `? .uuid/${uuidOf('open')}`,
    ].toSorted(),
  );
});

test('a dataset that has to give its name away stays what it is', async () => {
  const store = new MemoryObjectStore();
  seedDataset(store, datasetOf('name', {}, { createdAt: 2_000 }));
  const { clock, root, told } = await listeningTo(store, '');
  const directory = await nodeAt(root, 'name');
  seedDataset(store, datasetOf('name', {}, { createdAt: 1_000, uuid: uuidOf('older') }));
  clock.advance(REFRESH_MS);
  expect(await nodeAt(root, `name~${uuidOf('name').slice(0, 8)}`)).toBe(directory);
  expect(told().filter((one) => !one.includes('undefined'))).toEqual([
    '? name',
    `? name~${uuidOf('name').slice(0, 8)}`,
  ]);
});

test('a dataset that turns out to be broken may come back', async () => {
  const store = new MemoryObjectStore();
  seedDataset(store, datasetOf('broken', {}));
  const manifest = store.peek(keyOf('broken', 'manifest.json'));
  const { clock, root, told } = await listeningTo(store, '', '.uuid');
  store.seed(keyOf('broken', 'manifest.json'), '{');
  await expect(namesIn(root, 'broken/data')).rejects.toMatchObject({ code: 'EIO' });
  await namesIn(root);
  expect(told()).toContain('? broken');
  store.seed(keyOf('broken', 'manifest.json'), manifest ?? '');
  clock.advance(REFRESH_MS);
  await namesIn(root);
  expect(told()).toContain('? broken');
});

test('README, tags, annotations and overlays', async () => {
  const store = new MemoryObjectStore();
  seedDataset(store, datasetOf('one', {}));
  store.seed(keyOf('one', 'tags/old'), '');
  const paths = ['one', 'one/.dtool', 'one/.dtool/tags', 'one/.dtool/annotations', 'one/.dtool/overlays'];
  const { clock, root, told } = await listeningTo(store, ...paths);
  store.seed(keyOf('one', 'README.yml'), 'another');
  store.seed(keyOf('one', 'tags/new'), '');
  store.remove(keyOf('one', 'tags/old'));
  store.seed(keyOf('one', 'annotations/a.json'), '1');
  store.seed(keyOf('one', 'overlays/o.json'), '{}');
  clock.advance(REFRESH_MS);
  expect(await textAt(root, 'one/README.yml')).toBe('another');
  expect(told()).toEqual([
    '- one/.dtool/tags/old',
    '? one/.dtool/annotations/a.json',
    '? one/.dtool/overlays/o.json',
    '? one/.dtool/tags/new',
    '? one/README.yml',
  ]);
});

test('items of a dataset that is not frozen', async () => {
  let now = 0;
  const store = new MemoryObjectStore({ now: () => now });
  const put = (items: Readonly<Record<string, string>>): void =>
    seedDataset(store, datasetOf('open', items, { frozenAt: null }));
  const proto = `.proto/open~${uuidOf('open').slice(0, 8)}`;
  put({ 'd/a': 'old', b: 'same' });
  const { clock, root, told } = await listeningTo(
    store,
    `${proto}/data`,
    `${proto}/data/d`,
    `${proto}/.dtool`,
  );
  now += 1_000;
  put({ 'd/a': 'new', 'd/e/f': 'more', '../x': 'nowhere' });
  clock.advance(REFRESH_MS);
  await namesIn(root, `${proto}/data`);
  expect(told()).toEqual(
    expect.arrayContaining([
      `? ${proto}/data/d/a`,
      `? ${proto}/data/d/e`,
      `? ${proto}/.dtool/unrepresentable`,
    ]),
  );
});

test('when everything is to be looked at again, and when an object turns out to be replaced', async () => {
  const store = new MemoryObjectStore();
  seedDataset(store, datasetOf('one', {}));
  store.seed(keyOf('one', 'tags/t'), '');
  const { bucket, root, told } = await listeningTo(store, 'one', 'one/.dtool', 'one/.dtool/tags');
  const all = [
    '? one/.dtool/README.txt',
    '? one/.dtool/manifest.json',
    '? one/.dtool/tags/t',
    '? one/README.yml',
  ];
  await bucket.refresh();
  expect(told()).toEqual(expect.arrayContaining(all));
  const readme = await fileAt(root, 'one/README.yml');
  store.seed(keyOf('one', 'README.yml'), 'another');
  await expect(contentOf(readme)).rejects.toMatchObject({ code: 'ESTALE' });
  expect(told()).toEqual(expect.arrayContaining(['? one/README.yml']));
});
