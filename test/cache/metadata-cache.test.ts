import { mkdtemp, readFile, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MetadataCache } from '../../src/cache/metadata-cache.ts';
import { packManifest, unpackManifest } from '../../src/cache/packed-manifest.ts';
import { buildDirectories } from '../../src/ecs/dtool/item-directories.ts';
import { parseManifest } from '../../src/ecs/dtool/manifest.ts';
import { MiB } from '../../src/limits.ts';
import { silentLogger } from '../../src/log.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'metadata-'));
});
afterEach(async () => rm(directory, { recursive: true, force: true }));

const cacheOf = (maxBytes = 64 * MiB): MetadataCache =>
  new MetadataCache(join(directory, 'cache'), maxBytes, silentLogger, 0);
const pathsOf = async (): Promise<readonly string[]> =>
  (await readdir(join(directory, 'cache'))).map((name) => join(directory, 'cache', name));

describe('what is put', () => {
  test('is there for the next process, whatever the parts, and for nobody else', async () => {
    const part = fc.uint8Array({ maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(fc.string(), fc.array(part, { maxLength: 5 }), async (name, parts) => {
        await cacheOf().put(`put ${name}`, parts);
        const got = await cacheOf().get(`put ${name}`);
        expect(got?.map((bytes) => [...bytes])).toEqual(parts.map((bytes) => [...bytes]));
        for (const bytes of got ?? []) expect(bytes.byteOffset % 8).toBe(0);
        expect(await cacheOf().get(`not ${name}`)).toBeUndefined();
      }),
      { numRuns: 30 },
    );
    for (const path of await pathsOf()) expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(directory, 'cache'))).mode & 0o777).toBe(0o700);
  });

  test('waits for those who need it to get on, or for the end', async () => {
    const cache = new MetadataCache(join(directory, 'cache'), MiB, silentLogger, 86_400_000);
    const puts = ['a', 'b'].map(async (name) => cache.put(name, [Buffer.from(name)]));
    expect(await cache.get('a')).toBeUndefined();
    await cache.close();
    await Promise.all(puts);
    for (const name of ['a', 'b']) expect(await cache.get(name)).toEqual([new Uint8Array(Buffer.from(name))]);
  });

  test('is never served with a byte flipped, cut off, or under another name; it is gone then', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean(), async (at, bits, cut) => {
        const cache = cacheOf();
        await cache.put('name', [Buffer.from('some text'), Buffer.from('more')]);
        const [path = ''] = await pathsOf();
        const bytes = await readFile(path);
        const place = at % bytes.length;
        bytes[place] = (bytes[place] ?? 0) ^ bits;
        await writeFile(path, cut ? bytes.subarray(0, place) : bytes);
        expect(await cache.get('name')).toBeUndefined();
        expect(await pathsOf()).toEqual([]);
      }),
      { numRuns: 100 },
    );
    const cache = cacheOf();
    await cache.put('one', [Buffer.from('1')]);
    const [one = ''] = await pathsOf();
    await cache.put('two', [Buffer.from('2')]);
    const two = (await pathsOf()).find((path) => path !== one) ?? '';
    await writeFile(one, await readFile(two));
    expect(await cache.get('one')).toBeUndefined();
  });

  test('makes room for what is newer by what was not used for longest', async () => {
    const cache = cacheOf(5_000);
    const paths: string[] = [];
    for (const [index, name] of ['a', 'b', 'c'].entries()) {
      await cache.put(name, [new Uint8Array(1_500)]);
      const path = (await pathsOf()).find((one) => !paths.includes(one)) ?? '';
      paths.push(path);
      await utimes(path, index + 1, index + 1);
    }
    await cache.get('a');
    // Another process finds that there is too much.
    await cacheOf(5_000).put('d', [new Uint8Array(1_500)]);
    const left = await Promise.all(
      ['a', 'b', 'c', 'd'].map(async (name) => (await cache.get(name)) !== undefined),
    );
    expect(left).toEqual([true, false, true, true]);
  });

  test('and can not be written is let be', async () => {
    await writeFile(join(directory, 'cache'), 'a file');
    const cache = cacheOf();
    await cache.put('name', [Buffer.from('x')]);
    expect(await cache.get('name')).toBeUndefined();
  });
});

test('a manifest comes back as it was', () => {
  const relpaths = fc.array(fc.string({ unit: 'binary', maxLength: 8 }), { maxLength: 8 });
  fc.assert(
    fc.property(relpaths, fc.constantFrom('0'.repeat(32), 'other'), (paths, hash) => {
      const items = Object.fromEntries(
        paths.map((relpath, index) => [
          index.toString(16).padStart(40, '0'),
          { relpath, size_in_bytes: index, hash, utc_timestamp: index / 2 },
        ]),
      );
      const body = Buffer.from(JSON.stringify({ items, hash_function: 'md5sum_hexdigest' }));
      const { items: table, ...rest } = parseManifest(body, { bucket: 'b', key: 'k' });
      const manifest = { ...rest, columns: table.columns, directories: buildDirectories(table), etag: 'e' };
      const parts = packManifest(manifest).map((part) => new Uint8Array(part));
      expect(unpackManifest(parts)).toEqual(manifest);
    }),
  );
});
