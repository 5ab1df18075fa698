import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MANIFEST } from '../../src/ecs/dtool/keys.ts';
import { identifierOf } from '../../src/ecs/dtool/identifier.ts';
import { CREATED_AT, datasetOf, uuidOf } from '../support/datasets.ts';
import { scaled } from '../support/full.ts';
import { type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { type TestBucket, createTestBucket } from '../support/test-bucket.ts';

const ITEMS = scaled({ usual: 20_000, full: 100_000 });
/** Their manifest is too large for one request: few items, then, have long names. */
const LARGER_ITEMS = scaled({ usual: 40_000, full: 200_000 });
const LARGER_PADDING = scaled({ usual: `${'d'.repeat(230)}/`.repeat(3), full: '' });

describe.skipIf(mountObstacle !== undefined)(`a dataset of ${ITEMS} items`, () => {
  let bucket: TestBucket;
  let mounted: Mounted;
  const relpathOf = (index: number): string => `run-${index % 100}/batch-${index % 10}/sample-${index}.csv`;

  /** The items' objects are not needed to see them: the manifest alone says what there is. */
  const putManifest = async (name: string, count: number, folder = ''): Promise<void> => {
    const uuid = uuidOf(name);
    await bucket.putDataset(datasetOf(name, {}, { uuid }));
    const items = Object.fromEntries(
      Array.from({ length: count }, (_, index) => [
        identifierOf(folder + relpathOf(index)),
        {
          hash: '0'.repeat(32),
          relpath: folder + relpathOf(index),
          size_in_bytes: index,
          utc_timestamp: CREATED_AT + 0.5,
        },
      ]),
    );
    const manifest = { dtoolcore_version: '3.19.0', hash_function: 'md5sum_hexdigest', items };
    await bucket.put(`${uuid}/${MANIFEST}`, JSON.stringify(manifest));
  };
  const requests = async (): Promise<number> => {
    const counts = (await mounted.status())?.store.requests ?? {};
    return Object.values(counts).reduce((sum, number) => sum + number, 0);
  };

  beforeAll(async () => {
    bucket = await createTestBucket();
    await putManifest('large', ITEMS);
    await putManifest('larger', LARGER_ITEMS, LARGER_PADDING);
    mounted = await mount(bucket.env, [bucket.bucket]);
  });
  afterAll(async () => {
    await mounted?.close();
    await bucket?.close();
  });

  test('find sees all of it, with sizes and times', async () => {
    const output = await mounted.sh(`find large/data -type f -printf '%P %s %T@\\n'`);
    const found = new Set(output.trimEnd().split('\n'));
    expect(found.size).toBe(ITEMS);
    for (let index = 0; index < ITEMS; index += 1) {
      if (!found.has(`${relpathOf(index)} ${index} ${CREATED_AT}.5000000000`)) {
        throw new Error(`${relpathOf(index)} is missing or has another size or time`);
      }
    }
    const lines = await mounted.sh('ls -lR large | wc -l');
    expect(Number(lines)).toBeGreaterThan(ITEMS);
    // The check at the start, the list, two datasets, one manifest, and the list of README and other metadata.
    expect(await requests()).toBeLessThanOrEqual(6);
  });

  test('a manifest that comes in parts is seen whole', async () => {
    const before = await requests();
    const output = await mounted.sh(`find larger/data -type f -size -${LARGER_ITEMS}c | wc -l`);
    expect(Number(output)).toBe(LARGER_ITEMS);
    // One that turns out too large, one that tells its size, and three parts.
    expect((await requests()) - before).toBe(5);
  });
});
