import type { BucketStore } from '../ecs/bucket-store.ts';
import { type DatasetEntry, readRegistry } from '../ecs/dtool/registry.ts';
import { UserError } from '../errors.ts';
import { assignNames, assignProtoNames } from '../fuse/tree/dataset-names.ts';

/**
 * The dataset of a bucket that a user means.
 *
 * @param dataset its uuid, or its name in a mount
 * @throws UserError when there is none
 */
export async function findDataset({ store, config }: BucketStore, dataset: string): Promise<DatasetEntry> {
  const { datasets } = await readRegistry(store, { likelyPrefix: config.prefix });
  const entry = datasets.find(({ uuid }) => uuid === dataset) ?? namesOf(datasets).get(dataset);
  if (entry) return entry;
  throw new UserError(
    `bucket ${store.bucket} has no dataset ${dataset}`,
    `"dtool-ecs-mount ls ${store.bucket}" lists those that it has.`,
  );
}

/** The names that the datasets have in a mount, those that are not frozen at the end. */
export function namesOf(entries: readonly DatasetEntry[]): ReadonlyMap<string, DatasetEntry> {
  const named = entries.map((entry) => ({
    entry,
    uuid: entry.uuid,
    name: entry.admin.name,
    createdAt: entry.admin.createdAt ?? 0,
  }));
  const frozen = assignNames(named.filter(({ entry }) => entry.admin.type === 'dataset'));
  const protos = assignProtoNames(named.filter(({ entry }) => entry.admin.type === 'protodataset'));
  return new Map(
    [frozen, protos].flatMap((names) =>
      [...names]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, { entry }]): [string, DatasetEntry] => [name, entry]),
    ),
  );
}
