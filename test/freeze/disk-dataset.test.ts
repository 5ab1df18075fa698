import { createHash, randomUUID } from 'node:crypto';
import { rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { identifierOf } from '../../src/ecs/dtool/identifier.ts';
import { StoreError } from '../../src/ecs/object-store.ts';
import { datasetObjects } from '../../src/demo/dataset-objects.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';
import { base64, folderOf, freezeTo, onlyDataset, readBack, refusalOf } from './support.ts';

const A = identifierOf('a.txt');
const B = identifierOf('b/c.txt');

interface Layout {
  readonly uuid: string;
  readonly files: Record<string, string>;
}

/** The files of a dataset as dtoolcore 3.19 has it on disk. */
function layout(type: 'protodataset' | 'dataset', more: Readonly<Record<string, string>> = {}): Layout {
  const uuid = randomUUID();
  const admin = {
    uuid,
    dtoolcore_version: '3.18.2',
    name: 'from-disk',
    type,
    creator_username: 'grace',
    created_at: 1_600_000_000.5,
    ...(type === 'dataset' ? { frozen_at: 1_600_000_100.25 } : {}),
  };
  const item = (content: string, relpath: string): object => ({
    hash: createHash('md5').update(content).digest('hex'),
    relpath,
    size_in_bytes: content.length,
    utc_timestamp: 1_500_000_000.125,
  });
  const manifest = {
    dtoolcore_version: '3.18.2',
    hash_function: 'md5sum_hexdigest',
    items: { [A]: item('aaa', 'a.txt'), [B]: item('ccc', 'b/c.txt') },
  };
  const files = {
    'README.yml': 'description: from disk\n',
    'data/a.txt': 'aaa',
    'data/b/c.txt': 'ccc',
    '.dtool/dtool': JSON.stringify(admin),
    '.dtool/structure.json': '{}',
    '.dtool/README.txt': 'README',
    '.dtool/tags/testing': '',
    '.dtool/annotations/species.json': '"Hordeum"',
    ...(type === 'dataset'
      ? {
          '.dtool/manifest.json': JSON.stringify(manifest, null, 2),
          '.dtool/overlays/good.json': JSON.stringify({ [A]: true, [B]: 1.5 }),
        }
      : {
          [`.dtool/tmp_fragments/${A}.weight.json`]: '1.0',
          [`.dtool/tmp_fragments/${B}.weight.json`]: '[2]',
        }),
    ...more,
  };
  return { uuid, files };
}

const text = (store: MemoryObjectStore, key: string): string | undefined => store.peek(key)?.toString();

describe('a dataset in the layout that dtool has on disk', () => {
  test('no file of .dtool is read through a link, to wherever it leads', async () => {
    const { files } = layout('dataset');
    const directory = await folderOf(files);
    const elsewhere = await folderOf({ 'tags/private-key': '', secret: '{}' });
    const instead = async (name: string, target: string): Promise<void> => {
      await rm(join(directory, '.dtool', name), { recursive: true });
      await symlink(target, join(directory, '.dtool', name));
    };
    await instead('tags', join(elsewhere, 'tags'));
    await instead('annotations/species.json', join(elsewhere, 'secret'));
    await instead('overlays/good.json', '../structure.json');
    const store = new MemoryObjectStore();
    const link = 'is a symbolic link, and metadata is read through none; put a copy in its place';
    expect(await refusalOf(freezeTo(store, directory))).toEqual([
      `.dtool/annotations/species.json ${link}`,
      `.dtool/overlays/good.json ${link}`,
      `.dtool/tags ${link}`,
    ]);
    await instead('dtool', join(elsewhere, 'secret'));
    await instead('manifest.json', join(elsewhere, 'secret'));
    expect(await refusalOf(freezeTo(store, directory))).toContain(`.dtool/dtool ${link}`);
    expect(store.requests.put).toBe(0);
  });

  test('not frozen: uuid and creator are kept, metadata is taken over, fragments become overlays', async () => {
    const { uuid, files } = layout('protodataset');
    const store = new MemoryObjectStore();
    expect(await freezeTo(store, await folderOf(files))).toMatchObject({ uuid, kind: 'proto', items: 2 });
    const entry = await onlyDataset(store);
    expect(entry.admin).toMatchObject({
      uuid,
      name: 'from-disk',
      type: 'dataset',
      creatorUsername: 'grace',
      createdAt: 1_600_000_000.5,
    });
    expect(await readBack(store, entry)).toEqual(
      new Map(
        [
          ['a.txt', base64('aaa')],
          ['b/c.txt', base64('ccc')],
        ].toSorted(([a = ''], [b = '']) => (identifierOf(a) < identifierOf(b) ? -1 : 1)) as [
          string,
          string,
        ][],
      ),
    );
    expect(text(store, `${uuid}/README.yml`)).toBe('description: from disk\n');
    expect(text(store, `${uuid}/tags/testing`)).toBe('');
    expect(text(store, `${uuid}/annotations/species.json`)).toBe('"Hordeum"');
    const weights = text(store, `${uuid}/overlays/weight.json`) ?? '';
    expect(JSON.parse(weights)).toEqual({ [A]: 1, [B]: [2] });
    expect(weights).toContain(`"${A}": 1.0`);
  });

  test('frozen: manifest, overlays and frozen_at are kept', async () => {
    const { uuid, files } = layout('dataset', { 'README.yml-1650000000.1': 'old: 1\n' });
    const store = new MemoryObjectStore();
    const directory = await folderOf(files);
    const result = await freezeTo(store, directory);
    expect(result).toMatchObject({ uuid, kind: 'frozen', uploadedItems: 2 });
    expect(result.warnings.map(({ path }) => path)).toEqual(['README.yml-1650000000.1']);
    const entry = await onlyDataset(store);
    expect(entry.admin).toMatchObject({ frozenAt: 1_600_000_100.25, dtoolcoreVersion: '3.18.2' });
    expect(text(store, `${uuid}/manifest.json`)).toBe(files['.dtool/manifest.json']);
    expect(text(store, `${uuid}/overlays/good.json`)).toBe(files['.dtool/overlays/good.json']);
    expect((await readBack(store, entry)).size).toBe(2);
    expect(await freezeTo(store, directory)).toMatchObject({ outcome: 'already-frozen' });
  });

  test('frozen, its items in parts: held against the manifest while they are hashed', async () => {
    const { uuid, files } = layout('dataset');
    const partSizes = { singlePutMaxBytes: 2, partBytes: 2 };
    const store = new MemoryObjectStore();
    expect(await freezeTo(store, await folderOf(files), { partSizes })).toMatchObject({
      uuid,
      kind: 'frozen',
    });
    const found = await readBack(store, await onlyDataset(store));
    expect(found.get('b/c.txt')).toBe(base64('ccc'));
    expect(store.requests).toMatchObject({ createUpload: 2, putPart: 4, completeUpload: 2 });
  });

  test('frozen, and not as its manifest says: every difference is told', async () => {
    const { files } = layout('dataset', {
      'data/a.txt': 'AAA',
      'data/extra': 'x',
      'beside.txt': 'x',
      '.dtool/overlays/dotted.name.json': '{}',
      '.dtool/annotations/broken.json': '{',
      '.dtool/tags/no good': '',
    });
    const directory = await folderOf(files);
    await rm(join(directory, 'data/b/c.txt'));
    const store = new MemoryObjectStore();
    const expected = [
      /^\.dtool\/annotations\/broken\.json it is not JSON/,
      /^\.dtool\/overlays\/dotted\.name\.json has a dot/,
      /^\.dtool\/overlays\/dotted\.name\.json has not exactly the identifiers/,
      /^\.dtool\/overlays\/good\.json has not exactly the identifiers/,
      /^\.dtool\/tags\/no good is no name/,
      /^beside\.txt has no place beside data/,
      /^data\/a\.txt has another content than the manifest says/,
      /^data\/b\/c\.txt is missing/,
      /^data\/extra is not in the manifest/,
    ];
    const problems = await refusalOf(freezeTo(store, directory));
    expect(problems).toEqual(expected.map((pattern) => expect.stringMatching(pattern)));
    expect(store.requestCount).toBe(0);
  });

  test('admin metadata that is broken', async () => {
    const refusal = async (admin: string): Promise<readonly string[]> =>
      refusalOf(freezeTo(new MemoryObjectStore(), await folderOf({ '.dtool/dtool': admin, 'data/a': '' })));
    expect(await refusal('{"uuid": 1}')).toEqual([
      expect.stringMatching(/^\.dtool\/dtool the admin metadata is broken/),
    ]);
    const admin = {
      uuid: 'x',
      name: 'n',
      type: 'protodataset',
      dtoolcore_version: '3',
      creator_username: 'g',
    };
    expect(await refusal(JSON.stringify({ ...admin, created_at: 1 }))).toEqual([
      expect.stringMatching(/^\.dtool\/dtool has "x" where a uuid belongs/),
    ]);
  });
});

describe('a uuid that the bucket has', () => {
  test('frozen: nothing is written', async () => {
    const { uuid, files } = layout('protodataset');
    const store = new MemoryObjectStore();
    const items = [['other', Buffer.from('o')]] as const;
    for (const { key, body, metadata } of datasetObjects({ name: 'there', uuid, items, createdAt: 1 }))
      store.seed(key, body, metadata);
    const directory = await folderOf(files);
    await expect(freezeTo(store, directory)).rejects.toThrow(`has a frozen dataset ${uuid} already`);
    expect(store.requests.put + store.requests.delete).toBe(0);
  });

  test('not frozen, with nothing that the directory has not: it is finished', async () => {
    const { uuid, files } = layout('protodataset');
    const store = new MemoryObjectStore();
    const items = [['a.txt', Buffer.from('aaa')]] as const;
    const spec = { name: 'from-disk', uuid, items, createdAt: 1, frozenAt: null, prefix: 'u/grace' };
    for (const { key, body, metadata } of datasetObjects(spec)) store.seed(key, body, metadata);
    const directory = await folderOf(files);
    expect(await freezeTo(store, directory)).toMatchObject({ uploadedItems: 1, resumed: true });
    const entry = await onlyDataset(store);
    expect([entry.keyPrefix, entry.admin.type]).toEqual([`u/grace${uuid}/`, 'dataset']);
    expect((await readBack(store, entry)).size).toBe(2);
  });

  test("not frozen, with somebody's items: it is left alone", async () => {
    const { uuid, files } = layout('protodataset');
    const store = new MemoryObjectStore();
    const items = [['precious', Buffer.from('p')]] as const;
    for (const { key, body, metadata } of datasetObjects({
      name: 'x',
      uuid,
      items,
      createdAt: 1,
      frozenAt: null,
    }))
      store.seed(key, body, metadata);
    const before = store.keys;
    await expect(freezeTo(store, await folderOf(files))).rejects.toThrow(/things that the directory has not/);
    expect(store.keys).toEqual(before);
    // The mark of the freeze alone came, and went.
    expect([store.requests.put, store.requests.delete]).toEqual([1, 1]);
  });

  test('frozen by somebody else while ours was under way: the commit is not made', async () => {
    const { uuid, files } = layout('protodataset');
    const store = new MemoryObjectStore();
    const directory = await folderOf(files);
    const onProgress = ({ items }: { items: number }): void => {
      if (items !== 2) return;
      const admin = { uuid, name: 'theirs', type: 'dataset', dtoolcore_version: '3', creator_username: 'x' };
      store.seed(`${uuid}/dtool`, '{}', { ...admin, created_at: '1.0', frozen_at: '2.0' });
    };
    await expect(freezeTo(store, directory, { onProgress })).rejects.toThrow('already');
    expect((await onlyDataset(store)).admin.name).toBe('theirs');
  });
});

test('no permission to write: told with key and action before any item, and nothing is left', async () => {
  const refusedAt = async (
    nth: number,
  ): Promise<{ readonly error: unknown; readonly store: MemoryObjectStore }> => {
    const store = new MemoryObjectStore();
    const { files } = layout('protodataset');
    let puts = 0;
    const put = store.put.bind(store);
    store.put = async (key, body, options) => {
      puts += 1;
      if (puts === nth)
        throw new StoreError(
          'access-denied',
          { bucket: 'bucket', key },
          'AccessDenied: Access Denied (status 403)',
        );
      return put(key, body, options);
    };
    const error = await freezeTo(store, await folderOf(files)).catch((reason: unknown) => reason);
    return { error, store };
  };
  const mark = await refusedAt(1);
  expect(mark.error).toMatchObject({ message: expect.stringMatching(/EACCES.*\/freeze\//) });
  const first = await refusedAt(2);
  expect(first.error).toMatchObject({ message: expect.stringMatching(/EACCES.*bucket\/dtool-/) });
  const second = await refusedAt(3);
  expect(second.error).toMatchObject({
    message: expect.stringMatching(/EACCES.*\/structure\.json/),
    advice: expect.stringMatching(/s3:PutObject on arn:aws:s3:::bucket\/.*structure\.json/),
  });
  for (const { store } of [mark, first, second]) expect(store.keys).toEqual([]);
});

test('a registration that may or may not have come through is looked at again', async () => {
  const store = new MemoryObjectStore();
  const directory = await folderOf({ a: 'a' });
  store.failNext('put', store.error('timeout'), 1);
  expect(await freezeTo(store, directory)).toMatchObject({ outcome: 'frozen' });
  await writeFile(join(directory, 'b'), 'b');
  store.failNext('put', store.error('bad-request'), 1);
  expect(await freezeTo(store, directory)).toMatchObject({ outcome: 'frozen', items: 2 });
});
