import { createHash } from 'node:crypto';
import { type DatasetObject, datasetObjects } from '../../src/demo/dataset-objects.ts';
import { identifierOf } from '../../src/ecs/dtool/identifier.ts';
import type { ManifestItem } from '../../src/ecs/dtool/item-table.ts';
import { MANIFEST } from '../../src/ecs/dtool/keys.ts';
import { renderManifest } from '../../src/ecs/dtool/manifest.ts';
import { DTOOLCORE_VERSION } from '../../src/ecs/dtool/structure.ts';
import { CREATED_AT, datasetOf, randomBytesOf } from '../../test/support/datasets.ts';
import type { BenchBucket } from './bench-bucket.ts';
import type { World } from './world.ts';

const OTHER_BYTES = 64 * 2 ** 20;

export interface HugeDataset {
  readonly bucket: BenchBucket;
  /** Its directory of items, in a mount. */
  readonly relpath: string;
  /** An item of another dataset in the bucket, of 64 MiB. */
  readonly other: string;
}

/** A bucket with a dataset of so many items: all that a mount asks for before somebody reads one of them. */
export async function hugeDataset(world: World, count: number): Promise<HugeDataset> {
  return world.once(`dataset of ${count} items`, async () => {
    // Made before anything is sent: it takes seconds, in which nobody would see that a server has hung up.
    const objects = [...hugeObjects(count)];
    const bucket = await world.bucket(`items-${count}`);
    await bucket.put(datasetObjects(datasetOf('other', { 'item.bin': randomBytesOf(1, OTHER_BYTES) })));
    await bucket.put(objects);
    return { bucket, relpath: 'huge/data', other: 'other/data/item.bin' };
  });
}

function* hugeObjects(count: number): Generator<DatasetObject, void, undefined> {
  for (const object of datasetObjects(datasetOf('huge', {}))) {
    if (!object.key.endsWith(`/${MANIFEST}`)) yield object;
    else
      yield { ...object, body: Buffer.from([...renderManifest(DTOOLCORE_VERSION, itemsOf(count))].join('')) };
  }
}

function* itemsOf(count: number): Generator<ManifestItem, void, undefined> {
  const items = Array.from({ length: count }, (_, index) => {
    const relpath = `run-${index % 100}/batch-${index % 10}/sample-${index}.csv`;
    return { identifier: identifierOf(relpath), relpath, index };
  });
  items.sort((a, b) => (a.identifier < b.identifier ? -1 : 1));
  for (const { identifier, relpath, index } of items) {
    const hash = createHash('md5').update(relpath).digest('hex');
    yield { identifier, relpath, size: index, hash, timestamp: CREATED_AT + 0.5 };
  }
}
