import { createHash } from 'node:crypto';
import { BlockMemory } from '../cache/block-memory.ts';
import { systemClock } from '../clock.ts';
import { StoreError } from '../ecs/object-store.ts';
import { FsError, UserError } from '../errors.ts';
import { forEachBounded } from '../for-each-bounded.ts';
import { VERIFY_ITEMS_MAX, VERIFY_RUNS_AHEAD } from '../limits.ts';
import {
  type CacheOptions,
  type CachedDataset,
  type CachedDatasets,
  type CachedItem,
  runsOf,
  withCachedDatasets,
} from './cached-datasets.ts';
import { showProgress } from './freeze-progress.ts';
import { formatBytes, print, printJson, printable } from './terminal.ts';

interface Mismatch {
  readonly bucket: string;
  readonly dataset: string;
  readonly relpath: string;
  readonly identifier: string;
  readonly reason: string;
}

/**
 * Reads every item of datasets, from the disk cache what is in it, and holds it against the manifest.
 *
 * @param texts see {@link withCachedDatasets}
 * @throws UserError when an item is not what the manifest says; StoreError when the store can't be asked
 */
export async function verifyCommand(
  texts: readonly string[],
  options: CacheOptions & { readonly json: boolean },
): Promise<void> {
  await withCachedDatasets(texts, options, async (cached) => {
    const { datasets } = cached;
    const totalItems = datasets.reduce((sum, dataset) => sum + dataset.items, 0);
    const totalBytes = datasets.reduce((sum, dataset) => sum + dataset.bytes, 0);
    const mismatches: Mismatch[] = [];
    const progress = showProgress(systemClock);
    let items = 0;
    let bytes = 0;
    const tell = (): void => progress.update({ phase: 'verifying', items, totalItems, bytes, totalBytes });
    function* all(): Generator<{ dataset: CachedDataset; item: CachedItem }, void, undefined> {
      for (const dataset of datasets) for (const item of dataset.contents()) yield { dataset, item };
    }
    try {
      tell();
      await forEachBounded(all(), VERIFY_ITEMS_MAX, async ({ dataset, item }, signal) => {
        const flaw = await flawOf(cached, dataset, item, signal, (length) => {
          bytes += length;
          tell();
        });
        items += 1;
        tell();
        if (flaw === undefined) return;
        const { bucket, name } = dataset;
        const { relpath, identifier } = item;
        mismatches.push({ bucket: bucket.store.bucket, dataset: name, relpath, identifier, reason: flaw });
      });
    } finally {
      progress.end();
    }
    if (options.json) printJson({ items: totalItems, bytes: totalBytes, mismatches });
    else {
      for (const { bucket, dataset, relpath, reason } of mismatches)
        print(printable(`${bucket}/${dataset}: ${relpath}: ${reason}`));
    }
    if (mismatches.length > 0)
      throw new UserError(`${mismatches.length} of ${totalItems} items are not what the manifest says`);
    if (!options.json) print(`${totalItems} items, ${formatBytes(totalBytes)}: all as the manifest says.`);
  });
}

/** What is wrong with an item; undefined when nothing is. */
async function flawOf(
  { source, disk }: CachedDatasets,
  { bucket: { store } }: CachedDataset,
  { content }: CachedItem,
  signal: AbortSignal,
  onBytes: (length: number) => void,
): Promise<string | undefined> {
  const hash = createHash('md5');
  const memory = new BlockMemory();
  const runs = runsOf(content);
  const loading: Promise<readonly Uint8Array[]>[] = [];
  const loadRun = async (run: readonly number[]): Promise<readonly Uint8Array[]> => {
    const blocks: Uint8Array[] = [];
    const [first = 0] = run;
    await source.load(store, content, run, {
      signal,
      priority: 'background',
      memory,
      onBlock: (number, block) => {
        blocks[number - first] = block;
      },
    });
    return blocks;
  };
  const loadNext = (): void => {
    const { value: run } = runs.next();
    if (!run) return;
    const load = loadRun(run);
    // Whoever comes to it hears of what it failed with.
    load.catch(() => {});
    loading.push(load);
  };
  try {
    if (content.size === 0) {
      const { size } = await store.head(content.key, { signal });
      if (size !== 0) return `the object has ${size} bytes and should have none`;
    }
    for (let ahead = 0; ahead < VERIFY_RUNS_AHEAD; ahead += 1) loadNext();
    for (let load = loading.shift(); load; load = loading.shift()) {
      const blocks = await load;
      loadNext();
      for (const block of blocks) {
        hash.update(block);
        onBytes(block.length);
      }
    }
  } catch (error) {
    const isTheStore = error instanceof StoreError && error.reason !== 'no-such-key';
    if (!(error instanceof FsError) || isTheStore) throw error;
    return error.message;
  }
  const md5 = hash.digest('hex');
  if (md5 === content.md5) return undefined;
  await disk?.evict([source.nameOf(store, content)]);
  return `the content has MD5 ${md5} and should have ${content.md5}`;
}
