import { describe, expect, test } from 'vitest';
import { ItemsMemory } from '../../../src/fuse/tree/items-memory.ts';
import { PROTO_ITEM_BYTES, REFRESH_WAIT_MS } from '../../../src/limits.ts';
import { CREATED_AT, datasetOf, uuidOf } from '../../support/datasets.ts';
import { MemoryObjectStore } from '../../support/memory-object-store.ts';
import {
  REFRESH_MS,
  contentOf,
  directoryAt,
  fileAt,
  namesIn,
  never,
  nodeAt,
  seedDataset,
  settle,
  textAt,
  treeOf,
} from '../../support/tree.ts';

const keyOf = (name: string, path: string): string => `${uuidOf(name)}/${path}`;

/** A bucket with datasets of the given names, each with one item `a.txt` that holds the name. */
function bucketOf(...names: string[]) {
  const store = new MemoryObjectStore();
  for (const name of names) seedDataset(store, datasetOf(name, { 'a.txt': name }));
  return treeOf(store);
}

describe('the datasets of a bucket', () => {
  test('are there by name and by uuid, those that are not frozen aside', async () => {
    const { store, root, bucket } = bucketOf('one');
    seedDataset(store, datasetOf('one', {}, { uuid: uuidOf('later'), createdAt: CREATED_AT + 1 }));
    seedDataset(store, datasetOf('open', { 'd/x': 'x' }, { frozenAt: null }));
    const later = `one~${uuidOf('later').slice(0, 8)}`;
    const open = `open~${uuidOf('open').slice(0, 8)}`;
    expect(await namesIn(root)).toEqual(['.proto', '.uuid', 'one', later]);
    expect(await namesIn(root, '.proto')).toEqual([open]);
    expect(await namesIn(root, '.uuid')).toEqual(['later', 'one', 'open'].map(uuidOf).toSorted());
    expect(await nodeAt(root, `.uuid/${uuidOf('later')}`)).toMatchObject({ target: `../${later}` });
    expect(await nodeAt(root, `.uuid/${uuidOf('open')}`)).toMatchObject({ target: `../.proto/${open}` });
    expect(await namesIn(root, 'one')).toEqual(['.dtool', 'README.yml', 'data']);
    expect(await namesIn(root, `.proto/${open}/.dtool`)).not.toContain('manifest.json');
    expect(await textAt(root, `.proto/${open}/data/d/x`)).toBe('x');
    expect(await textAt(root, 'one/data/a.txt')).toBe('one');
    expect(bucket.counts).toEqual({ datasets: 2, protoDatasets: 1 });
  });

  test('that are not frozen leave memory for others, and are listed again on demand', async () => {
    const memory = new ItemsMemory(1);
    const { store, root } = treeOf(new MemoryObjectStore(), '', undefined, memory);
    for (const name of ['a', 'b']) seedDataset(store, datasetOf(name, { [name]: name }, { frozenAt: null }));
    const [a = '', b = ''] = await namesIn(root, '.proto');
    const requestsOf = async (dataset: string): Promise<number> => {
      const before = store.requestCount;
      expect(await namesIn(root, `.proto/${dataset}/data`)).toEqual([dataset[0]]);
      return store.requestCount - before;
    };
    expect(await requestsOf(a)).toBeGreaterThan(0);
    expect(await requestsOf(a)).toBe(0);
    expect(await requestsOf(b)).toBeGreaterThan(0);
    expect(memory.bytes).toBe(PROTO_ITEM_BYTES);
    expect(await requestsOf(b)).toBe(0);
    expect(await requestsOf(a)).toBeGreaterThan(0);
  });

  test.each(['', 'u/alice/'])('200 cost at most 404 requests, with the prefix %j', async (prefix) => {
    const store = new MemoryObjectStore();
    for (let index = 0; index < 200; index += 1) seedDataset(store, datasetOf(`d${index}`, {}, { prefix }));
    const { root } = treeOf(store);
    expect((await namesIn(root)).length).toBe(202);
    expect(store.requestCount).toBeLessThanOrEqual(404);
  });

  test('cost one request for the items, one for each item that is read, one list for the rest', async () => {
    const { store, root } = bucketOf('one');
    await nodeAt(root, 'one/data');
    const cost = async (work: () => Promise<unknown>): Promise<number> => {
      const before = store.requestCount;
      await work();
      return store.requestCount - before;
    };
    expect(await cost(() => namesIn(root, 'one/data'))).toBe(1);
    expect(await cost(() => textAt(root, 'one/data/a.txt'))).toBe(1);
    expect(await cost(() => textAt(root, 'one/data/a.txt'))).toBe(0);
    expect(await cost(() => textAt(root, 'one/.dtool/dtool'))).toBe(0);
    expect(await cost(() => nodeAt(root, 'one/README.yml'))).toBe(1);
    expect(await cost(() => namesIn(root, 'one/.dtool'))).toBe(0);
  });
});

describe('a dataset that can not be read', () => {
  const breakages: Readonly<Record<string, (store: MemoryObjectStore) => void>> = {
    'is not JSON': (store) => store.seed(keyOf('broken', 'manifest.json'), '{"items":'),
    'has no manifest': (store) => store.remove(keyOf('broken', 'manifest.json')),
    'has wrong types': (store) => store.seed(keyOf('broken', 'manifest.json'), '{"items": []}'),
    'has a size out of range': (store) =>
      store.seed(
        keyOf('broken', 'manifest.json'),
        JSON.stringify({
          items: { ['a'.repeat(40)]: { relpath: 'a', size_in_bytes: -1, hash: '', utc_timestamp: 0 } },
        }),
      ),
  };

  for (const [how, damage] of Object.entries(breakages)) {
    test(`because its manifest ${how} is left out once that is known, and comes back mended`, async () => {
      const { store, clock, problems, root } = bucketOf('broken', 'good');
      const manifest = store.peek(keyOf('broken', 'manifest.json'));
      damage(store);
      expect(await namesIn(root)).toContain('broken');
      await expect(namesIn(root, 'broken/data')).rejects.toMatchObject({ code: 'EIO' });
      expect(await namesIn(root)).toEqual(['.proto', '.uuid', 'good']);
      expect(await namesIn(root, '.uuid')).toEqual([uuidOf('good')]);
      expect(problems.all.map(({ key }) => key)).toEqual([keyOf('broken', 'manifest.json')]);
      expect(await textAt(root, 'good/data/a.txt')).toBe('good');

      clock.advance(REFRESH_MS);
      expect(await namesIn(root)).not.toContain('broken');
      expect(problems.all.length).toBe(1);
      store.seed(keyOf('broken', 'manifest.json'), manifest ?? '');
      clock.advance(REFRESH_MS);
      expect(await namesIn(root)).toContain('broken');
      expect(await textAt(root, 'broken/data/a.txt')).toBe('broken');
      expect(await namesIn(root, 'broken/.dtool')).toContain('manifest.json');
      expect(problems.all).toEqual([]);
    });
  }

  test('because access is denied is left out, one whose store is away is not', async () => {
    const { store, problems, root } = bucketOf('denied', 'away');
    await namesIn(root);
    store.failNext('get', store.error('timeout', keyOf('away', 'manifest.json')));
    await expect(namesIn(root, 'away/data')).rejects.toMatchObject({ code: 'EIO' });
    store.failNext('get', store.error('access-denied', keyOf('denied', 'manifest.json')));
    await expect(namesIn(root, 'denied/data')).rejects.toMatchObject({ code: 'EACCES' });
    expect(await namesIn(root)).toEqual(['.proto', '.uuid', 'away']);
    expect(problems.all.map(({ reason }) => reason)).toEqual(['injected access-denied']);
  });

  test('found by a look at its metadata is left out; not so when its items are known', async () => {
    const { store, problems, root } = bucketOf('unknown', 'known');
    await namesIn(root, 'known/data');
    store.remove(keyOf('known', 'manifest.json'));
    store.remove(keyOf('unknown', 'manifest.json'));
    for (const name of ['unknown', 'known']) await namesIn(root, name);
    expect(await namesIn(root)).toEqual(['.proto', '.uuid', 'known']);
    expect(problems.all.length).toBe(2);
  });

  test('stays left out while another one is found broken, too, during the refresh', async () => {
    const { store, clock, root } = bucketOf('a', 'b');
    for (const name of ['a', 'b']) store.remove(keyOf(name, 'manifest.json'));
    await namesIn(root);
    for (const name of ['a', 'b']) await expect(namesIn(root, `${name}/data`)).rejects.toThrow('no manifest');
    clock.advance(REFRESH_MS);
    const gate = store.hold('get');
    const first = namesIn(root);
    await gate.reached(2);
    // The registry is read; now the two broken ones are looked at again, and one of them fails at once.
    gate.release();
    const manifests = store.hold('get');
    await manifests.reached(2);
    clock.advance(REFRESH_WAIT_MS);
    expect(await first).toEqual(['.proto', '.uuid']);
    const second = namesIn(root);
    await settle();
    clock.advance(REFRESH_WAIT_MS);
    expect(await second).toEqual(['.proto', '.uuid']);
    manifests.release();
    await settle();
    expect(await namesIn(root)).toEqual(['.proto', '.uuid']);
  });

  test('because its admin metadata is broken is reported, and forgotten with the dataset', async () => {
    const { store, clock, problems, root } = bucketOf('broken', 'gone');
    store.seed(keyOf('broken', 'dtool'), '{');
    store.seed(keyOf('gone', 'manifest.json'), '{');
    expect(await namesIn(root)).toEqual(['.proto', '.uuid', 'gone']);
    await expect(namesIn(root, 'gone/data')).rejects.toThrow('not JSON');
    expect(problems.all.length).toBe(2);
    for (const key of store.keys) store.remove(key);
    clock.advance(REFRESH_MS);
    expect(await namesIn(root)).toEqual(['.proto', '.uuid']);
    expect(problems.all).toEqual([]);
  });
});

describe('what changes in the bucket', () => {
  test('is seen after the refresh time: new, renamed and deleted datasets', async () => {
    const { store, clock, root } = bucketOf('kept', 'deleted', 'old-name');
    const before = await nodeAt(root, 'kept');
    const link = await nodeAt(root, `.uuid/${uuidOf('kept')}`);
    seedDataset(store, datasetOf('new', {}));
    seedDataset(store, datasetOf('new-name', {}, { uuid: uuidOf('old-name') }));
    store.remove(`dtool-${uuidOf('deleted')}`);
    expect(await namesIn(root)).toEqual(['.proto', '.uuid', 'deleted', 'kept', 'old-name']);
    clock.advance(REFRESH_MS);
    expect(await namesIn(root)).toEqual(['.proto', '.uuid', 'kept', 'new', 'new-name']);
    expect(await nodeAt(root, 'kept')).toBe(before);
    expect(await nodeAt(root, `.uuid/${uuidOf('kept')}`)).toBe(link);
  });

  test('is seen at once after a refresh that was asked for', async () => {
    const { store, bucket, root } = bucketOf('one');
    await namesIn(root, 'one/.dtool/tags');
    seedDataset(store, datasetOf('two', {}));
    store.seed(keyOf('one', 'tags/new'), '');
    await bucket.refresh();
    expect(await namesIn(root)).toContain('two');
    expect(await namesIn(root, 'one/.dtool/tags')).toEqual(['new']);
  });

  test('finds a dataset that was frozen from here without asking for those that are known', async () => {
    const { store, bucket, root } = bucketOf('one', 'two', 'three');
    await namesIn(root);
    seedDataset(store, datasetOf('new', {}));
    const before = store.requestCount;
    await bucket.lookForNew();
    expect(await namesIn(root)).toContain('new');
    // The list, and what is new in it.
    expect(store.requestCount - before).toBe(2);
  });

  test('leaves the nodes of metadata that did not change as they are', async () => {
    const { store, clock, root } = bucketOf('one');
    store.seed(keyOf('one', 'tags/old'), '');
    const paths = ['one/README.yml', 'one/.dtool/tags', 'one/.dtool/tags/old', 'one/.dtool/manifest.json'];
    const before = await Promise.all(paths.map((path) => nodeAt(root, path)));
    clock.advance(REFRESH_MS);
    store.seed(keyOf('one', 'tags/new'), '');
    expect(await namesIn(root, 'one/.dtool/tags')).toEqual(['new', 'old']);
    const after = await Promise.all(paths.map((path) => nodeAt(root, path)));
    for (const [index, node] of after.entries()) expect(node).toBe(before[index]);
  });

  for (const text of ['longer than it was before, by far', 'short', undefined]) {
    test(`a README that is ${text ? `replaced by ${JSON.stringify(text)}` : 'gone'} is noticed by open`, async () => {
      const { store, problems, root } = bucketOf('one');
      const file = await fileAt(root, 'one/README.yml');
      if (text === undefined) store.remove(keyOf('one', 'README.yml'));
      else store.seed(keyOf('one', 'README.yml'), text);
      await expect(file.open(never, 'read')).rejects.toMatchObject({ code: 'ESTALE' });
      expect(problems.all).toEqual([]);
      if (text === undefined) {
        await expect(nodeAt(root, 'one/README.yml')).rejects.toMatchObject({ code: 'ENOENT' });
      } else {
        expect((await fileAt(root, 'one/README.yml')).attributes().size).toBe(text.length);
        expect(await textAt(root, 'one/README.yml')).toBe(text);
      }
    });
  }

  test('items of a dataset that is not frozen are seen, written anew even with the same size', async () => {
    let now = 0;
    const store = new MemoryObjectStore({ now: () => now });
    const { clock, root } = treeOf(store);
    const put = (content: string): void =>
      seedDataset(store, datasetOf('open', { 'd/a': content }, { frozenAt: null }));
    put('old');
    const path = `.proto/open~${uuidOf('open').slice(0, 8)}/data/d`;
    const directory = await directoryAt(root, path);
    expect(await textAt(root, `${path}/a`)).toBe('old');
    now += 1_000;
    put('new');
    clock.advance(REFRESH_MS);
    expect(await textAt(root, `${path}/a`)).toBe('new');
    expect(await nodeAt(root, path)).toBe(directory);
  });
});

describe('while the store is away', () => {
  test('what is known is served on, and told to be old', async () => {
    const { store, clock, problems, root } = bucketOf('one');
    const file = await fileAt(root, 'one/data/a.txt');
    await contentOf(file);
    await textAt(root, 'one/README.yml');
    clock.advance(REFRESH_MS);
    for (const operation of ['listPage', 'get', 'getRange'] as const) {
      store.failNext(operation, store.error('unreachable'), 100);
    }
    expect(await namesIn(root)).toContain('one');
    expect(await textAt(root, 'one/data/a.txt')).toBe('one');
    expect(await textAt(root, 'one/README.yml')).toContain('description');
    await settle();
    expect(problems.all.some(({ key, reason }) => key === 'dtool-' && /older/.test(reason))).toBe(true);
  });

  test('reads that fail are a problem until they work again', async () => {
    const { store, problems, root } = bucketOf('one');
    const file = await fileAt(root, 'one/data/a.txt');
    store.failNext('getRange', store.error('unreachable'));
    await expect(contentOf(file)).rejects.toMatchObject({ code: 'EIO' });
    expect(problems.all.length).toBe(1);
    await contentOf(file);
    expect(problems.all).toEqual([]);
  });
});
