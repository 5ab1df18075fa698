import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DatasetSpec } from '../../src/demo/dataset-objects.ts';
import type { ObjectStore } from '../../src/ecs/object-store.ts';
import { createS3ObjectStore, type S3ObjectStore } from '../../src/ecs/s3-object-store.ts';
import { CREATED_AT, uuidOf } from '../support/datasets.ts';
import { scaled } from '../support/full.ts';
import { type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { createEmbeddedBucket, type TestBucket } from '../support/test-bucket.ts';

/** Rows of random operations that are tried, for so long at most, and how many operations a row has at most. */
const ROWS = scaled({ usual: 5, full: 1_000_000 });
const TIME_MAX_MS = 600_000;
const OPERATIONS_MAX = 30;
const SEEN_WITHIN_MS = 30_000;

/** So few names that they meet all the time. */
const FOLDERS = ['a', 'b', 'c'] as const;
const FILES = ['x', 'y', 'd', 'd/x', 'd/y'] as const;

/** What a frozen dataset is: the trivial model of all that the mount shows of it. */
interface Dataset {
  name: string;
  readonly uuid: string;
  /** Seconds since the epoch. */
  readonly createdAt: number;
  /** Text by relpath. */
  readonly items: Readonly<Record<string, string>>;
  isFrozen: boolean;
}

/** The mount, a directory of this machine in which the same is done as in its staging area, and what is frozen. */
class World {
  readonly bucket: TestBucket;
  readonly mounted: Mounted;
  readonly local: string;
  datasets: Dataset[] = [];
  readonly #store: ObjectStore;
  #made = 0;

  constructor(bucket: TestBucket, store: ObjectStore, mounted: Mounted, local: string) {
    this.bucket = bucket;
    this.#store = store;
    this.mounted = mounted;
    this.local = local;
  }

  staged(path: string): readonly [mounted: string, local: string] {
    return [join(this.mounted.path, 'staging', path), join(this.local, path)];
  }

  at(path: string): string {
    return join(this.mounted.path, path);
  }

  /** Frozen datasets by the name that they have in the root: the oldest has it plain. */
  shown(): ReadonlyMap<string, Dataset> {
    const shown = new Map<string, Dataset>();
    const isOlder = (a: Dataset, b: Dataset): number =>
      a.createdAt - b.createdAt || (a.uuid < b.uuid ? -1 : 1);
    for (const dataset of this.datasets.filter(({ isFrozen }) => isFrozen).toSorted(isOlder)) {
      const { name, uuid } = dataset;
      shown.set(shown.has(name) ? `${name}~${uuid.slice(0, 8)}` : name, dataset);
    }
    return shown;
  }

  /** Another client puts a dataset, and all that is in it. */
  async add(name: string, items: Readonly<Record<string, string>>, isFrozen: boolean): Promise<void> {
    this.#made += 1;
    const createdAt = CREATED_AT + this.#made;
    const dataset = { name, uuid: uuidOf(`${this.#made}`), createdAt, items, isFrozen };
    this.datasets.push(dataset);
    await this.put(dataset);
  }

  async put(dataset: Dataset): Promise<void> {
    await this.bucket.putDataset(specOf(dataset));
  }

  async delete(dataset: Dataset): Promise<void> {
    this.datasets = this.datasets.filter((other) => other !== dataset);
    for (const prefix of [`dtool-${dataset.uuid}`, `${dataset.uuid}/`])
      for (const { key } of (await this.#store.listPage({ prefix })).objects) await this.bucket.delete(key);
  }

  /** Removes everything. */
  async clear(): Promise<void> {
    for (const dataset of this.datasets) await this.delete(dataset);
    for (const directory of this.staged(''))
      for (const name of await fs.readdir(directory)) await fs.rm(join(directory, name), { recursive: true });
    await this.seen();
  }

  /** Waits until the mount shows what is in the bucket. */
  async seen(): Promise<void> {
    process.kill(this.mounted.pid, 'SIGHUP');
    await expect
      .poll(async () => this.root(), { timeout: SEEN_WITHIN_MS, interval: 20 })
      .toEqual([...this.shown().keys()].toSorted());
  }

  async root(): Promise<readonly string[]> {
    return (await fs.readdir(this.mounted.path))
      .filter((name) => name !== 'staging' && !name.startsWith('.'))
      .toSorted();
  }

  /** Holds all that the mount has against the model and the directory. */
  async check(): Promise<void> {
    const shown = this.shown();
    expect(await this.root()).toEqual([...shown.keys()].toSorted());
    for (const [name, { items }] of shown)
      expect(await textsBelow(this.at(`${name}/data`)), name).toEqual(items);
    const [mounted, local] = this.staged('');
    expect(await textsBelow(mounted)).toEqual(await textsBelow(local));
  }
}

function specOf({ name, uuid, createdAt, items, isFrozen }: Dataset): DatasetSpec {
  const contents = Object.entries(items).map(([relpath, text]) => [relpath, Buffer.from(text)] as const);
  return { name, uuid, createdAt, items: contents, ...(!isFrozen && { frozenAt: null }) };
}

/** The text of every file below a directory, by its path. */
async function textsBelow(directory: string): Promise<Readonly<Record<string, string>>> {
  const entries = await fs.readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(
    await Promise.all(
      files.map(async (file) => [file.slice(directory.length + 1), await fs.readFile(file, 'utf8')] as const),
    ),
  );
}

type Operation = readonly [name: string, run: (world: World) => Promise<void>];

/** What came of an operation: its value, or the code of its error. */
async function outcome(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return (await work()) ?? 'done';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? error;
  }
}

/** An operation in the staging area, which has the same outcome in a directory of this machine. */
const staging = (
  name: string,
  paths: readonly string[],
  work: (...paths: string[]) => Promise<unknown>,
): Operation => [
  `${name} ${paths.join(' ')}`,
  async (world) => {
    const both = paths.map((path) => world.staged(path));
    const there = await outcome(async () => work(...both.map(([mounted]) => mounted)));
    const here = await outcome(async () => work(...both.map(([, local]) => local)));
    expect(there, `${name} ${paths.join(' ')}`).toEqual(here);
  },
];

const folder = fc.constantFrom(...FOLDERS);
const file = fc.tuple(folder, fc.constantFrom(...FILES)).map(([top, below]) => `${top}/${below}`);
const text = fc.string({ unit: fc.constantFrom('u', 'v'), maxLength: 6 });
const items = fc.dictionary(fc.constantFrom('x', 'y', 'e/z'), text, { maxKeys: 3, noNullPrototype: true });

const stagingOperation: fc.Arbitrary<Operation> = fc.oneof(
  fc.oneof(folder, file).map((path) => staging('mkdir', [path], async (at) => fs.mkdir(at))),
  fc
    .tuple(file, text, fc.constantFrom('w', 'a', 'wx', 'r+'))
    .map(([path, data, flag]) =>
      staging(`write ${data} ${flag}`, [path], async (at) => fs.writeFile(at, data, { flag })),
    ),
  file.map((path) => staging('unlink', [path], async (at) => fs.unlink(at))),
  fc.oneof(folder, file).map((path) => staging('rmdir', [path], async (at) => fs.rmdir(at))),
  folder.map((path) => staging('rm -r', [path], async (at) => fs.rm(at, { recursive: true }))),
  fc.tuple(file, file).map((paths) => staging('rename', paths, async (from, to) => fs.rename(from, to))),
  fc.tuple(folder, folder).map((paths) => staging('rename', paths, async (from, to) => fs.rename(from, to))),
  file.map((path) => staging('read', [path], async (at) => fs.readFile(at, 'utf8'))),
);

/** The staged folder becomes a dataset, or the reason why not is the one of rename(2). */
const freezing = fc.tuple(folder, folder).map(
  ([from, name]): Operation => [
    `freeze ${from} as ${name}`,
    async (world) => {
      const [mounted, local] = world.staged(from);
      const frozen = await outcome(async () => fs.rename(mounted, world.at(name)));
      const contents = await textsBelow(local).catch(() => undefined);
      if (contents === undefined) return expect(frozen).toBe('ENOENT');
      if (world.shown().has(name)) return expect(frozen).toBe('EEXIST');
      expect(frozen).toBe('done');
      await fs.rm(local, { recursive: true });
      const admin: unknown = JSON.parse(await fs.readFile(world.at(`${name}/.dtool/dtool`), 'utf8'));
      expect(admin).toMatchObject({ name, type: 'dataset' });
      const { uuid, created_at: createdAt } = admin as { uuid: string; created_at: number };
      world.datasets.push({ name, uuid, createdAt, items: contents, isFrozen: true });
    },
  ],
);

/** Whoever tries to change a dataset is refused. */
const forbidden = fc.tuple(fc.nat(9), fc.constantFrom('write', 'unlink', 'mkdir', 'rename', 'truncate')).map(
  ([index, what]): Operation => [
    `${what} in dataset ${index}`,
    async (world) => {
      const names = [...world.shown().keys()];
      const name = names[index % names.length];
      if (name === undefined) return;
      const [relpath] = Object.keys(world.shown().get(name)?.items ?? {});
      const path = world.at(`${name}/data/${relpath ?? 'new'}`);
      const tries: Readonly<Record<typeof what, () => Promise<unknown>>> = {
        write: async () => fs.writeFile(path, 'other'),
        unlink: async () => fs.unlink(path),
        mkdir: async () => fs.mkdir(world.at(`${name}/data/new-directory`)),
        rename: async () => fs.rename(path, `${path}-renamed`),
        truncate: async () => fs.truncate(path, 0),
      };
      const codes = relpath === undefined ? ['EROFS', 'ENOENT'] : ['EROFS'];
      expect(codes, what).toContain(await outcome(tries[what]));
    },
  ],
);

/** Another client, which knows the bucket and not the mount. */
const other: fc.Arbitrary<Operation> = fc.oneof(
  fc.tuple(folder, items, fc.boolean()).map(
    ([name, contents, isFrozen]): Operation => [
      `another client puts ${name}${isFrozen ? '' : ', not frozen'}`,
      async (world) => {
        await world.add(name, contents, isFrozen);
        await world.seen();
      },
    ],
  ),
  fc.tuple(fc.nat(9), folder, fc.constantFrom('rename', 'freeze', 'delete')).map(
    ([index, name, what]): Operation => [
      `another client: ${what} dataset ${index} ${name}`,
      async (world) => {
        const dataset = world.datasets[index % world.datasets.length];
        if (!dataset) return;
        if (what === 'delete') await world.delete(dataset);
        else {
          if (what === 'rename') dataset.name = name;
          else dataset.isFrozen = true;
          await world.put(dataset);
        }
        await world.seen();
      },
    ],
  ),
);

const operations = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: stagingOperation },
    { weight: 2, arbitrary: freezing },
    { weight: 1, arbitrary: forbidden },
    { weight: 2, arbitrary: other },
  ),
  { maxLength: OPERATIONS_MAX, size: 'max' },
);

describe.skipIf(mountObstacle !== undefined)('a mount is what its model is', () => {
  let bucket: TestBucket;
  let store: S3ObjectStore;
  let mounted: Mounted;
  let local: string;
  beforeAll(async () => {
    bucket = await createEmbeddedBucket();
    const credentials = {
      accessKeyId: bucket.env[`DTOOL_ECS_ACCESS_KEY_ID_${bucket.bucket}`] ?? '',
      secretAccessKey: bucket.env[`DTOOL_ECS_SECRET_ACCESS_KEY_${bucket.bucket}`] ?? '',
    };
    store = createS3ObjectStore({
      bucket: bucket.bucket,
      endpoint: bucket.server?.endpoint ?? '',
      credentials: async () => credentials,
    });
    mounted = await mount(bucket.env, [bucket.bucket], '--refresh', '3600', '--log-level', 'warn');
    local = await fs.mkdtemp(join(tmpdir(), 'model-'));
  });
  afterAll(async () => {
    await mounted.close();
    store.close();
    await bucket.close();
    await fs.rm(local, { recursive: true });
  });

  test(
    'whatever is done to it in a row, by its users and another client of the bucket',
    async () => {
      const world = new World(bucket, store, mounted, local);
      let made = 0;
      await fc.assert(
        fc.asyncProperty(operations, async (row) => {
          await world.clear();
          for (const [, perform] of row) await perform(world);
          await world.check();
          made += row.length;
        }),
        {
          numRuns: ROWS,
          interruptAfterTimeLimit: TIME_MAX_MS,
          markInterruptAsFailure: false,
        },
      );
      process.stderr.write(`${made} operations\n`);
      expect(made).toBeGreaterThan(ROWS > 5 ? 1_000 : 0);
    },
    TIME_MAX_MS + 300_000,
  );
});
