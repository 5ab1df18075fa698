import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { datasetObjects } from '../../src/demo/dataset-objects.ts';
import { ADMIN_METADATA, MANIFEST, REGISTRATION_PREFIX } from '../../src/ecs/dtool/keys.ts';
import { datasetOf } from '../../test/support/datasets.ts';
import type { BenchBucket } from './bench-bucket.ts';
import type { World } from './world.ts';

/** Where an item is: in our mount, and in the bucket. */
export interface LargeItem {
  readonly bucket: BenchBucket;
  readonly relpath: string;
  readonly key: string;
  readonly bytes: number;
  /** The directory that was frozen, and the file in it. */
  readonly folder: string;
  readonly local: string;
}

/** A dataset with one large item. */
export async function largeItem(world: World, bytes: number): Promise<LargeItem> {
  return world.once('large item', async () => {
    const folder = world.newDirectory();
    const local = join(folder, 'item.bin');
    writeRandom(local, bytes);
    const bucket = await world.bucket('large');
    await world.cli(bucket, false, 'freeze', folder, '--bucket', bucket.name, '--name', 'large');
    const key = await bucket.keyOfSize(bytes);
    return { bucket, relpath: 'large/data/item.bin', key, bytes, folder, local };
  });
}

/** A directory of so many small files in 100 directories. */
export async function smallFiles(world: World, count: number): Promise<string> {
  return world.once(`${count} small files`, async () => {
    const top = world.newDirectory();
    for (let number = 0; number < 100; number += 1) mkdirSync(join(top, `d${number}`));
    for (const [relpath, content] of smallItems(count)) writeFileSync(join(top, relpath), content);
    return top;
  });
}

/** A bucket with a dataset called `many` of what {@link smallFiles} are. */
export async function manyItems(world: World, count: number): Promise<BenchBucket> {
  return world.once('many items', async () => {
    const bucket = await world.bucket('many');
    await bucket.put(datasetObjects({ ...datasetOf('many', {}), items: smallItems(count) }));
    return bucket;
  });
}

/** A bucket with so many datasets, called `dataset-0` and so on: of each only what makes it one. */
export async function manyDatasets(world: World, count: number): Promise<BenchBucket> {
  return world.once(`${count} datasets`, async () => {
    const bucket = await world.bucket(`datasets-${count}`);
    await bucket.put(listedObjects(count));
    return bucket;
  });
}

function* smallItems(count: number): Generator<readonly [string, Buffer], void, undefined> {
  for (let item = 0; item < count; item += 1) {
    yield [`d${item % 100}/item-${item}.txt`, Buffer.from(`item ${item}\n`)];
  }
}

const LISTED = [ADMIN_METADATA, MANIFEST];

function* listedObjects(count: number): ReturnType<typeof datasetObjects> {
  for (let number = 0; number < count; number += 1) {
    for (const object of datasetObjects(datasetOf(`dataset-${number}`, {}))) {
      const { key } = object;
      if (key.startsWith(REGISTRATION_PREFIX) || LISTED.some((path) => key.endsWith(`/${path}`)))
        yield object;
    }
  }
}

function writeRandom(path: string, bytes: number): void {
  const block = Buffer.alloc(2 ** 20);
  const file = openSync(path, 'w');
  for (let written = 0; written < bytes; written += block.length) {
    crypto.getRandomValues(block.subarray(0, 65_536));
    writeSync(file, block);
  }
  closeSync(file);
}
