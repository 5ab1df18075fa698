import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { printable } from '../../src/commands/terminal.ts';
import { fileNameFlaw } from '../../src/file-name.ts';
import { identifierOf } from '../../src/ecs/dtool/identifier.ts';
import { FsError } from '../../src/errors.ts';
import type { DirectoryNode, Node } from '../../src/fuse/tree/node.ts';
import type { ListedObject } from '../../src/ecs/object-store.ts';
import { PROTO_ITEMS_MAX, REGISTRATIONS_MAX } from '../../src/limits.ts';
import { datasetOf, uuidOf } from '../support/datasets.ts';
import type { MemoryObjectStore } from '../support/memory-object-store.ts';
import { contentOf, namesIn, nodeAt, never, seedDataset, textAt, treeOf } from '../support/tree.ts';

/** Entries and levels that no test here should come near; above it something goes round in circles. */
const NODES_MAX = 20_000;
const DEPTH_MAX = 2_000;

/** Whatever a bucket holds, these stand for what has to be as it would be without it. */
const GOOD = datasetOf('good', { 'file.txt': 'good', 'sub/other.txt': 'other' }, { tags: ['t'] });

/** Text with what breaks programs in it more often than not. */
const nasty = fc.oneof(
  fc.constantFrom(
    '',
    '.',
    '..',
    '../..',
    '/',
    '/etc/passwd',
    '../../../etc/passwd',
    'a/../../b',
    'a//b',
    'a/',
    './a',
    'a\0b',
    '\n',
    '\u001b[2J\u001b]0;title\u0007',
    '\u202egnp.exe',
    '__proto__',
    'constructor',
    'hasOwnProperty',
    'toString',
    '~',
    'staging',
    '.uuid',
    '.proto',
    '.dtool',
    'unrepresentable',
    'x'.repeat(256),
    'ü'.repeat(128),
    'd/'.repeat(1_500),
    '\ud800',
    'nai\u0308ve',
    'naïve',
    'CON',
    'a\\..\\b',
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
);

/** What may stand where JSON is expected. */
const anything = fc.oneof(
  fc.json({ maxDepth: 3 }),
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    '['.repeat(100_000),
    '{"items":'.repeat(50_000),
    '{"__proto__": {"polluted": true}, "items": {"__proto__": {"polluted": true}}}',
    'null',
    '1e999',
    '"\\ud800"',
  ),
);

const number = fc.oneof(
  fc.constantFrom(-1, 0, 0.5, 2 ** 53, 1e300, -1e300, 1e15, Number.MAX_SAFE_INTEGER),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);

const manifest = fc
  .array(
    fc.record({
      identifier: fc.oneof(nasty, nasty.map(identifierSafely)),
      relpath: fc.oneof(
        nasty,
        fc.tuple(nasty, nasty).map((parts) => parts.join('/')),
      ),
      size: number,
      hash: fc.oneof(nasty, fc.constant('d41d8cd98f00b204e9800998ecf8427e')),
      timestamp: number,
    }),
    { maxLength: 12 },
  )
  .map((items) =>
    JSON.stringify({
      dtoolcore_version: '3.19.0',
      hash_function: 'md5sum_hexdigest',
      items: Object.fromEntries(
        items.map(({ identifier, relpath, size, hash, timestamp }) => [
          identifier,
          { hash, relpath, size_in_bytes: size, utc_timestamp: timestamp },
        ]),
      ),
    }),
  );

/** Such manifests as get through, so that it is names and not types that are tried. */
const plausibleManifest = fc.uniqueArray(nasty, { maxLength: 12 }).map((relpaths) =>
  JSON.stringify({
    hash_function: 'md5sum_hexdigest',
    items: Object.fromEntries(
      relpaths.map((relpath) => [
        identifierSafely(relpath),
        { hash: '', relpath, size_in_bytes: 1, utc_timestamp: 0 },
      ]),
    ),
  }),
);

function identifierSafely(text: string): string {
  return identifierOf(wellFormed(text));
}

/** Without halves of surrogate pairs: keys have none. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}

/** Walks everything that the tree shows. Names are what a kernel takes, no symbolic link leads out. */
async function walk(root: DirectoryNode): Promise<number> {
  let nodes = 0;
  const visit = async (directory: DirectoryNode, depth: number): Promise<void> => {
    if (depth > DEPTH_MAX) throw new Error('too deep');
    let entries;
    try {
      entries = await directory.list(never);
    } catch (error) {
      // A dataset that can't be read ends in an error for whoever looks into it, and nothing else does.
      if (error instanceof FsError && error.code === 'EIO') return;
      throw error;
    }
    const seen = new Set<string>();
    for (let index = 0; index < entries.length; index += 1) {
      const { name, node } = entries.at(index) ?? {};
      if (name === undefined || node === undefined) throw new Error('a hole in a listing');
      nodes += 1;
      if (nodes > NODES_MAX) throw new Error('too many');
      expect(fileNameFlaw(name), JSON.stringify(name)).toBeUndefined();
      expect(seen.has(name), name).toBe(false);
      seen.add(name);
      checkAttributes(node);
      if (node.kind === 'symlink') expect(node.target).toMatch(/^\.\.\/(\.proto\/)?[^/]+$/);
      if (node.kind === 'directory') await visit(node, depth + 1);
    }
  };
  await visit(root, 0);
  return nodes;
}

function checkAttributes(node: Node): void {
  const { size, mtime, ino } = node.attributes();
  expect(Number.isSafeInteger(size) && size >= 0, `size ${size}`).toBe(true);
  expect(Number.isSafeInteger(mtime.seconds), `mtime ${mtime.seconds}`).toBe(true);
  expect(mtime.nanoseconds >= 0 && mtime.nanoseconds < 1e9).toBe(true);
  expect(ino > 0).toBe(true);
}

async function expectGood(root: DirectoryNode): Promise<void> {
  const target = await nodeAt(root, `.uuid/${uuidOf('good')}`);
  if (target.kind !== 'symlink') throw new Error('no symlink');
  const path = String(target.target).slice('../'.length);
  expect(await textAt(root, `${path}/data/file.txt`)).toBe('good');
  expect(await textAt(root, `${path}/data/sub/other.txt`)).toBe('other');
  expect(await namesIn(root, `${path}/.dtool/tags`)).toEqual(['t']);
}

describe('a bucket that somebody hostile writes into', () => {
  test('whatever is in registrations, admin metadata, manifests, overlays and keys: the rest is as it was', {
    timeout: 180_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            seed: fc.integer({ min: 0, max: 5 }),
            registration: fc.oneof(
              fc.constant(''),
              nasty,
              nasty.map((text) => `${text}/`),
            ),
            admin: fc.oneof(
              anything,
              fc
                .record({
                  name: nasty,
                  type: fc.constantFrom('dataset', 'protodataset'),
                  created_at: number,
                  frozen_at: number,
                })
                .map((fields) =>
                  JSON.stringify({ uuid: 'x', dtoolcore_version: '3', creator_username: 'm', ...fields }),
                ),
              fc
                .record({ name: nasty, type: fc.constantFrom('dataset', 'protodataset') })
                .map((fields) => JSON.stringify(fields)),
            ),
            manifest: fc.oneof(anything, manifest, plausibleManifest),
            extra: fc.array(
              fc.tuple(
                fc.constantFrom(
                  'overlays/',
                  'annotations/',
                  'tags/',
                  'data/',
                  'README.yml',
                  'structure.json',
                  '',
                ),
                nasty,
                anything,
                nasty,
              ),
              { maxLength: 5 },
            ),
          }),
          { minLength: 1, maxLength: 4 },
        ),
        fc.array(nasty, { maxLength: 4 }),
        async (datasets, junkKeys) => {
          const { store, root, lifetime } = treeOf();
          seedDataset(store, GOOD);
          for (const { seed, registration, admin, manifest: text, extra } of datasets) {
            const uuid = uuidOf(`hostile ${seed}`);
            const prefix = wellFormed(registration);
            const at = `${prefix}${uuid}/`;
            store.seed(`dtool-${uuid}`, prefix);
            store.seed(`${at}dtool`, admin);
            store.seed(`${at}manifest.json`, text);
            for (const [folder, name, body, handle] of extra) {
              const key = `${at}${folder}${wellFormed(name)}`;
              store.seed(key, body, { handle: Buffer.from(handle).toString('base64') });
            }
          }
          for (const key of junkKeys) store.seed(`dtool-${wellFormed(key)}`, key);
          await walk(root);
          await expectGood(root);
          lifetime.abort();
          expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
          expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
        },
      ),
      { numRuns: 100, interruptAfterTimeLimit: 150_000 },
    );
  });

  test('names of 10 MB, thousands of tags and deep paths: bounded, and the rest is as it was', {
    timeout: 120_000,
  }, async () => {
    const { store, root, problems } = treeOf();
    seedDataset(store, GOOD);
    seedDataset(store, datasetOf('long', {}));
    const item = (relpath: string) => ({ hash: '', relpath, size_in_bytes: 1, utc_timestamp: 0 });
    store.seed(
      `${uuidOf('long')}/manifest.json`,
      JSON.stringify({
        items: {
          [identifierOf('1')]: item('d/'.repeat(20_000)),
          [identifierOf('2')]: item(`${'d/'.repeat(2_000)}f`),
          [identifierOf('3')]: item('fine'),
        },
      }),
    );
    seedDataset(store, datasetOf('longer', {}));
    store.seed(
      `${uuidOf('longer')}/manifest.json`,
      JSON.stringify({ items: { [identifierOf('1')]: item('x'.repeat(10 << 20)) } }),
    );
    seedDataset(store, datasetOf('tagged', { a: 'a' }));
    for (let n = 0; n < 5_000; n += 1) store.seed(`${uuidOf('tagged')}/tags/t${n}`, '');
    store.seed(`dtool-${uuidOf('prefix')}`, 'p'.repeat(5_000_000));
    seedDataset(store, datasetOf(`n${'a'.repeat(500_000)}`, { a: 'a' }, { uuid: uuidOf('named') }));
    const names = await namesIn(root);
    expect(names.toSorted().slice(0, 3)).toEqual(['.proto', '.uuid', 'good']);
    expect(names.length).toBe(2 + 4);
    expect(problems.all.map(({ key }) => key)).toContain(`${uuidOf('named')}/dtool`);
    for (const name of names) expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
    expect(await namesIn(root, 'long/data')).toEqual(['d', 'fine']);
    expect((await namesIn(root, 'long/.dtool/unrepresentable')).length).toBe(1);
    await expect(namesIn(root, 'longer/data')).rejects.toMatchObject({ code: 'EIO' });
    expect(problems.all.map(({ key }) => key)).toContain(`${uuidOf('longer')}/manifest.json`);
    const tags = await namesIn(root, 'tagged/.dtool/tags');
    expect(tags.length).toBe(5_000);
    expect(await textAt(root, 'tagged/data/a')).toBe('a');
    await expectGood(root);
  });

  /** A store that lists so many keys more than it has, after the others. */
  const crowded = (store: MemoryObjectStore, prefix: string, count: number): MemoryObjectStore => {
    const listPage = store.listPage.bind(store);
    const keyAt = (index: number): string => `${prefix}${index.toString(16).padStart(40, '0')}`;
    store.listPage = async (query, options) => {
      if (query.prefix !== prefix) return listPage(query, options);
      const page = Number(query.continuationToken ?? -1);
      const objects = Array.from(
        { length: Math.min(1_000, count - page * 1_000) },
        (_, index): ListedObject => ({
          key: keyAt(page * 1_000 + index),
          size: 1,
          etag: 'x',
          lastModified: 0,
        }),
      );
      if (page < 0) return { ...(await listPage(query, options)), continuationToken: '0' };
      const isLast = (page + 1) * 1_000 >= count;
      return { objects, commonPrefixes: [], continuationToken: isLast ? undefined : String(page + 1) };
    };
    return store;
  };

  test('more registration keys than may be: those that come first count, and it is told where the others begin', async () => {
    const { store, root, problems } = treeOf();
    seedDataset(store, GOOD);
    crowded(store, 'dtool-', REGISTRATIONS_MAX);
    await expectGood(root);
    const told = problems.all.filter(({ reason }) => reason.includes('more than'));
    expect(told).toEqual([
      expect.objectContaining({ key: `dtool-${(REGISTRATIONS_MAX - 1).toString(16).padStart(40, '0')}` }),
    ]);
    expect(store.requests.listPage).toBeLessThan(10);
  });

  test('more items of a dataset that is not frozen than may be: its items are an error, and nothing else is', async () => {
    const { store, root, problems } = treeOf();
    seedDataset(store, GOOD);
    const open = datasetOf('crowded', { a: 'a' }, { frozenAt: null });
    seedDataset(store, open);
    crowded(store, `${open.uuid}/data/`, PROTO_ITEMS_MAX);
    const path = `.proto/crowded~${open.uuid.slice(0, 8)}`;
    await expect(namesIn(root, `${path}/data`)).rejects.toMatchObject({ code: 'EIO' });
    expect(problems.all.map(({ key }) => key)).toEqual([`${open.uuid}/data/`]);
    expect(store.requests.head).toBe(0);
    expect(await namesIn(root, path)).toEqual(['.dtool', 'README.yml', 'data']);
    await expectGood(root);
  });

  test('depth, wherever JSON may have it, is nothing but a problem of its dataset', async () => {
    const levels = 250_000;
    const arrays = `${'['.repeat(levels)}${']'.repeat(levels)}`;
    const objects = `${'{"a":'.repeat(levels / 2)}0${'}'.repeat(levels / 2)}`;
    const { store, root, problems } = treeOf();
    seedDataset(store, GOOD);
    const broken: string[] = [];
    for (const deep of [arrays, objects]) {
      const adminWith = (field: string): string => `{"name":"n","type":"dataset","${field}":${deep}}`;
      const manifestWith = (field: string): string =>
        `{"items":{"${'0'.repeat(40)}":{"hash":"","relpath":"r","size_in_bytes":1,"utc_timestamp":0,"${field}":${deep}}}}`;
      const bodies = {
        dtool: [
          deep,
          ...['name', 'type', 'created_at', 'frozen_at', 'uuid', 'creator_username'].map(adminWith),
        ],
        'manifest.json': [
          deep,
          `{"items":${deep}}`,
          `{"items":{},"hash_function":${deep}}`,
          ...['hash', 'relpath', 'size_in_bytes', 'utc_timestamp'].map(manifestWith),
        ],
      };
      for (const [name, texts] of Object.entries(bodies))
        for (const text of texts) {
          const spec = datasetOf(`deep-${broken.length}`, {});
          seedDataset(store, spec);
          const key = `${spec.uuid}/${name}`;
          store.seed(key, text);
          broken.push(key);
        }
    }
    await walk(root);
    await expectGood(root);
    const told = new Set(problems.all.map(({ key }) => key));
    expect(broken.filter((key) => key.endsWith('manifest.json') && !told.has(key))).toEqual([]);
  });

  test('numbers that are out of range are nothing but a problem of their dataset; the largest are shown', async () => {
    const { store, root, problems } = treeOf();
    seedDataset(store, GOOD);
    const bad: string[] = [];
    const seed = (name: string, size: string, time: string): string => {
      const spec = datasetOf(name, {});
      seedDataset(store, spec);
      const item = `{"hash":"","relpath":"f","size_in_bytes":${size},"utc_timestamp":${time}}`;
      store.seed(`${spec.uuid}/manifest.json`, `{"items":{"${identifierOf('f')}":${item}}}`);
      return `${spec.uuid}/manifest.json`;
    };
    for (const size of ['-1', '0.5', '9007199254740992', '1e300', '1e999', '"1"', 'null', 'true'])
      bad.push(seed(`size ${size}`, size, '0'));
    for (const time of ['8640000000001', '-8640000000001', '1e300', '-1e999', '"0"', 'null'])
      bad.push(seed(`time ${time}`, '0', time));
    seed('largest', '9007199254740991', '8640000000000');
    seed('smallest', '0', '-8640000000000');
    await walk(root);
    await expectGood(root);
    const told = new Set(problems.all.map(({ key }) => key));
    expect(bad.filter((key) => !told.has(key))).toEqual([]);
    const attributes = async (path: string): Promise<ReturnType<Node['attributes']>> =>
      (await nodeAt(root, path)).attributes();
    expect(await attributes('largest/data/f')).toMatchObject({
      size: Number.MAX_SAFE_INTEGER,
      mtime: { seconds: 8_640_000_000_000, nanoseconds: 0 },
    });
    expect(await attributes('smallest/data/f')).toMatchObject({
      size: 0,
      mtime: { seconds: -8_640_000_000_000, nanoseconds: 0 },
    });
  });

  test('metadata that is larger than it should be is not read', async () => {
    const { store, root, problems } = treeOf();
    seedDataset(store, GOOD);
    seedDataset(store, datasetOf('fat', {}));
    store.seed(`${uuidOf('fat')}/dtool`, Buffer.alloc(2 << 20, ' '));
    await expectGood(root);
    expect(problems.all.map(({ key }) => key)).toContain(`${uuidOf('fat')}/dtool`);
  });

  test('overlays, annotations, READMEs and tags of any content are files with these bytes', async () => {
    const { store, root } = treeOf();
    seedDataset(store, datasetOf('raw', {}));
    const bytes = Buffer.from([0, 0xff, 0x1b, 0x5b, 0x32, 0x4a, 0x0a]);
    for (const key of ['overlays/o.json', 'annotations/__proto__.json', 'tags/constructor', 'README.yml'])
      store.seed(`${uuidOf('raw')}/${key}`, bytes);
    for (const path of [
      '.dtool/overlays/o.json',
      '.dtool/annotations/__proto__.json',
      '.dtool/tags/constructor',
      'README.yml',
    ]) {
      const node = await nodeAt(root, `raw/${path}`);
      if (node.kind !== 'file') throw new Error(path);
      expect((await contentOf(node)).equals(bytes), path).toBe(true);
    }
  });

  test('what a terminal would obey never reaches it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(printable(text)).not.toMatch(
          // oxlint-disable-next-line no-control-regex
          /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/,
        );
      }),
    );
  });
});
