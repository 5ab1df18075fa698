import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { randomBytesOf } from '../support/datasets.ts';
import { type Mounted, User, mount, mountObstacle } from '../support/mounted.ts';
import { PYTHONS, dtoolOf } from '../support/real-dtool.ts';
import { type TestBucket, createTestBucket } from '../support/test-bucket.ts';

const MiB = 1024 * 1024;
const OLDEST = '0.10.0';
const NEWEST = '0.14.1';
const ODD = 'naïve/🧬 (1).txt';

/** Makes a proto dataset, or opens one, puts files and metadata into it, and freezes it where it is told to. */
const WRITE = `
import json, sys, dtoolcore
job = json.loads(sys.argv[1])
if 'open' in job:
    p = dtoolcore.ProtoDataSet.from_uri(job['open'])
else:
    p = dtoolcore.create_proto_dataset(job['name'], job['base'], job['readme'], 'grace')
for relpath, path in job['items'].items():
    p.put_item(path, relpath)
    p.add_item_metadata(relpath, 'length', len(relpath))
p.put_annotation('species', {'name': 'Hordeum', 'größe': [1, 2.5, None]})
for tag in ['barley', 'drought']:
    p.put_tag(tag)
error = None
if job['freeze']:
    try:
        p.freeze()
    except Exception as e:
        error = '%s: %s' % (type(e).__name__, e)
print(json.dumps({'uri': p.uri, 'uuid': p.uuid, 'error': error}))
`;

const WRITTEN = z.object({ uri: z.string(), uuid: z.string(), error: z.string().nullable() });
type Written = z.infer<typeof WRITTEN>;

interface Job {
  readonly name?: string;
  readonly base?: string;
  readonly open?: string;
  readonly readme?: string;
  /** File by relpath. */
  readonly items: Readonly<Record<string, string>>;
  readonly freeze: boolean;
}

/** A dataset as it was told to dtool. */
interface Told {
  readonly name: string;
  readonly version: string;
  readonly written: Written;
  readonly contents: Readonly<Record<string, Buffer>>;
  readonly frozen: boolean;
}

const README = '---\ndescription: by Python\nproject: Gerste ü\n';
const ASCII: Readonly<Record<string, Buffer>> = {
  'big.bin': randomBytesOf(11, 20 * MiB),
  'a/b c.txt': Buffer.from('spaced'),
  'a/b\\c': Buffer.from('backslash'),
  empty: Buffer.alloc(0),
};
const UNICODE: Readonly<Record<string, Buffer>> = {
  ...ASCII,
  [ODD]: Buffer.from('not ASCII'),
  'nai\u0308ve/nfd.txt': Buffer.from('decomposed'),
};

const missing = PYTHONS.size === 0;
if (missing)
  process.stderr.write('SKIPPED: test/interop, because no DTOOL_ECS_TEST_PYTHON_<version> is set\n');

describe.skipIf(missing || mountObstacle !== undefined)('the real dtool', () => {
  let bucket: TestBucket;
  let mounted: Mounted;
  let scratch: string;
  let user: User;
  const told: Told[] = [];
  const files = new Map<string, string>();
  /** Begun by an old version, gone on with by a new one, and not frozen for that; by name. */
  const stuck = new Map<string, Written>();
  const canBreak = PYTHONS.has(OLDEST) && PYTHONS.has(NEWEST);

  const write = async (writer: User, version: string, job: Job): Promise<Written> => {
    const python = PYTHONS.get(version) ?? '';
    const result = await writer.exec(python, '-W', 'ignore', '-c', WRITE, JSON.stringify(job));
    if (result.exitCode !== 0) throw new Error(result.stderr);
    return WRITTEN.parse(JSON.parse(result.stdout));
  };
  const itemsOf = (contents: Readonly<Record<string, Buffer>>): Record<string, string> =>
    Object.fromEntries(Object.keys(contents).map((relpath) => [relpath, files.get(relpath) ?? '']));
  const pathOf = ({ name, frozen, written }: Told): string =>
    join(mounted.path, frozen ? name : `.proto/${name}~${written.uuid.slice(0, 8)}`);

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-interop-'));
    bucket = await createTestBucket();
    const endpoint = bucket.env[`DTOOL_ECS_ENDPOINT_${bucket.bucket}`] ?? '';
    const keys = {
      id: bucket.env[`DTOOL_ECS_ACCESS_KEY_ID_${bucket.bucket}`] ?? '',
      secret: bucket.env[`DTOOL_ECS_SECRET_ACCESS_KEY_${bucket.bucket}`] ?? '',
    };
    const aws = {
      AWS_ENDPOINT_URL: endpoint,
      AWS_ACCESS_KEY_ID: keys.id,
      AWS_SECRET_ACCESS_KEY: keys.secret,
      AWS_DEFAULT_REGION: 'us-east-1',
      // dtool asks for no checksums that Ceph and ECS refuse.
      AWS_REQUEST_CHECKSUM_CALCULATION: 'when_required',
    };
    const userWith = async (prefix?: string): Promise<User> =>
      User.create({
        ...bucket.env,
        ...aws,
        DTOOL_CACHE_DIRECTORY: scratch,
        ...(prefix === undefined ? {} : { [`DTOOL_S3_DATASET_PREFIX_${bucket.bucket}`]: prefix }),
      });
    for (const [relpath, content] of Object.entries(UNICODE)) {
      const path = join(scratch, `source-${files.size}`);
      await writeFile(path, content);
      files.set(relpath, path);
    }
    const bases = [`s3://${bucket.bucket}`, `ecs://${bucket.bucket}`];
    const writeAll = async (version: string): Promise<void> => {
      // Only the oldest pairing makes datasets over ecs://: the others end with an AttributeError before they write.
      const [prefixes, schemes, contents] =
        version === OLDEST
          ? [[undefined], bases, ASCII]
          : [[undefined, 'u/grace/'], bases.slice(0, 1), UNICODE];
      for (const prefix of prefixes) {
        const writer = await userWith(prefix);
        for (const base of schemes) {
          for (const frozen of [true, false]) {
            const kind = [base.split(':')[0], prefix ? 'prefix' : 'plain', frozen ? 'frozen' : 'open'];
            const name = [version, ...kind].join('-');
            const items = itemsOf(contents);
            const written = await write(writer, version, {
              name,
              base,
              readme: README,
              items,
              freeze: frozen,
            });
            expect(written.error).toBeNull();
            told.push({ name, version, written, contents, frozen });
          }
        }
        await writer.remove();
      }
    };
    user = await userWith();
    await Promise.all(Array.from(PYTHONS.keys(), writeAll));
    if (canBreak) {
      const base = `ecs://${bucket.bucket}`;
      for (const [name, early] of [
        ['pure', []],
        ['mixed', ['empty']],
      ] as const) {
        const items = Object.fromEntries(early.map((relpath) => [relpath, files.get(relpath) ?? '']));
        const begun = await write(user, OLDEST, { name, base, readme: README, items, freeze: false });
        stuck.set(
          name,
          await write(user, NEWEST, {
            open: begun.uri,
            items: { [ODD]: files.get(ODD) ?? '' },
            freeze: true,
          }),
        );
      }
    }
    mounted = await mount(bucket.env, [bucket.bucket]);
  }, 300_000);
  afterAll(async () => {
    await mounted?.close();
    await bucket?.close();
    await user?.remove();
    await rm(scratch, { recursive: true, force: true });
  });

  test('all that it wrote is read as it was put', async () => {
    expect(told.length).toBeGreaterThanOrEqual(4);
    for (const one of told) {
      const root = pathOf(one);
      const sums = await mounted.sh(`cd '${root}/data' && find . -type f -print0 | xargs -0 md5sum --zero`);
      const found = Object.fromEntries(
        sums
          .split('\0')
          .filter((line) => line !== '')
          .map((line) => [line.slice(36), line.slice(0, 32)]),
      );
      expect({ name: one.name, found }).toEqual({ name: one.name, found: md5s(one.contents) });
      expect(await mounted.sh(`cat '${root}/README.yml'`)).toBe(README);
      expect(await mounted.sh(`ls '${root}/.dtool/tags'`)).toBe('barley\ndrought\n');
      const annotation: unknown = JSON.parse(
        await mounted.sh(`cat '${root}/.dtool/annotations/species.json'`),
      );
      expect(annotation).toEqual({ name: 'Hordeum', größe: [1, 2.5, null] });
      const admin: unknown = JSON.parse(await mounted.sh(`cat '${root}/.dtool/dtool'`));
      const type = one.frozen ? 'dataset' : 'protodataset';
      expect(admin).toMatchObject({
        name: one.name,
        uuid: one.written.uuid,
        creator_username: 'grace',
        type,
      });
      if (!one.frozen) continue;
      const overlay: unknown = JSON.parse(await mounted.sh(`cat '${root}/.dtool/overlays/length.json'`));
      expect(overlay).toEqual(
        Object.fromEntries(
          Object.keys(one.contents).map((relpath) => [identifierOf(relpath), Array.from(relpath).length]),
        ),
      );
    }
  });

  for (const [version, python] of PYTHONS) {
    const dtool = async (...args: readonly string[]): Promise<string> => dtoolOf(python, user, ...args);

    test(`works on the mount, with dtool-s3 ${version}`, async () => {
      const names = told.filter(({ frozen }) => frozen).map(({ name }) => name);
      const listed = await dtool('ls', mounted.path);
      for (const name of names) expect(listed).toContain(name);
      const one = told.find((each) => each.frozen && each.version === version);
      if (!one) throw new Error('nothing was frozen');
      const path = pathOf(one);
      const [summary, items, readme, identifiers, verified] = await Promise.all([
        dtool('summary', path),
        dtool('ls', path),
        dtool('readme', 'show', path),
        dtool('identifiers', path),
        dtool('verify', '-f', path),
      ]);
      expect(summary).toContain(`number_of_items: ${Object.keys(one.contents).length}`);
      expect(summary).toContain(`uuid: ${one.written.uuid}`);
      for (const relpath of Object.keys(one.contents)) expect(items).toContain(relpath);
      expect(readme.trimEnd()).toBe(README.trimEnd());
      expect(identifiers.trimEnd().split('\n').toSorted()).toEqual(
        Object.keys(one.contents).map(identifierOf).toSorted(),
      );
      expect(verified).toContain('All good');
      const id = identifierOf('a/b c.txt');
      const fetched = (await dtool('item', 'fetch', path, id)).trimEnd();
      expect(await mounted.sh(`cat '${fetched}'`)).toBe('spaced');
      const properties: unknown = JSON.parse(await dtool('item', 'properties', path, id));
      expect(properties).toMatchObject({
        relpath: 'a/b c.txt',
        size_in_bytes: 6,
        hash: md5(Buffer.from('spaced')),
      });
      expect(await dtool('item', 'overlay', 'length', path, id)).toContain('9');
      expect(await dtool('tag', 'ls', path)).toBe('barley\ndrought\n');
      expect(await dtool('annotation', 'get', path, 'species')).toContain('Hordeum');
    });

    test(`finds no difference to the bucket, and copies to a disk, with dtool-s3 ${version}`, async () => {
      const one = told.find((each) => each.frozen && each.version === version);
      if (!one) throw new Error('nothing was frozen');
      const uri = `ecs://${bucket.bucket}/${one.written.uuid}`;
      expect((await dtool('diff', '-f', pathOf(one), uri)).replaceAll(/^Comparing .*\n/gm, '')).toBe('');
      const copies = join(scratch, `copies-${version}`);
      await mkdir(copies);
      await dtool('cp', '--quiet', pathOf(one), copies);
      const data = join(copies, one.name, 'data');
      const found = await readdir(data, { recursive: true });
      for (const [relpath, { length }] of Object.entries(one.contents)) {
        expect(found).toContain(relpath);
        expect((await stat(join(data, relpath))).size).toBe(length);
      }
      expect(await dtool('verify', '-f', join(copies, one.name))).toContain('All good');
    });
  }

  test.skipIf(!canBreak)(
    'what a broken pairing left can be read, and status names it with the remedy',
    async () => {
      for (const [name, { uuid, error }] of stuck) {
        expect(error, name).toContain('404');
        const root = join(mounted.path, `.proto/${name}~${uuid.slice(0, 8)}`);
        expect(await mounted.sh(`cat '${root}/data/${ODD}'`)).toBe('not ASCII');
        const { problems } = await mounted.status();
        expect(problems.find(({ key }) => key === `${uuid}/structure.json`)?.reason).toContain(
          name === 'pure'
            ? `dtool-ecs-mount doctor ${bucket.bucket} --fix`
            : 'put all of them into a new dataset',
        );
      }
    },
  );
});

const hexOf = (algorithm: string, content: Buffer | string): string =>
  createHash(algorithm).update(content).digest('hex');
const md5 = (content: Buffer): string => hexOf('md5', content);
const identifierOf = (relpath: string): string => hexOf('sha1', relpath);
const md5s = (contents: Readonly<Record<string, Buffer>>): Record<string, string> =>
  Object.fromEntries(Object.entries(contents).map(([relpath, content]) => [relpath, md5(content)]));
