import { describe, expect, test } from 'vitest';
import { mountTree } from '../../../src/fuse/tree/mount-root.ts';
import { ROOT_INO } from '../../../src/fuse/tree/inode-numbers.ts';
import { REFRESH_WAIT_MS } from '../../../src/limits.ts';
import { datasetOf } from '../../support/datasets.ts';
import { MemoryObjectStore } from '../../support/memory-object-store.ts';
import { OWNERSHIP, TIME, namesIn, never, seedDataset, settle, treeOf } from '../../support/tree.ts';

function mounted(isSingle: boolean, ...names: string[]) {
  const store = new MemoryObjectStore();
  for (const name of names) seedDataset(store, datasetOf(name, { a: name, 'd/b': '12345' }));
  const { bucket, clock, lifetime, problems } = treeOf(store);
  const tree = mountTree(new Map([['bucket', bucket]]), isSingle, {
    room: async () => undefined,
    ownership: OWNERSHIP,
    time: TIME,
    clock,
    lifetime: lifetime.signal,
  });
  return { store, tree, clock, lifetime, problems };
}

test('the root is the bucket, or has a directory for each', async () => {
  expect(await namesIn(mounted(true, 'x').tree.root)).toEqual(['.proto', '.uuid', 'x']);
  const { tree } = mounted(false, 'x');
  expect(await namesIn(tree.root)).toEqual(['bucket']);
  expect(await namesIn(tree.root, 'bucket')).toEqual(['.proto', '.uuid', 'x']);
  for (const { root } of [tree, mounted(true).tree]) expect(root.attributes().ino).toBe(ROOT_INO);
});

describe('the space that a mount takes', () => {
  test('is what all items take; broken datasets take none; it is counted once', async () => {
    const { store, tree, problems } = mounted(true, 'one', 'three');
    seedDataset(store, datasetOf('open', { x: 'xxx' }, { frozenAt: null }));
    const broken = datasetOf('broken', {});
    seedDataset(store, broken);
    store.seed(`${broken.uuid}/manifest.json`, '{');
    expect(await tree.space(never)).toEqual({ bytes: 18, files: 4 });
    expect(problems.all.length).toBe(1);
    const { requestCount } = store;
    expect(await tree.space(never)).toEqual({ bytes: 18, files: 4 });
    expect(store.requestCount).toBe(requestCount);
  });

  test('is told as far as it is known when counting takes long, and counted on', async () => {
    const { store, tree, clock, lifetime } = mounted(true, 'one');
    const gate = store.hold('listPage');
    const asked = tree.space(never);
    await gate.reached();
    clock.advance(REFRESH_WAIT_MS);
    expect(await asked).toEqual({ bytes: 0, files: 0 });
    gate.release();
    expect(await tree.space(never)).toEqual({ bytes: 8, files: 2 });
    lifetime.abort();
    await settle();
  });

  test('ends with the mount, and with the one who asks', async () => {
    const { store, tree, lifetime, problems, clock } = mounted(true, 'one');
    const gate = store.hold('listPage');
    const reader = new AbortController();
    const asked = tree.space(reader.signal);
    await gate.reached();
    reader.abort(new Error('interrupted'));
    await expect(asked).rejects.toThrow('interrupted');
    expect(clock.sleeping).toBe(0);
    expect(gate.waiting).toBe(1);
    lifetime.abort();
    await settle();
    expect(gate.waiting).toBe(0);
    expect(problems.all).toEqual([]);
    gate.release();
  });

  test('that can not be counted is a problem', async () => {
    const { store, tree, problems } = mounted(true, 'one');
    store.failNext('listPage', store.error('unreachable', 'dtool-'));
    expect(await tree.space(never)).toEqual({ bytes: 0, files: 0 });
    expect(problems.all.map(({ key }) => key)).toEqual(['dtool-']);
    expect(await tree.space(never)).toEqual({ bytes: 8, files: 2 });
    expect(problems.all).toEqual([]);
  });
});
