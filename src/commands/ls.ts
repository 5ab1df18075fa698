import { Config, plainHttpWarning } from '../config.ts';
import type { BucketStore } from '../ecs/bucket-store.ts';
import { REGISTRATION_PREFIX } from '../ecs/dtool/keys.ts';
import { DatasetReader } from '../ecs/dtool/dataset-reader.ts';
import { type Problem, problemFrom } from '../ecs/dtool/format-error.ts';
import type { ManifestItem } from '../ecs/dtool/item-table.ts';
import type { ProtoItem } from '../ecs/dtool/proto-items.ts';
import { type DatasetEntry, readRegistry } from '../ecs/dtool/registry.ts';
import { UserError } from '../errors.ts';
import { forEachBounded } from '../for-each-bounded.ts';
import { LISTING_READS_MAX } from '../limits.ts';
import { openCommandBucket } from './command-bucket.ts';
import { findDataset, namesOf } from './find-dataset.ts';
import { type Target, parseTarget } from './target.ts';
import {
  formatBytes,
  formatTable,
  formatTime,
  print,
  printError,
  printJson,
  printProblems,
} from './terminal.ts';

/** A dataset as `ls --json` prints it. */
interface ListedDataset {
  readonly bucket: string;
  /** As in a mount. */
  readonly name: string;
  readonly uuid: string;
  readonly frozen: boolean;
  /** Null where the dataset is not frozen: its items are not counted. */
  readonly items: number | null;
  readonly sizeInBytes: number | null;
  readonly creator: string | null;
  /** Seconds since the epoch. */
  readonly createdAt: number | null;
  readonly frozenAt: number | null;
}

/** An item as `ls --json DATASET` prints it. */
interface ListedItem {
  readonly relpath: string;
  readonly identifier: string;
  readonly sizeInBytes: number;
  readonly hash: string | null;
  /** Seconds since the epoch. */
  readonly timestamp: number;
}

/**
 * Lists datasets, or the items of one.
 *
 * @param targets see {@link parseTarget}; every configured bucket when there are none
 * @throws UserError when a bucket can't be listed, or a dataset is not there; datasets that can't be read are told
 *   on standard error and leave the others alone
 */
export async function lsCommand(
  targets: readonly string[],
  options: { readonly json: boolean },
): Promise<void> {
  const config = await Config.load();
  const parsed =
    targets.length > 0
      ? await Promise.all(targets.map(parseTarget))
      : config.configuredBuckets().map((bucket): Target => ({ bucket }));
  if (parsed.length === 0) {
    throw new UserError(
      'no bucket is configured',
      `Set DTOOL_ECS_ENDPOINT_<bucket> and its keys in the environment or in ${config.file}.`,
    );
  }
  const datasets: ListedDataset[] = [];
  for (const target of parsed) {
    const bucket = openCommandBucket(target.bucket, config);
    const insecure = plainHttpWarning(bucket.config);
    if (insecure !== undefined) printError(insecure);
    try {
      await bucket.check(REGISTRATION_PREFIX);
      if (target.dataset === undefined) datasets.push(...(await listDatasets(bucket)));
      else printItems(await listItems(bucket, target.dataset), options.json);
    } finally {
      bucket.close();
    }
  }
  if (parsed.some(({ dataset }) => dataset === undefined)) printDatasets(datasets, options.json);
}

async function listDatasets({ store, config }: BucketStore): Promise<readonly ListedDataset[]> {
  const registry = await readRegistry(store, { likelyPrefix: config.prefix });
  const problems: Problem[] = [...registry.problems];
  const sums = new Map<string, { readonly items: number; readonly sizeInBytes: number }>();
  const readable: DatasetEntry[] = [];
  await forEachBounded(registry.datasets, LISTING_READS_MAX, async (entry, signal) => {
    try {
      if (entry.admin.type === 'dataset') {
        const { items } = await new DatasetReader(store, entry).manifest(signal);
        sums.set(entry.uuid, { items: items.length, sizeInBytes: items.totalBytes });
      }
      readable.push(entry);
    } catch (error) {
      problems.push(problemFrom(error));
    }
  });
  printProblems(store.bucket, problems);
  return Array.from(namesOf(readable), ([name, entry]) => ({
    bucket: store.bucket,
    name,
    uuid: entry.uuid,
    frozen: entry.admin.type === 'dataset',
    items: sums.get(entry.uuid)?.items ?? null,
    sizeInBytes: sums.get(entry.uuid)?.sizeInBytes ?? null,
    creator: entry.admin.creatorUsername ?? null,
    createdAt: entry.admin.createdAt ?? null,
    frozenAt: entry.admin.frozenAt ?? null,
  }));
}

async function listItems(bucket: BucketStore, dataset: string): Promise<readonly ListedItem[]> {
  const { store } = bucket;
  const entry = await findDataset(bucket, dataset);
  const reader = new DatasetReader(store, entry);
  const read = entry.admin.type === 'dataset' ? await reader.manifest() : await reader.protoItems();
  if ('problems' in read) printProblems(store.bucket, read.problems);
  return Array.from<ManifestItem | ProtoItem, ListedItem>(
    read.items,
    ({ relpath, identifier, size, hash, timestamp }) => ({
      relpath,
      identifier,
      sizeInBytes: size,
      hash: hash ?? null,
      timestamp,
    }),
  );
}

function printDatasets(datasets: readonly ListedDataset[], json: boolean): void {
  if (json) return printJson(datasets);
  if (datasets.length === 0) return print('There are no datasets.');
  const rows = datasets.map((dataset) => [
    dataset.name,
    dataset.uuid,
    dataset.items?.toLocaleString('en') ?? '-',
    dataset.sizeInBytes === null ? '-' : formatBytes(dataset.sizeInBytes),
    dataset.frozen ? formatTime(dataset.frozenAt ?? dataset.createdAt ?? undefined) : 'not frozen',
  ]);
  const columns = [
    { title: 'NAME' },
    { title: 'UUID' },
    { title: 'ITEMS', align: 'right' },
    { title: 'SIZE', align: 'right' },
    { title: 'FROZEN (UTC)' },
  ] as const;
  const several = new Set(datasets.map(({ bucket }) => bucket)).size > 1;
  print(
    several
      ? formatTable(
          [{ title: 'BUCKET' }, ...columns],
          rows.map((row, index) => [datasets[index]?.bucket ?? '', ...row]),
        )
      : formatTable(columns, rows),
  );
}

function printItems(items: readonly ListedItem[], json: boolean): void {
  if (json) return printJson(items);
  const rows = items
    .toSorted((a, b) => (a.relpath < b.relpath ? -1 : 1))
    .map((item) => [
      formatBytes(item.sizeInBytes),
      formatTime(item.timestamp),
      item.hash ?? '-',
      item.relpath,
    ]);
  print(
    formatTable(
      [{ title: 'SIZE', align: 'right' }, { title: 'TIME (UTC)' }, { title: 'HASH' }, { title: 'PATH' }],
      rows,
    ),
  );
}
