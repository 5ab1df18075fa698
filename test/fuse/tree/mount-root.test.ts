import { describe, expect, test } from 'vitest';
import { mountTree } from '../../../src/fuse/tree/mount-root.ts';
import { ROOT_INO } from '../../../src/fuse/tree/inode-numbers.ts';
import { datasetOf } from '../../support/datasets.ts';
import { MemoryObjectStore } from '../../support/memory-object-store.ts';
import { OWNERSHIP, TIME, namesIn, seedDataset, treeOf } from '../../support/tree.ts';

function mounted(isSingle: boolean, ...names: string[]) {
  const store = new MemoryObjectStore();
  for (const name of names) seedDataset(store, datasetOf(name, { a: name, 'd/b': '12345' }));
  const { bucket, problems } = treeOf(store);
  const tree = mountTree(new Map([['bucket', bucket]]), {
    isSingle,
    room: async () => undefined,
    ownership: OWNERSHIP,
    time: TIME,
  });
  return { store, tree, problems };
}

test('the root is the bucket, or has a directory for each', async () => {
  expect(await namesIn(mounted(true, 'x').tree.root)).toEqual(['.proto', '.uuid', 'x']);
  const { tree } = mounted(false, 'x');
  expect(await namesIn(tree.root)).toEqual(['bucket']);
  expect(await namesIn(tree.root, 'bucket')).toEqual(['.proto', '.uuid', 'x']);
  for (const { root } of [tree, mounted(true).tree]) expect(root.attributes().ino).toBe(ROOT_INO);
});

describe('the space that a mount takes', () => {
  test('is what the items take that are known: asking reads nothing', async () => {
    const { store, tree } = mounted(true, 'one', 'three');
    expect(await tree.space()).toEqual({ bytes: 0, files: 0 });
    expect(store.requestCount).toBe(0);
    await namesIn(tree.root);
    const { requestCount } = store;
    expect(await tree.space()).toEqual({ bytes: 0, files: 0 });
    expect(store.requestCount).toBe(requestCount);
    await namesIn(tree.root, 'three/data');
    expect(await tree.space()).toEqual({ bytes: 10, files: 2 });
  });

  test('is none for datasets that are not frozen, or broken', async () => {
    const { store, tree, problems } = mounted(true, 'one');
    const open = datasetOf('open', { x: 'xxx' }, { frozenAt: null });
    seedDataset(store, open);
    const broken = datasetOf('broken', {});
    seedDataset(store, broken);
    store.seed(`${broken.uuid}/manifest.json`, '{');
    await namesIn(tree.root, 'one/data');
    await namesIn(tree.root, `.proto/open~${open.uuid.slice(0, 8)}/data`);
    await expect(namesIn(tree.root, 'broken/data')).rejects.toThrow('manifest.json');
    expect(await tree.space()).toEqual({ bytes: 8, files: 2 });
    expect(problems.all.length).toBe(1);
  });
});
