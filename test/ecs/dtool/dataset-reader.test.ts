import { describe, expect, test } from 'vitest';
import { DatasetReader } from '../../../src/ecs/dtool/dataset-reader.ts';
import { FormatError } from '../../../src/ecs/dtool/format-error.ts';
import { readRegistry } from '../../../src/ecs/dtool/registry.ts';
import type { ListQuery } from '../../../src/ecs/object-store.ts';
import { DATASET_METADATA_OBJECTS_MAX, NAME_MAX_BYTES } from '../../../src/limits.ts';
import { MemoryObjectStore } from '../../support/memory-object-store.ts';

const UUID = '0476091d-93ac-47f0-acd2-97ae0f1b982e';

async function datasetWith(
  objects: Readonly<Record<string, string>>,
  type = 'dataset',
): Promise<{ store: MemoryObjectStore; reader: DatasetReader }> {
  const store = new MemoryObjectStore({ pageSize: 2, emptyPages: true });
  store.seed(`dtool-${UUID}`, 'p');
  store.seed(`p${UUID}/dtool`, JSON.stringify({ uuid: UUID, name: 'n', type }));
  for (const [name, content] of Object.entries(objects)) store.seed(`p${UUID}/${name}`, content);
  const [entry] = (await readRegistry(store)).datasets;
  if (!entry) throw new Error('no dataset');
  return { store, reader: new DatasetReader(store, entry) };
}

describe('manifest', () => {
  test('costs one request', async () => {
    const { store, reader } = await datasetWith({ 'manifest.json': '{"items": {}}' });
    const before = store.requestCount;
    expect([...(await reader.manifest()).items]).toEqual([]);
    expect(store.requestCount).toBe(before + 1);
  });

  test('that is missing or broken is an error with its key, and EIO', async () => {
    const missing = await datasetWith({});
    await expect(missing.reader.manifest()).rejects.toThrow(
      `bucket/p${UUID}/manifest.json: the dataset is frozen but has no manifest`,
    );
    const broken = await datasetWith({ 'manifest.json': '{' });
    await expect(broken.reader.manifest()).rejects.toThrow(FormatError);
    await expect(broken.reader.manifest()).rejects.toMatchObject({ code: 'EIO' });
  });

  test('that a freeze left behind when it died does not count', async () => {
    const { store, reader } = await datasetWith({ 'manifest.json': '{"items": {}}' }, 'protodataset');
    const before = store.requestCount;
    await expect(reader.manifest()).rejects.toMatchObject({ code: 'EINVAL' });
    expect(store.requestCount).toBe(before);
  });

  test('other errors of the store come as they are', async () => {
    const { store, reader } = await datasetWith({ 'manifest.json': '{"items": {}}' });
    const error = store.error('access-denied');
    store.failNext('get', error);
    await expect(reader.manifest()).rejects.toBe(error);
  });
});

describe('metadata', () => {
  test('is found with one list and one for every folder that is there', async () => {
    const { store, reader } = await datasetWith({
      'README.yml': '---',
      'README.yml-1795450134.556863': 'old',
      'README.yml-notes': '',
      'http_manifest.json': '{}',
      'data/3857b672471862eab426eba0622e44bd2cedbd5d': '',
      'tags/A.b_c-1': '',
      'tags/rnaseq': '',
      'annotations/__proto__.json': '1',
    });
    const before = store.requests.listPage;
    const metadata = await reader.metadata();
    expect(metadata.problems).toEqual([]);
    expect([...metadata.topLevel.keys()].toSorted()).toEqual(['README.yml', 'dtool']);
    expect(metadata.topLevel.get('README.yml')).toMatchObject({ key: `p${UUID}/README.yml`, size: 3 });
    expect(metadata.readmeBackups.map(({ key }) => key)).toEqual([`p${UUID}/README.yml-1795450134.556863`]);
    expect([...metadata.tags.keys()]).toEqual(['A.b_c-1', 'rnaseq']);
    expect([...metadata.annotations.keys()]).toEqual(['__proto__']);
    expect(metadata.overlays.size).toBe(0);
    // 8 entries in pages of 2 with empty ones between them, and one page for each of two folders.
    expect(store.requests.listPage - before).toBe(7 + 2);
  });

  test('of more objects than anybody has, the first are listed', async () => {
    const { store, reader } = await datasetWith({ 'tags/a': '' });
    store.listPage = async ({ prefix, delimiter, continuationToken = '0' }: ListQuery) => {
      const from = Number(continuationToken);
      const objects = Array.from({ length: 1_000 }, (_, index) => ({
        key: `${prefix}n${from + index}`,
        size: 0,
        etag: '',
        lastModified: 0,
      }));
      const commonPrefixes = delimiter !== undefined && from === 0 ? [`${prefix}tags/`] : [];
      return { objects, commonPrefixes, continuationToken: String(from + 1_000) };
    };
    const { tags, problems } = await reader.metadata();
    expect(tags.size).toBe(DATASET_METADATA_OBJECTS_MAX);
    const reason = `it has more than ${DATASET_METADATA_OBJECTS_MAX} objects; the others are left out`;
    expect(problems).toEqual([
      { key: `p${UUID}/`, reason },
      { key: `p${UUID}/tags/`, reason },
    ]);
  });

  test('names that no file can have are reported', async () => {
    const bad = [
      'overlays/.json',
      'overlays/plain',
      'overlays/a/b.json',
      'tags/',
      'tags/..',
      'tags/.',
      'tags/a/b',
      'tags/a\0b',
      `tags/${'x'.repeat(NAME_MAX_BYTES + 1)}`,
    ];
    const good = ['overlays/with.dot.json', 'tags/ü', `tags/${'x'.repeat(NAME_MAX_BYTES)}`];
    const { reader } = await datasetWith(Object.fromEntries([...bad, ...good].map((name) => [name, ''])));
    const { problems, overlays, tags } = await reader.metadata();
    expect(problems.map(({ key }) => key).toSorted()).toEqual(
      bad.map((name) => `p${UUID}/${name}`).toSorted(),
    );
    expect([...overlays.keys()]).toEqual(['with.dot']);
    expect([...tags.keys()].toSorted()).toEqual(['x'.repeat(NAME_MAX_BYTES), 'ü']);
  });
});
