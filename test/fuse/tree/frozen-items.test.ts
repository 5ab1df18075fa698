import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LoadedManifest } from '../../../src/ecs/dtool/loaded-manifest.ts';
import { buildDirectories } from '../../../src/ecs/dtool/item-directories.ts';
import { parseManifest } from '../../../src/ecs/dtool/manifest.ts';
import { readOnlyAttributes } from '../../../src/fuse/tree/attributes.ts';
import { Directory } from '../../../src/fuse/tree/directory.ts';
import { FrozenItems } from '../../../src/fuse/tree/frozen-items.ts';
import { type ItemOwner, type TreeItem, buildItemTree } from '../../../src/fuse/tree/item-tree.ts';
import { ItemsMemory } from '../../../src/fuse/tree/items-memory.ts';
import type { DirectoryNode } from '../../../src/fuse/tree/node.ts';
import { MiB } from '../../../src/limits.ts';
import { uuidOf } from '../../support/datasets.ts';
import {
  OWNERSHIP,
  TIME,
  directoryAt,
  fileAt,
  filesBelow,
  namesIn,
  never,
  nodeAt,
  treeOf,
} from '../../support/tree.ts';

const owner: ItemOwner = {
  uuid: uuidOf('owner'),
  ownership: OWNERSHIP,
  source: treeOf().context.source,
  time: TIME,
  keyOf: (identifier) => `data/${identifier}`,
};
const attributes = readOnlyAttributes('directory', OWNERSHIP, 1, 0, TIME);

/** Items with these relpaths; each has its place in the list as its size. */
function itemsOf(relpaths: readonly string[]): readonly TreeItem[] {
  return relpaths.map((relpath, index) => ({
    identifier: createHash('sha1').update(`${index} ${relpath}`).digest('hex'),
    relpath,
    size: index,
    hash: '',
    timestamp: index + 0.5,
  }));
}

function loaded(items: readonly TreeItem[], version = '1'): LoadedManifest {
  const members = items.map(({ identifier, relpath, size, hash, timestamp }) => [
    identifier,
    { relpath, size_in_bytes: size, hash, utc_timestamp: timestamp },
  ]);
  const body = Buffer.from(JSON.stringify({ items: Object.fromEntries(members) }));
  const manifest = parseManifest(body, { bucket: 'b', key: 'k' });
  const directories = buildDirectories(manifest.items);
  return new LoadedManifest({
    dtoolcoreVersion: undefined,
    hashFunction: undefined,
    columns: manifest.items.columns,
    directories,
    etag: version,
  });
}

function frozen(load: () => LoadedManifest, memory = new ItemsMemory(64 * MiB)) {
  const counts = { loads: 0 };
  const flaws: string[] = [];
  const items = new FrozenItems(owner, {
    load: async () => {
      counts.loads += 1;
      return load();
    },
    memory,
    onLoad: (manifest) => {
      flaws.splice(
        0,
        flaws.length,
        ...Array.from({ length: manifest.displacedCount }, (_, index) => manifest.displacementAt(index)),
      );
    },
    dataAttributes: attributes,
    unrepresentableAttributes: attributes,
  });
  return { items, counts, flaws, memory };
}

/** Everything in a directory that stat(2) tells, by path. */
async function statsOf(directory: DirectoryNode) {
  const stats: Record<string, unknown> = {};
  for (const [path, file] of await filesBelow(directory)) stats[path] = file.attributes();
  return stats;
}

test('packed items are where the tree of items that may change has them', async () => {
  const name = fc.constantFrom('a', 'b', 'a-', 'a0', 'ä', '..', '.', '', 'c\0', '\u{1f600}', '\ud800');
  const relpath = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join('/'));
  await fc.assert(
    fc.asyncProperty(fc.array(relpath, { maxLength: 40 }), async (relpaths) => {
      const items = itemsOf(relpaths);
      const model = buildItemTree(owner, items);
      const { items: packed, flaws } = frozen(() => loaded(items));
      expect(await statsOf(packed.data)).toEqual(
        await statsOf(new Directory(attributes, 'forever', [model.data])),
      );
      expect(await statsOf(packed.unrepresentable)).toEqual(
        Object.fromEntries(Array.from(model.unrepresentable, ([id, node]) => [id, node.attributes()])),
      );
      expect(packed.usage).toEqual({ files: model.files, bytes: model.bytes });
      expect(flaws.length).toBe(model.flaws.size);
      const named = (flaw: string): string => flaw.replace(/ (stands for another|is also a directory).*/, '');
      expect(flaws.map(named).toSorted()).toEqual([...model.flaws.values()].map(named).toSorted());
    }),
    { numRuns: 300 },
  );
});

test('many items in many directories are sorted and found', async () => {
  const part = fc.integer({ min: 0, max: 30 }).map((number) => `part-${number}`);
  const relpath = fc.array(part, { minLength: 1, maxLength: 5 }).map((names) => names.join('/'));
  await fc.assert(
    fc.asyncProperty(fc.array(relpath, { minLength: 200, maxLength: 400 }), async (relpaths) => {
      const items = itemsOf(relpaths);
      const model = buildItemTree(owner, items);
      const { items: packed } = frozen(() => loaded(items));
      const expected = await statsOf(new Directory(attributes, 'forever', [model.data]));
      expect(await statsOf(packed.data)).toEqual(expected);
      for (const path of Object.keys(expected)) {
        expect((await fileAt(packed.data, path)).attributes()).toEqual(expected[path]);
      }
      await expect(nodeAt(packed.data, 'part-')).rejects.toMatchObject({ code: 'ENOENT' });
      const listed = await packed.data.list(never);
      const names = Array.from({ length: listed.length }, (_, index) => listed.at(index)?.name ?? '');
      expect(names).toEqual(names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
    }),
    { numRuns: 30 },
  );
});

describe('a manifest that has left memory', () => {
  const items = itemsOf(['d/a', 'd/e/b', '..']);
  const other = itemsOf(['x']);

  test('is read again on demand, and nodes that are held go on', async () => {
    const memory = new ItemsMemory(1);
    const { items: one, counts } = frozen(() => loaded(items), memory);
    const { items: two } = frozen(() => loaded(other), memory);
    const directory = await directoryAt(one.data, 'd');
    const file = await fileAt(one.data, 'd/a');
    await nodeAt(two.data, 'x');
    expect(memory.bytes).toBe(loaded(other).byteLength);
    expect(file.attributes().size).toBe(0);
    expect(await namesIn(directory)).toEqual(['a', 'e']);
    expect(await directory.lookup('a', never)).toBe(file);
    expect(await nodeAt(one.data, 'd')).toBe(directory);
    (await file.open(never, 'read')).close();
    expect(counts.loads).toBe(2);
  });

  test('and is another one makes held files stale, and directories what they are now', async () => {
    const versions = [loaded(items), loaded(itemsOf(['new', 'd/a']), '2')];
    const { items: one } = frozen(() => versions.shift() ?? expect.fail('read too often'));
    const directory = await directoryAt(one.data, 'd');
    const gone = await directoryAt(one.data, 'd/e');
    const file = await fileAt(one.data, 'd/a');
    one.forget();
    expect(await namesIn(directory)).toEqual(['a']);
    await expect(file.open(never, 'read')).rejects.toMatchObject({ code: 'ESTALE' });
    await expect(gone.list(never)).rejects.toMatchObject({ code: 'ESTALE' });
  });

  test('is loaded once for all who ask at a time', async () => {
    const { items: one, counts } = frozen(() => loaded(items));
    await Promise.all([one.data.list(never), one.data.lookup('d', never), one.unrepresentable.list(never)]);
    expect(counts.loads).toBe(1);
  });
});

test('a hundred thousand items take less than 150 bytes each', () => {
  const items = itemsOf(
    Array.from({ length: 100_000 }, (_, index) => `sample-${index % 300}/reads-${index}.fastq.gz`),
  );
  const manifest = loaded(items.map((item) => ({ ...item, hash: item.identifier.slice(8) })));
  expect(manifest.byteLength / items.length).toBeLessThan(150);
});
