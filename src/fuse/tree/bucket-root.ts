import { type DatasetEntry, type Registry, readRegistry } from '../../ecs/dtool/registry.ts';
import { REGISTRATION_PREFIX } from '../../ecs/dtool/keys.ts';
import { RECHECKS_MAX } from '../../limits.ts';
import { type ReadOnlyKind, readOnlyAttributes } from './attributes.ts';
import type { BucketContext, Reporter } from './context.ts';
import { Dataset } from './dataset.ts';
import { assignNames, assignProtoNames, STAGING } from './dataset-names.ts';
import { Directory, type Entries } from './directory.ts';
import { Symlink } from './files.ts';
import { ROOT_INO, inodeNumber } from './inode-numbers.ts';
import { invalidateChanged } from './invalidation.ts';
import type { Attributes, Node, SpaceUsage, Timestamp } from './node.ts';
import type { Refreshing } from './refreshing.ts';
import { StagingRoot } from './staging-root.ts';

/** What the bucket held when it was last looked at. */
interface Listing {
  readonly registry: Registry;
  /** By uuid, broken ones included. */
  readonly datasets: ReadonlyMap<string, Dataset>;
}

/** What is shown of a listing. */
interface View {
  readonly listing: Listing;
  readonly names: Entries;
  readonly uuids: ReadonlyMap<string, Symlink>;
  readonly protos: Entries;
}

const OWNER_MAY_WRITE = 0o200;

export interface BucketRootOptions {
  /** The bucket's own directory when several are mounted; the root of the mount otherwise. */
  readonly isMountRoot: boolean;
  readonly time: Timestamp;
  /** Where datasets of this user are, if configured: see {@link readRegistry}. */
  readonly likelyPrefix: string;
  /** The staging area; `taken` shows one that nothing can be staged in, absent none at all. */
  readonly staging?: StagingRoot | 'taken';
}

/** The datasets of one bucket by name, by uuid and, where they are not frozen, below `.proto`. */
export class BucketRoot {
  readonly directory: Directory;
  readonly #uuids: Directory;
  readonly #protos: Directory;
  readonly #context: BucketContext;
  readonly #options: BucketRootOptions;
  readonly #listing: Refreshing<Listing>;
  readonly #report: Reporter;
  /** Made of the latest listing; undefined when a dataset has turned out to be broken, or mended, since. */
  #view: View | undefined;
  /** What the kernel may have been told of. */
  #shown: View | undefined;
  #symlinks: ReadonlyMap<string, Symlink> = new Map();
  /** Datasets whose admin metadata is known to have changed. */
  readonly #outdated = new Set<string>();
  /** The last dataset, in the order of uuids, whose admin metadata was asked for again. */
  #lastChecked = '';
  /** Whether the next look takes the frozen datasets that are known as they are. */
  #looksForNew = false;

  constructor(context: BucketContext, options: BucketRootOptions) {
    this.#context = context;
    this.#options = options;
    this.#report = context.reporter();
    this.#listing = context.refreshing(
      REGISTRATION_PREFIX,
      async (previous, signal) => this.#load(previous, signal),
      { onChange: (listing) => void this.#viewOf(listing) },
    );
    const layer =
      (part: 'names' | 'uuids' | 'protos') =>
      async (signal: AbortSignal, name?: string): Promise<Entries> => {
        const enough = (old: Listing): boolean => name !== undefined && this.#viewOf(old)[part].has(name);
        return this.#viewOf(await this.#listing.get(signal, enough))[part];
      };
    const directory = (name: string, part: 'uuids' | 'protos'): Directory =>
      new Directory(this.#attributes('directory', name), 'refresh', [layer(part)]);
    this.#uuids = directory('.uuid', 'uuids');
    this.#protos = directory('.proto', 'protos');
    this.directory = new Directory(this.#attributes('directory', ''), 'refresh', [
      new Map<string, Node>([['.uuid', this.#uuids], ['.proto', this.#protos], ...this.#staging()]),
      layer('names'),
    ]);
    if (options.staging instanceof StagingRoot) options.staging.freezesInto(this.directory);
  }

  #staging(): readonly (readonly [string, Node])[] {
    const { staging } = this.#options;
    if (!staging) return [];
    if (staging !== 'taken') return [[STAGING, staging]];
    return [[STAGING, new Directory(this.#attributes('directory', STAGING), 'refresh', [])]];
  }

  /** What was found last; undefined before anybody looked. */
  get counts(): { readonly datasets: number; readonly protoDatasets: number } | undefined {
    const listing = this.#listing.latest;
    if (!listing) return undefined;
    const { names, protos } = this.#viewOf(listing);
    return { datasets: names.size, protoDatasets: protos.size };
  }

  /** Looks at the bucket again now, and at all that can change in it when it is next asked for. */
  async refresh(): Promise<void> {
    for (const dataset of this.#listing.latest?.datasets.values() ?? []) {
      dataset.expire();
      this.#outdated.add(dataset.entry.uuid);
    }
    this.#listing.expire();
    await this.#listing.refresh();
  }

  /** Looks at the bucket again now for what it did not have before: a dataset was frozen from here. */
  async lookForNew(): Promise<void> {
    this.#looksForNew = true;
    this.#listing.expire();
    await this.#listing.refresh();
  }

  /** Bytes and number of the items of those frozen datasets whose manifests were read. */
  get usage(): SpaceUsage {
    let bytes = 0;
    let files = 0;
    for (const dataset of this.#listing.latest?.datasets.values() ?? []) {
      if (!isFrozen(dataset) || dataset.isBroken || !dataset.usage) continue;
      bytes += dataset.usage.bytes;
      files += dataset.usage.files;
    }
    return { bytes, files };
  }

  async #load(previous: Listing | undefined, signal: AbortSignal): Promise<Listing> {
    const due = this.#dueForCheck(previous);
    const registry = await readRegistry(this.#context.store, {
      signal,
      likelyPrefix: this.#options.likelyPrefix,
      ...(previous ? { previous: previous.registry } : {}),
      reuse: ({ uuid, admin: { type } }) => type === 'dataset' && !due.has(uuid),
    });
    for (const uuid of due) this.#outdated.delete(uuid);
    this.#keep(registry, previous?.registry);
    const datasets = new Map<string, Dataset>();
    for (const entry of registry.datasets) {
      const known = previous?.datasets.get(entry.uuid);
      datasets.set(entry.uuid, known && isSame(known.entry, entry) ? known : this.#makeDataset(entry));
    }
    const broken = [...datasets.values()].filter((dataset) => dataset.isBroken);
    await Promise.all(broken.map(async (dataset) => dataset.retry(signal)));
    for (const [uuid, dataset] of previous?.datasets ?? []) {
      if (datasets.get(uuid) !== dataset) dataset.forget();
    }
    this.#report(registry.problems);
    return { registry, datasets };
  }

  /**
   * Shows what was there when an earlier mount last looked, until it is known what is there now.
   *
   * @returns whether anything is known
   */
  async restore(): Promise<boolean> {
    const registry = await this.#context.known?.registry();
    if (!registry) return false;
    const datasets = new Map(registry.datasets.map((entry) => [entry.uuid, this.#makeDataset(entry)]));
    this.#listing.seed({ registry, datasets });
    this.#looksForNew = true;
    return true;
  }

  /**
   * The frozen datasets whose admin metadata is asked for again at a refresh: those that are known to be outdated, and
   * the next {@link RECHECKS_MAX} of all. What an earlier mount has kept counts as looked at at first.
   */
  #dueForCheck(previous: Listing | undefined): ReadonlySet<string> {
    const due = new Set(this.#outdated);
    if (this.#looksForNew) {
      this.#looksForNew = false;
      return due;
    }
    const uuids = previous?.registry.datasets.map(({ uuid }) => uuid) ?? [];
    const start = uuids.findIndex((uuid) => uuid > this.#lastChecked);
    const ordered = start < 0 ? uuids : [...uuids.slice(start), ...uuids.slice(0, start)];
    for (const uuid of ordered.slice(0, RECHECKS_MAX)) {
      due.add(uuid);
      this.#lastChecked = uuid;
    }
    return due;
  }

  /** Writes the registry down where it is not as it was. */
  #keep(registry: Registry, previous: Registry | undefined): void {
    const { datasets } = registry;
    const isSameList =
      datasets.length === previous?.datasets.length &&
      datasets.every((entry, index) => isUnchanged(entry, previous.datasets[index]));
    if (!isSameList) void this.#context.known?.putRegistry(registry);
  }

  #makeDataset(entry: DatasetEntry): Dataset {
    return new Dataset(this.#context, entry, {
      onBrokenChange: () => {
        this.#view = undefined;
      },
      onOutdated: () => {
        this.#outdated.add(entry.uuid);
        this.#listing.expire();
      },
    });
  }

  /** Tells what is another than it was shown last. */
  #show(view: View): void {
    const before = this.#shown;
    this.#shown = view;
    if (!before) return;
    const { invalidation } = this.#context;
    invalidateChanged(invalidation, this.directory, before.names, view.names);
    invalidateChanged(invalidation, this.#protos, before.protos, view.protos);
    invalidateChanged(invalidation, this.#uuids, before.uuids, view.uuids);
  }

  /** What is shown of a listing: made anew when the listing is another one or what is broken has changed. */
  #viewOf(listing: Listing): View {
    if (this.#view?.listing === listing) return this.#view;
    const named = [...listing.datasets.values()]
      .filter((dataset) => !dataset.isBroken)
      .map((dataset) => ({
        dataset,
        uuid: dataset.entry.uuid,
        name: dataset.entry.admin.name,
        createdAt: dataset.entry.admin.createdAt ?? 0,
      }));
    const names = new Map<string, Node>();
    const uuids = new Map<string, Symlink>();
    const protos = new Map<string, Node>();
    for (const [name, { dataset, uuid }] of assignNames(named.filter((one) => isFrozen(one.dataset)))) {
      names.set(name, dataset.directory);
      uuids.set(uuid, this.#symlink(uuid, `../${name}`));
    }
    for (const [name, { dataset, uuid }] of assignProtoNames(named.filter((one) => !isFrozen(one.dataset)))) {
      protos.set(name, dataset.directory);
      uuids.set(uuid, this.#symlink(uuid, `../.proto/${name}`));
    }
    this.#symlinks = uuids;
    const view = { listing, names, uuids, protos };
    this.#view = view;
    this.#show(view);
    return view;
  }

  /** The symbolic link of a dataset: the one that there was before, if it leads to the same place. */
  #symlink(uuid: string, target: string): Symlink {
    const known = this.#symlinks.get(uuid);
    if (known?.target === target) return known;
    return new Symlink(target, this.#attributes('symlink', `.uuid/${uuid}`, Buffer.byteLength(target)));
  }

  #attributes(kind: ReadOnlyKind, path: string, size = 0): Attributes {
    const { store, ownership } = this.#context;
    const isRoot = this.#options.isMountRoot && path === '';
    const ino = isRoot ? ROOT_INO : inodeNumber('bucket', store.bucket, path);
    const attributes = readOnlyAttributes(kind, ownership, ino, size, this.#options.time);
    // What is staged may be moved to the root by its owner, whom the kernel asks for the permission.
    return path === '' && this.#options.staging instanceof StagingRoot
      ? { ...attributes, mode: attributes.mode | (OWNER_MAY_WRITE & ~ownership.umask) }
      : attributes;
  }
}

function isFrozen({ entry }: Dataset): boolean {
  return entry.admin.type === 'dataset';
}

function isUnchanged(entry: DatasetEntry, before: DatasetEntry | undefined): boolean {
  return entry === before || JSON.stringify(entry) === JSON.stringify(before);
}

/** Whether all that a dataset's directory shows of its entry is as it was. */
function isSame(a: DatasetEntry, b: DatasetEntry): boolean {
  return a.keyPrefix === b.keyPrefix && JSON.stringify(a.admin) === JSON.stringify(b.admin);
}
