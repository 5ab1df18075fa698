import { createHash } from 'node:crypto';
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TRANSPORT_NAMES } from '../../src/fuse/transport/transport.ts';
import { type GoldenDataset, goldenCases, loadGoldenCase } from '../support/golden.ts';
import { type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { type TestBucket, createTestBucket } from '../support/test-bucket.ts';

/** The relpaths of names-s3head that no path can stand for; `a` is a directory, too, for there is `a/b`. */
const UNREPRESENTABLE = new Set([
  '.',
  '..',
  '/abs.txt',
  'trailing/',
  'dir//double.txt',
  './dot.txt',
  '../escape.txt',
  'dir/../up.txt',
  'a',
]);

function isRepresentable(relpath: string, all: readonly string[]): boolean {
  if (relpath === 'a' && !all.some((other) => other.startsWith('a/'))) return true;
  return !UNREPRESENTABLE.has(relpath) && relpath.split('/').every((name) => Buffer.byteLength(name) <= 255);
}

const cases = goldenCases.map(loadGoldenCase);

describe.skipIf(mountObstacle !== undefined).each(TRANSPORT_NAMES)(
  'what the real dtool wrote, mounted, through %s',
  (transport) => {
    const buckets = new Map<string, TestBucket>();
    /** Objects that a real store refused: handles with spaces at an end travel in no header. */
    const refused = new Set<string>();
    let mounted: Mounted;

    beforeAll(async () => {
      for (const golden of cases) {
        const bucket = await createTestBucket(golden.name);
        buckets.set(golden.name, bucket);
        for (const { key, body, metadata, lastModified } of golden.objects)
          if (!(await bucket.put(key, body, { metadata, lastModified }))) refused.add(key);
      }
      const all = [...buckets.values()];
      const env = Object.assign({}, ...all.map((bucket) => bucket.env)) as Record<string, string>;
      mounted = await mount(
        env,
        all.map(({ bucket }) => bucket),
        '--transport',
        transport,
      );
    });
    afterAll(async () => {
      await mounted?.close();
      for (const bucket of buckets.values()) await bucket.close();
    });

    for (const golden of cases) {
      describe(golden.name, () => {
        const objects = new Map(golden.objects.map((object) => [object.key, object]));
        const root = (): string => join(mounted.path, buckets.get(golden.name)?.bucket ?? '');

        const bodyOf = (key: string): Buffer => {
          const object = objects.get(key);
          if (!object) throw new Error(`no object ${key}`);
          return object.body;
        };

        const [reader] = Object.values(golden.readers);
        for (const truth of reader?.datasets ?? []) {
          const directory = (): string =>
            join(
              root(),
              truth.type === 'dataset' ? truth.name : `.proto/${truth.name}~${truth.uuid.slice(0, 8)}`,
            );
          const prefix = `${truth.prefix}${truth.uuid}/`;

          test('is there by its name and by its uuid', async () => {
            const byName = await stat(directory());
            const byUuid = await stat(join(root(), '.uuid', truth.uuid));
            expect(byUuid.ino).toBe(byName.ino);
          });

          test('has the README, tags, annotations and overlays', async () => {
            expect(await readFile(join(directory(), 'README.yml'), 'utf8')).toBe(truth.readme);
            const dtool = join(directory(), '.dtool');
            expect((await readdir(join(dtool, 'tags'))).toSorted()).toEqual([...truth.tags].toSorted());
            const annotations = (await readdir(join(dtool, 'annotations'))).toSorted();
            expect(annotations).toEqual([...truth.annotation_names].toSorted().map((key) => `${key}.json`));
            for (const file of annotations) {
              const text = await readFile(join(dtool, 'annotations', file));
              expect(text.equals(bodyOf(`${prefix}annotations/${file}`))).toBe(true);
              expect(JSON.parse(text.toString())).toEqual(truth.annotations[file.slice(0, -'.json'.length)]);
            }
            const overlays = Object.keys(truth.overlays ?? {}).toSorted();
            expect((await readdir(join(dtool, 'overlays'))).toSorted()).toEqual(
              overlays.map((key) => `${key}.json`),
            );
            for (const overlay of overlays) {
              const text = await readFile(join(dtool, 'overlays', `${overlay}.json`), 'utf8');
              expect(JSON.parse(text)).toEqual(truth.overlays?.[overlay]);
            }
          });

          test('has the admin metadata in force and the metadata files byte for byte', async () => {
            const dtool = join(directory(), '.dtool');
            expect(JSON.parse(await readFile(join(dtool, 'dtool'), 'utf8'))).toEqual(truth.admin_metadata);
            const same = truth.type === 'dataset' ? ['manifest.json', 'README.txt'] : ['README.txt'];
            for (const file of same) {
              expect((await readFile(join(dtool, file))).equals(bodyOf(prefix + file))).toBe(true);
            }
            expect((await readdir(dtool)).includes('manifest.json')).toBe(truth.type === 'dataset');
          });

          test('has every item with its content, size and time, and nothing else', async () => {
            const expected = itemsOf(truth, prefix);
            const relpaths = expected.map(({ relpath }) => relpath);
            const found = await readdir(join(directory(), 'data'), { recursive: true, withFileTypes: true });
            const files = found.filter((entry) => !entry.isDirectory());
            expect(files.length).toBe(relpaths.filter((path) => isRepresentable(path, relpaths)).length);
            for (const { identifier, relpath, key, timestamp } of expected) {
              const path = isRepresentable(relpath, relpaths)
                ? join(directory(), 'data', relpath)
                : join(directory(), '.dtool/unrepresentable', identifier);
              const body = bodyOf(key);
              const { size, mtimeMs, mode } = await stat(path);
              expect({ relpath, size, mode: mode & 0o7777 }).toEqual({
                relpath,
                size: body.length,
                mode: 0o444,
              });
              if (timestamp !== undefined) expect(mtimeMs / 1000).toBeCloseTo(timestamp, 3);
              if (refused.has(key)) continue;
              expect((await readFile(path)).equals(body), relpath).toBe(true);
            }
          });
        }
      });
    }
  },
);

interface ExpectedItem {
  readonly identifier: string;
  readonly relpath: string;
  readonly key: string;
  /** Seconds since the epoch; undefined where it depends on when the object was loaded. */
  readonly timestamp: number | undefined;
}

function itemsOf(truth: GoldenDataset, prefix: string): readonly ExpectedItem[] {
  if (truth.items) {
    return Object.entries(truth.items).map(([identifier, { relpath, utc_timestamp: timestamp }]) => ({
      identifier,
      relpath,
      key: `${prefix}data/${identifier}`,
      timestamp,
    }));
  }
  return (truth.handles ?? []).map((relpath) => {
    const identifier = sha1(relpath);
    return { identifier, relpath, key: `${prefix}data/${identifier}`, timestamp: undefined };
  });
}

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex');
}
