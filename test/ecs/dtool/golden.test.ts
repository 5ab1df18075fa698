import { describe, expect, test } from 'vitest';
import { renderAdminMetadata } from '../../../src/ecs/dtool/admin-metadata.ts';
import { DatasetReader } from '../../../src/ecs/dtool/dataset-reader.ts';
import { identifierOf } from '../../../src/ecs/dtool/identifier.ts';
import { datasetKeyPrefix } from '../../../src/ecs/dtool/keys.ts';
import { readRegistry } from '../../../src/ecs/dtool/registry.ts';
import { goldenCases, goldenStore, loadGoldenCase, type GoldenDataset } from '../../support/golden.ts';

test('all cases are there', () => {
  expect(goldenCases).toHaveLength(10);
});

describe.each(goldenCases)('%s', (name) => {
  const golden = loadGoldenCase(name);
  const store = goldenStore(golden);
  const text = (key = ''): string | undefined => store.peek(key)?.toString();
  const views = Object.entries(golden.readers).flatMap(([reader, { datasets }]) =>
    datasets.map((truth) => [reader, truth] as const),
  );

  test('the registry lists what dtool lists', async () => {
    const { datasets, problems } = await readRegistry(store);
    expect(problems).toEqual([]);
    expect(Object.keys(golden.readers)).toEqual(['ecs-head', 's3-head']);
    for (const { datasets: truth } of Object.values(golden.readers)) {
      expect(datasets.map(({ uuid }) => uuid)).toEqual(truth.map(({ uuid }) => uuid).toSorted());
    }
  });

  test.each(views)('as %s sees it', async (_, truth) => {
    const reader = await readerOf(truth);
    const { entry } = reader;
    expect(entry.keyPrefix).toBe(datasetKeyPrefix(truth.prefix, entry.uuid));
    expect(entry.registration.prefix).toBe(truth.prefix);
    expect(JSON.parse(renderAdminMetadata(entry.admin))).toEqual(truth.admin_metadata);

    const metadata = await reader.metadata();
    expect(metadata.problems).toEqual([]);
    expect([...metadata.tags.keys()].toSorted()).toEqual(truth.tags.toSorted());
    expect([...metadata.annotations.keys()].toSorted()).toEqual(truth.annotation_names.toSorted());
    expect([...metadata.overlays.keys()].toSorted()).toEqual(Object.keys(truth.overlays ?? {}).toSorted());
    expect(metadata.readmeBackups.map(({ key }) => key)).toEqual(truth.readme_backup_keys);
    expect([...metadata.topLevel.keys()].toSorted()).toEqual(
      [
        'README.txt',
        'README.yml',
        'dtool',
        'structure.json',
        ...(truth.items ? ['manifest.json'] : []),
      ].toSorted(),
    );
    expect(text(metadata.topLevel.get('README.yml')?.key)).toBe(truth.readme);
    for (const [annotation, { key }] of metadata.annotations) {
      expect(JSON.parse(text(key) ?? '')).toEqual(truth.annotations[annotation]);
    }
    for (const [overlay, { key }] of metadata.overlays) {
      expect(JSON.parse(text(key) ?? '')).toEqual(truth.overlays?.[overlay]);
    }

    if (truth.items) {
      const manifest = await reader.manifest();
      expect(manifest.hashFunction).toBe(truth.hash_function);
      expect(manifest.dtoolcoreVersion).toBe(truth.manifest_dtoolcore_version);
      const list = [...manifest.items];
      const items = Object.fromEntries(
        list.map(({ identifier, relpath, size, hash, timestamp }) => [
          identifier,
          { relpath, size_in_bytes: size, hash, utc_timestamp: timestamp },
        ]),
      );
      expect(items).toEqual(truth.items);
      expect(list.every(({ identifier, relpath }) => identifierOf(relpath) === identifier)).toBe(true);
      expect(
        list.every(({ identifier, size }) => store.peek(reader.itemKey(identifier))?.length === size),
      ).toBe(true);
    }
    // The objects of a frozen dataset still tell what its manifest says.
    const protoItems = await reader.protoItems();
    expect(protoItems.problems).toEqual([]);
    const relpaths = truth.handles ?? Object.values(truth.items ?? {}).map(({ relpath }) => relpath);
    expect(protoItems.items.map(({ relpath }) => relpath).toSorted()).toEqual(relpaths.toSorted());
    for (const { identifier, size, hash, timestamp } of protoItems.items) {
      const item = truth.items?.[identifier];
      if (item) {
        expect({ size_in_bytes: size, hash, utc_timestamp: timestamp }).toEqual({
          ...item,
          relpath: undefined,
        });
      }
    }
  });

  test('the admin metadata is rendered byte for byte as dtool wrote it', async () => {
    const { datasets } = await readRegistry(store);
    for (const { admin, keyPrefix } of datasets) {
      expect(renderAdminMetadata(admin)).toBe(store.peek(`${keyPrefix}dtool`)?.toString());
    }
  });

  async function readerOf(truth: GoldenDataset): Promise<DatasetReader> {
    const { datasets } = await readRegistry(store);
    const entry = datasets.find(({ uuid }) => uuid === truth.uuid);
    if (!entry) throw new Error(`dataset ${truth.uuid} is not in the registry`);
    return new DatasetReader(store, entry);
  }
});
