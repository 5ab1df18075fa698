import { type DatasetEntry, type Registry, readRegistry } from '../../ecs/dtool/registry.ts';
import { REGISTRATION_PREFIX } from '../../ecs/dtool/keys.ts';
import { isAbort } from '../../errors.ts';
import { readOnlyAttributes } from './attributes.ts';
import type { BucketContext } from './context.ts';
import { Dataset } from './dataset.ts';
import { assignNames, assignProtoNames } from './dataset-names.ts';
import { Directory, type Entries } from './directory.ts';
import { Symlink } from './files.ts';
import { ROOT_INO, inodeNumber } from './inode-numbers.ts';
import type { Attributes, Node, SpaceUsage, Timestamp } from './node.ts';
import type { Refreshing } from './refreshing.ts';

/** What the bucket held when it was last looked at. */
interface Listing {
  readonly registry: Registry;
  /** By uuid, broken ones included. */
  readonly datasets: ReadonlyMap<string, Dataset>;
  readonly names: Entries;
  readonly uuids: Entries;
  readonly protos: Entries;
}

export interface BucketRootOptions {
  /** The bucket's own directory when several are mounted; the root of the mount otherwise. */
  readonly isMountRoot: boolean;
  readonly time: Timestamp;
  /** Where datasets of this user are, if configured: see {@link readRegistry}. */
  readonly likelyPrefix: string;
}

/** The datasets of one bucket by name, by uuid and, where they are not frozen, below `.proto`. */
export class BucketRoot {
  readonly directory: Directory;
  readonly #context: BucketContext;
  readonly #options: BucketRootOptions;
  readonly #listing: Refreshing<Listing>;
  /** Datasets that could not be read when somebody looked into them, until a refresh finds them mended. */
  readonly #broken = new Set<Dataset>();
  /** Keys whose problems the registry reported last. */
  #registryProblems: ReadonlySet<string> = new Set();

  constructor(context: BucketContext, options: BucketRootOptions) {
    this.#context = context;
    this.#options = options;
    this.#listing = context.refreshing(REGISTRATION_PREFIX, async (previous, signal) =>
      this.#load(previous, signal),
    );
    const layer =
      (part: 'names' | 'uuids' | 'protos') =>
      async (signal: AbortSignal, name?: string): Promise<Entries> => {
        const listing = await this.#listing.get(signal, (old) => name !== undefined && old[part].has(name));
        return listing[part];
      };
    const directory = (name: string, part: 'uuids' | 'protos'): [string, Directory] => [
      name,
      new Directory(this.#attributes('directory', name), 'refresh', [layer(part)]),
    ];
    this.directory = new Directory(this.#attributes('directory', ''), 'refresh', [
      new Map([directory('.uuid', 'uuids'), directory('.proto', 'protos')]),
      layer('names'),
    ]);
  }

  /** What was found last; undefined before anybody looked. */
  get counts(): { readonly datasets: number; readonly protoDatasets: number } | undefined {
    const listing = this.#listing.latest;
    return listing && { datasets: listing.names.size, protoDatasets: listing.protos.size };
  }

  /** Looks at the bucket again now, and at all that can change in it when it is next asked for. */
  async refresh(): Promise<void> {
    for (const dataset of this.#listing.latest?.datasets.values() ?? []) dataset.expire();
    await this.#listing.refresh();
  }

  /**
   * Bytes and number of the items of all frozen datasets. Reads every manifest once.
   *
   * @param onProgress hears the sums so far after each dataset
   */
  async usage(signal: AbortSignal, onProgress: (sum: SpaceUsage) => void): Promise<SpaceUsage> {
    const { datasets } = await this.#listing.get(signal);
    let sum: SpaceUsage = { bytes: 0, files: 0 };
    for (const dataset of datasets.values()) {
      if (dataset.entry.admin.type !== 'dataset' || this.#broken.has(dataset)) continue;
      try {
        const { bytes, files } = await dataset.usage(signal);
        sum = { bytes: sum.bytes + bytes, files: sum.files + files };
        onProgress(sum);
      } catch (error) {
        // It has been reported where it happened, and what can't be read takes no space that anybody could use.
        if (isAbort(error)) throw error;
      }
    }
    return sum;
  }

  async #load(previous: Listing | undefined, signal: AbortSignal): Promise<Listing> {
    const registry = await readRegistry(this.#context.store, {
      signal,
      likelyPrefix: this.#options.likelyPrefix,
      ...(previous ? { previous: previous.registry } : {}),
    });
    this.#reportRegistry(registry);
    const datasets = new Map<string, Dataset>();
    for (const entry of registry.datasets) {
      const known = previous?.datasets.get(entry.uuid);
      datasets.set(entry.uuid, known && isSame(known.entry, entry) ? known : this.#makeDataset(entry));
    }
    await this.#retryBroken(datasets, signal);
    return this.#listingOf(registry, datasets);
  }

  #makeDataset(entry: DatasetEntry): Dataset {
    return new Dataset(this.#context, entry, (dataset) => {
      this.#broken.add(dataset);
      // What a listing shows is made anew without it, at no request.
      this.#listing.update(({ registry, datasets }) => this.#listingOf(registry, datasets));
    });
  }

  /** Forgets broken datasets that are gone, and looks whether the others can be read by now. */
  async #retryBroken(datasets: ReadonlyMap<string, Dataset>, signal: AbortSignal): Promise<void> {
    await Promise.all(
      [...this.#broken].map(async (dataset) => {
        this.#broken.delete(dataset);
        if (datasets.get(dataset.entry.uuid) !== dataset) return;
        try {
          await dataset.check(signal);
        } catch (error) {
          if (isAbort(error)) throw error;
          this.#broken.add(dataset);
        }
      }),
    );
  }

  #listingOf(registry: Registry, datasets: ReadonlyMap<string, Dataset>): Listing {
    const readable = [...datasets.values()].filter((dataset) => !this.#broken.has(dataset));
    const named = readable.map((dataset) => ({
      dataset,
      uuid: dataset.entry.uuid,
      name: dataset.entry.admin.name,
      createdAt: dataset.entry.admin.createdAt ?? 0,
    }));
    const frozen = named.filter(({ dataset }) => dataset.entry.admin.type === 'dataset');
    const protoDatasets = named.filter(({ dataset }) => dataset.entry.admin.type === 'protodataset');
    const names = new Map<string, Node>();
    const uuids = new Map<string, Node>();
    const protos = new Map<string, Node>();
    for (const [name, { dataset, uuid }] of assignNames(frozen)) {
      names.set(name, dataset.directory);
      uuids.set(uuid, this.#symlink(uuid, `../${name}`));
    }
    for (const [name, { dataset, uuid }] of assignProtoNames(protoDatasets)) {
      protos.set(name, dataset.directory);
      uuids.set(uuid, this.#symlink(uuid, `../.proto/${name}`));
    }
    return { registry, datasets, names, uuids, protos };
  }

  #symlink(uuid: string, target: string): Symlink {
    return new Symlink(
      target,
      'refresh',
      this.#attributes('symlink', `.uuid/${uuid}`, Buffer.byteLength(target)),
    );
  }

  #reportRegistry(registry: Registry): void {
    const keys = new Set(registry.problems.map(({ key }) => key));
    for (const key of this.#registryProblems) if (!keys.has(key)) this.#context.resolve(key);
    this.#registryProblems = keys;
    for (const { key, reason } of registry.problems) this.#context.report(key, reason);
  }

  #attributes(kind: Node['kind'], path: string, size = 0): Attributes {
    const { store, ownership } = this.#context;
    const isRoot = this.#options.isMountRoot && path === '';
    const ino = isRoot ? ROOT_INO : inodeNumber('bucket', store.bucket, path);
    return readOnlyAttributes(kind, ownership, ino, size, this.#options.time);
  }
}

/** Whether all that a dataset's directory shows of its entry is as it was. */
function isSame(a: DatasetEntry, b: DatasetEntry): boolean {
  return a.keyPrefix === b.keyPrefix && JSON.stringify(a.admin) === JSON.stringify(b.admin);
}
