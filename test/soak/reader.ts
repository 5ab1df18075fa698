import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readRange } from './read-range.ts';
import { knownBytes, type KnownFile, knownFileOf } from './known-content.ts';
import type { Load } from './load.ts';
import { monotonicMs } from './monotonic.ts';

const READS_MAX = 12;
const READ_MAX_BYTES = 1 << 20;
/** So that a mount that is away is not asked all the time. */
const PAUSE_MS = 20;

interface Found {
  /** Below the mount. */
  readonly path: string;
  readonly file: KnownFile;
}

/** Reads random ranges of random items, until it is told to stop. */
export async function readAtRandom(load: Load, random: () => number): Promise<void> {
  const upTo = (count: number): number => Math.floor(random() * count);
  let known: readonly Found[] = [];
  while (!load.isStopping) {
    if (known.length === 0 || random() < 0.05) known = await findItems(load);
    const found = known[upTo(known.length)];
    if (!found) {
      await sleep(PAUSE_MS);
      continue;
    }
    const from = monotonicMs();
    const opened = await load.call('open', found.path, async () => open(join(load.mountpoint, found.path)));
    if ('code' in opened) {
      known = [];
      continue;
    }
    const { value: handle } = opened;
    for (let left = 1 + upTo(READS_MAX); left > 0; left -= 1) {
      const offset = upTo(found.file.length + 1);
      const length = 1 + Math.floor(random() ** 3 * READ_MAX_BYTES);
      const read = await load.call('read', found.path, async () => readRange(handle, offset, length), from);
      if ('code' in read) {
        known = [];
        break;
      }
      const bytes = read.value;
      load.figures.add('bytes read', bytes.length);
      if (!bytes.equals(knownBytes(found.file, offset, length)))
        load.violation('wrong-bytes', `${found.path}: ${bytes.length} bytes at ${offset} of ${length}`);
    }
    await load.call('close', found.path, async () => handle.close(), from);
  }
}

/** All items of all datasets that are known contents; fewer when the mount goes away meanwhile. */
async function findItems(load: Load): Promise<readonly Found[]> {
  const found: Found[] = [];
  const list = async (path: string): Promise<readonly string[]> => {
    const listed = await load.call('list', path, async () => readdir(join(load.mountpoint, path)));
    return 'code' in listed ? [] : listed.value;
  };
  for (const dataset of await list('')) {
    if (dataset === 'staging' || dataset.startsWith('.') || load.isStopping) continue;
    for (const name of await list(`${dataset}/data`)) {
      const file = knownFileOf(name);
      if (file) found.push({ path: `${dataset}/data/${name}`, file });
    }
  }
  if (found.length === 0) await sleep(PAUSE_MS);
  return found;
}
