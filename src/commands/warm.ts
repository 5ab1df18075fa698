import { BlockMemory } from '../cache/block-memory.ts';
import type { DiskContent } from '../cache/disk-slot.ts';
import { blockCount } from '../cache/disk-slot.ts';
import type { Presence } from '../cache/disk-tasks.ts';
import { systemClock } from '../clock.ts';
import { UserError } from '../errors.ts';
import { forEachBounded } from '../for-each-bounded.ts';
import { BLOCK_BYTES, CACHE_COMMAND_BATCH, DISK_TRIM_TO_PART, WARM_REQUESTS_MAX } from '../limits.ts';
import {
  type CacheOptions,
  type CachedDataset,
  type CachedDatasets,
  type CachedItem,
  runsOf,
  withCachedDatasets,
} from './cached-datasets.ts';
import { showProgress } from './freeze-progress.ts';
import { formatBytes, print, printError, printJson } from './terminal.ts';

/** What `warm --json` prints of each dataset. */
interface WarmReport {
  readonly bucket: string;
  readonly name: string;
  readonly uuid: string;
  readonly items: number;
  readonly bytes: number;
  /** Of these on disk now. */
  readonly cachedBytes: number;
  /** Of these put there by a freeze, from local files: nobody has read them from the bucket. */
  readonly localBytes: number;
  /** Items whose content has not the MD5 of the manifest. */
  readonly damaged: readonly string[];
}

/**
 * Fills the disk cache with datasets, so that reading them needs no store; all mounts of the user with this cache directory
 * have it at once.
 *
 * @param texts see {@link withCachedDatasets}
 * @throws UserError when not all of it fits, can't be kept, or is what the manifest says
 */
export async function warmCommand(
  texts: readonly string[],
  options: CacheOptions & { readonly check: boolean; readonly evict: boolean; readonly json: boolean },
): Promise<void> {
  await withCachedDatasets(texts, options, async (cached) => {
    if (!cached.disk)
      throw new UserError('without a disk cache there is nothing to fill', 'Leave out --cache-size none.');
    const isFilling = !options.check && !options.evict;
    if (options.evict) {
      for (const dataset of cached.datasets)
        for (const batch of batchesOf(dataset, cached))
          await cached.disk.evict(batch.map(({ name }) => name));
    }
    const damaged = isFilling ? await fill(cached) : new Map<string, readonly string[]>();
    const reports: WarmReport[] = [];
    for (const dataset of cached.datasets) {
      const { bucket, name, uuid, items, bytes } = dataset;
      const { bytes: cachedBytes, localBytes } = await presenceOf(dataset, cached);
      const wrong = damaged.get(uuid) ?? [];
      const place = { bucket: bucket.store.bucket, name, uuid };
      reports.push({ ...place, items, bytes, cachedBytes, localBytes, damaged: wrong });
    }
    if (options.json) printJson(reports);
    else for (const report of reports) print(describe(report));
    if (!isFilling) return;
    for (const { bucket, name, damaged: wrong } of reports)
      for (const problem of wrong) printError(new UserError(`${bucket}/${name}: ${problem}`));
    const wrongItems = reports.reduce((sum, report) => sum + report.damaged.length, 0);
    if (wrongItems > 0) throw new UserError(`${wrongItems} items are not what their manifest says`);
    const missing = reports.reduce((sum, { bytes, cachedBytes }) => sum + bytes - cachedBytes, 0);
    if (missing > 0) {
      const { paused } = cached.disk.statistics;
      throw new UserError(
        `${formatBytes(missing)} could not be kept${paused === undefined ? '' : `: ${paused}`}`,
        'Other mounts may use the same cache: give more with --cache-size, here and for the mounts.',
      );
    }
  });
}

/** Fetches what is not on disk. @returns what is wrong with the datasets, by uuid */
async function fill(cached: CachedDatasets): Promise<ReadonlyMap<string, readonly string[]>> {
  const { source, disk, datasets, maxBytes } = cached;
  const totalBytes = datasets.reduce((sum, { bytes }) => sum + bytes, 0);
  const totalItems = datasets.reduce((sum, { items }) => sum + items, 0);
  if (totalBytes > maxBytes * DISK_TRIM_TO_PART) {
    throw new UserError(
      `${formatBytes(totalBytes)} don't fit into a cache of ${formatBytes(maxBytes)}`,
      'Give more with --cache-size, here and for the mounts, or a part of it.',
    );
  }
  const progress = showProgress(systemClock);
  const damaged = new Map<string, string[]>();
  let items = 0;
  let bytes = 0;
  const tell = (): void => progress.update({ phase: 'fetching', items, totalItems, bytes, totalBytes });
  async function* missing(): AsyncGenerator<{ dataset: CachedDataset; item: CachedItem }, void, undefined> {
    for (const dataset of datasets) {
      for (const batch of batchesOf(dataset, cached)) {
        const there = (await disk?.present(batch.map(({ name }) => name))) ?? [];
        for (const [index, { item }] of batch.entries()) {
          if (there[index]?.bytes !== item.content.size) yield { dataset, item };
          else {
            items += 1;
            bytes += item.content.size;
          }
        }
      }
    }
  }
  const memory = new BlockMemory();
  try {
    tell();
    // Items side by side, and the parts of large ones as well: all together within the limit of the store.
    await forEachBounded(missing(), WARM_REQUESTS_MAX, async ({ dataset, item }, signal) => {
      const { content } = item;
      await forEachBounded(
        runsOf(content),
        WARM_REQUESTS_MAX,
        async (run, runSignal) => {
          await source.load(dataset.bucket.store, content, run, {
            signal: runSignal,
            priority: 'background',
            memory,
            onBlock: (_, { length }) => {
              bytes += length;
            },
          });
          tell();
        },
        signal,
      );
      items += 1;
      tell();
    });
    progress.end();
    // What is known to be whole and good says so on disk, at the cost of its headers.
    for (const dataset of datasets) {
      for (const item of dataset.contents()) {
        if (item.content.size <= BLOCK_BYTES) continue;
        const found = await disk?.verify(source.nameOf(dataset.bucket.store, item.content));
        if (found?.verdict !== 'mismatch') continue;
        const problem = `${item.relpath} has MD5 ${found.md5} and should have ${item.content.md5}`;
        damaged.set(dataset.uuid, [...(damaged.get(dataset.uuid) ?? []), problem]);
      }
    }
    return damaged;
  } finally {
    progress.end();
  }
}

async function presenceOf(dataset: CachedDataset, cached: CachedDatasets): Promise<Presence> {
  let bytes = 0;
  let localBytes = 0;
  for (const batch of batchesOf(dataset, cached)) {
    for (const present of (await cached.disk?.present(batch.map(({ name }) => name))) ?? []) {
      bytes += present.bytes;
      localBytes += present.localBytes;
    }
  }
  return { bytes, localBytes };
}

interface NamedItem {
  readonly item: CachedItem;
  readonly name: DiskContent;
}

/** So many items, or blocks of them, that one look at them does not take long. */
function* batchesOf(
  dataset: CachedDataset,
  { source }: CachedDatasets,
): Generator<readonly NamedItem[], void, undefined> {
  let batch: NamedItem[] = [];
  let blocks = 0;
  for (const item of dataset.contents()) {
    batch.push({ item, name: source.nameOf(dataset.bucket.store, item.content) });
    blocks += 1 + blockCount(item.content);
    if (blocks < CACHE_COMMAND_BATCH) continue;
    yield batch;
    batch = [];
    blocks = 0;
  }
  if (batch.length > 0) yield batch;
}

function describe({ bucket, name, items, bytes, cachedBytes, localBytes }: WarmReport): string {
  const percent = bytes === 0 ? 100 : Math.floor((100 * cachedBytes) / bytes);
  const local =
    localBytes === 0 ? '' : `; a freeze put ${formatBytes(localBytes)} there, not read from the bucket since`;
  return `${bucket}/${name}: ${formatBytes(cachedBytes)} of ${formatBytes(bytes)} on disk (${percent} %), ${items.toLocaleString('en')} items${local}`;
}
