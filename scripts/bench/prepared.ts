import { closeSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { BUCKET, type World } from './world.ts';

/** Where an item is: in our mount, and in the bucket. */
export interface LargeItem {
  readonly relpath: string;
  readonly key: string;
  readonly size: number;
  /** The same bytes on the local disk. */
  readonly local: string;
}

const LARGE_BYTES = Number(process.env['BENCH_LARGE_MIB'] ?? 1024) * 2 ** 20;
const ITEMS = Number(process.env['BENCH_ITEMS'] ?? 100_000);
const DATASETS = 200;

/** A dataset with one item of 1 GiB (or BENCH_LARGE_MIB). */
export async function largeItem(world: World): Promise<LargeItem> {
  return world.once('large item', async () => {
    const folder = join(world.directory, 'large');
    mkdirSync(folder);
    const local = join(folder, 'item.bin');
    writeRandom(local, LARGE_BYTES);
    await world.freeze(folder, 'large');
    const client = world.client();
    let token: string | undefined;
    do {
      const page = await client.send(new ListObjectsV2Command({ Bucket: BUCKET, ContinuationToken: token }));
      const found = page.Contents?.find(({ Size }) => Size === LARGE_BYTES);
      if (found?.Key !== undefined) {
        client.destroy();
        return { relpath: 'large/data/item.bin', key: found.Key, size: LARGE_BYTES, local };
      }
      token = page.NextContinuationToken;
    } while (token !== undefined);
    throw new Error('the item was not uploaded');
  });
}

/** A dataset of 100,000 (or BENCH_ITEMS) small items in 100 directories. */
export async function manyItems(world: World): Promise<{ readonly path: string; readonly local: string }> {
  return world.once('many items', async () => {
    const local = join(world.directory, 'many');
    for (let item = 0; item < ITEMS; item += 1) {
      const folder = join(local, `d${item % 100}`);
      if (item < 100) mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, `item-${item}.txt`), `item ${item}\n`);
    }
    await world.freeze(local, 'many');
    return { path: 'many/data', local };
  });
}

/** 200 datasets of one item. */
export async function manyDatasets(world: World): Promise<number> {
  return world.once('many datasets', async () => {
    for (let number = 0; number < DATASETS; number += 1) {
      const folder = join(world.directory, 'small');
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, 'item.txt'), `dataset ${number}\n`);
      await world.freeze(folder, `small-${number}`);
    }
    rmSync(join(world.directory, 'small'), { recursive: true });
    return DATASETS;
  });
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
