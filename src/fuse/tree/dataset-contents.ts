import { renderAdminMetadata } from '../../ecs/dtool/admin-metadata.ts';
import { DatasetReader } from '../../ecs/dtool/dataset-reader.ts';
import { DISK_STRUCTURE_JSON } from '../../ecs/dtool/disk-structure.ts';
import { FormatError, type Problem, problemFrom, ProblemList } from '../../ecs/dtool/format-error.ts';
import type { ItemIdentifier } from '../../ecs/dtool/identifier.ts';
import { ADMIN_METADATA, DATA, DTOOL_README, MANIFEST, README } from '../../ecs/dtool/keys.ts';
import { LoadedManifest } from '../../ecs/dtool/loaded-manifest.ts';
import type { TopLevelName } from '../../ecs/dtool/metadata-objects.ts';
import type { ProtoItem, ProtoItems } from '../../ecs/dtool/proto-items.ts';
import type { DatasetEntry } from '../../ecs/dtool/registry.ts';
import { findStuckFreeze } from '../../ecs/dtool/stuck-freeze.ts';
import { type ListedObject, StoreError } from '../../ecs/object-store.ts';
import { PROBLEMS_TOLD_MAX } from '../../limits.ts';
import {
  type ReadOnlyKind,
  readOnlyAttributes,
  timestampOfMilliseconds,
  timestampOfSeconds,
} from './attributes.ts';
import type { BucketContext, Reporter } from './context.ts';
import { DatasetDirectories, type MetadataEntries } from './dataset-directories.ts';
import { Directory, type Entries, type Layer } from './directory.ts';
import type { DatasetItems } from './dataset-items.ts';
import { MemoryFile, ReplaceableFile } from './files.ts';
import { FrozenItems } from './frozen-items.ts';
import { inodeNumber } from './inode-numbers.ts';
import type { ItemOwner, ItemTree } from './item-tree.ts';
import type { Attributes, Node, SpaceUsage, Timestamp } from './node.ts';
import { type LoadItemTree, ProtoTree } from './proto-tree.ts';
import type { Refreshing } from './refreshing.ts';

/** Hears of what turns out of a dataset. */
export interface ContentsListener {
  /** It can't be read. */
  readonly onBroken: () => void;
  /** Its admin metadata is not any more what its entry says: it may have another name. */
  readonly onOutdated: () => void;
}

/**
 * What is in the directory of a dataset. What is asked of it decides what it costs: items one request for the manifest,
 * README and other metadata one list (and one for each of overlays, annotations and tags where there are any).
 */
export class DatasetContents {
  /** Of the dataset's directory. */
  readonly layers: readonly Layer[];
  readonly #entry: DatasetEntry;
  readonly #context: BucketContext;
  readonly #reader: DatasetReader;
  readonly #metadata: Refreshing<MetadataEntries>;
  readonly #directories: DatasetDirectories;
  readonly #items: DatasetItems;
  readonly #listener: ContentsListener;
  readonly #reportManifest: Reporter;
  readonly #reportItems: Reporter;
  readonly #reportMetadata: Reporter;
  /** The files of the metadata as they were last, by path. */
  #files: ReadonlyMap<string, ReplaceableFile> = new Map();

  /** @param directory whose contents these are */
  constructor(context: BucketContext, entry: DatasetEntry, directory: Directory, listener: ContentsListener) {
    this.#context = context;
    this.#entry = entry;
    this.#listener = listener;
    this.#reader = new DatasetReader(context.store, entry);
    this.#reportManifest = context.reporter();
    this.#reportItems = context.reporter();
    this.#reportMetadata = context.reporter();
    this.#items = this.#isFrozen ? this.#frozenItems() : this.#protoItems();
    this.#metadata = context.refreshing(entry.keyPrefix, async (_, signal) => this.#loadMetadata(signal), {
      onChange: (entries, previous) => this.#directories.metadataChanged(entries, previous),
    });
    const metadata =
      (part: keyof MetadataEntries): Layer =>
      async (signal) =>
        (await this.#metadata.get(signal))[part];
    const folder = (name: 'overlays' | 'annotations' | 'tags'): Directory =>
      this.#directoryOf(`.dtool/${name}`, [metadata(name)]);
    const folders = {
      overlays: folder('overlays'),
      annotations: folder('annotations'),
      tags: folder('tags'),
    };
    const { data, unrepresentable } = this.#items;
    const dtool = this.#directoryOf('.dtool', [
      this.#ownFiles(),
      new Map(Object.entries(folders)),
      metadata('dtool'),
      async (signal) =>
        new Map((await this.#items.hasUnrepresentable(signal)) ? [['unrepresentable', unrepresentable]] : []),
    ]);
    this.layers = [
      new Map<string, Node>([
        ['data', data],
        ['.dtool', dtool],
      ]),
      metadata('root'),
    ];
    this.#directories = new DatasetDirectories(
      { root: directory, dtool, ...folders },
      { data, unrepresentable },
      context.invalidation,
    );
  }

  /**
   * Reads the items, and what else there is when it is next asked for.
   *
   * @throws FsError
   */
  async reload(signal: AbortSignal): Promise<void> {
    await this.#items.load(signal);
    this.#metadata.expire();
  }

  /** Makes README and other metadata be looked at again when they are next asked for, whoever has kept them. */
  expire(): void {
    this.#metadata.expire();
    this.#items.expire();
    if (this.#metadata.latest) this.#directories.metadataExpired(this.#metadata.latest);
  }

  /** Takes back what was reported of a dataset that is no more. */
  forget(): void {
    this.#items.forget();
    for (const report of [this.#reportManifest, this.#reportItems, this.#reportMetadata]) report([]);
  }

  /** What the items take; undefined before they were first read. */
  get usage(): SpaceUsage | undefined {
    return this.#items.usage;
  }

  get #isFrozen(): boolean {
    return this.#entry.admin.type === 'dataset';
  }

  #attributes(kind: ReadOnlyKind, path: string, size: number, time = timeOf(this.#entry)): Attributes {
    return datasetAttributes(this.#context, this.#entry, kind, path, size, time);
  }

  #directoryAttributes(path: string): Attributes {
    return this.#attributes('directory', path, 0);
  }

  #directoryOf(path: string, layers: readonly Layer[]): Directory {
    return new Directory(this.#directoryAttributes(path), 'refresh', layers);
  }

  /** The files in `.dtool` that are made here: admin metadata in force, and the layout that the mount has. */
  #ownFiles(): Entries {
    const file = (name: string, text: string): [string, MemoryFile] => {
      const content = Buffer.from(text);
      return [name, new MemoryFile(content, this.#attributes('file', `.dtool/${name}`, content.length))];
    };
    return new Map([
      file('dtool', renderAdminMetadata(this.#entry.admin)),
      file('structure.json', DISK_STRUCTURE_JSON),
    ]);
  }

  /** What keeps dtool from freezing the dataset; the items can be read all the same. */
  async #stuckFreeze(items: readonly ProtoItem[], signal: AbortSignal): Promise<readonly Problem[]> {
    try {
      const stuck = await findStuckFreeze(this.#context.store, this.#entry.keyPrefix, items, signal);
      return stuck ? [stuck] : [];
    } catch (error) {
      return [problemFrom(error)];
    }
  }

  async #readManifest(signal: AbortSignal): Promise<LoadedManifest> {
    try {
      const known = await this.#context.known?.manifest(this.#entry);
      const manifest = known ? new LoadedManifest(known) : await this.#reader.manifest(signal);
      this.#reportManifest([]);
      if (!known) void this.#context.known?.putManifest(this.#entry, manifest);
      return manifest;
    } catch (error) {
      if (error instanceof FormatError || (error instanceof StoreError && !error.retryable)) {
        // Throws what is not about this object.
        this.#reportManifest([problemFrom(error)]);
        this.#listener.onBroken();
      }
      throw error;
    }
  }

  get #itemOwner(): ItemOwner {
    return {
      uuid: this.#entry.uuid,
      ownership: this.#context.ownership,
      source: this.#context.source,
      time: timeOf(this.#entry),
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the readers of items give no others
      keyOf: (identifier) => this.#reader.itemKey(identifier as ItemIdentifier),
    };
  }

  #frozenItems(): DatasetItems {
    return new FrozenItems(this.#itemOwner, {
      load: async (signal) => this.#readManifest(signal),
      memory: this.#context.itemsMemory,
      onLoad: (manifest) => this.#reportItems(this.#displacements(manifest)),
      dataAttributes: this.#directoryAttributes(DATA),
      unrepresentableAttributes: this.#directoryAttributes('unrepresentable'),
    });
  }

  #protoItems(): DatasetItems {
    const { keyOf } = this.#itemOwner;
    const tree = (load: LoadItemTree): Refreshing<ItemTree> =>
      this.#context.refreshing(this.#entry.keyPrefix + DATA, load, {
        onChange: (after, before) => this.#directories.itemsChanged(after, before),
      });
    return new ProtoTree(this.#itemOwner, tree, {
      memory: this.#context.itemsMemory,
      list: async (signal) => this.#listItems(signal),
      onLoad: ({ flaws }, problems) => {
        const asides = new ProblemList(this.#entry.keyPrefix + DATA);
        for (const [identifier, flaw] of flaws) asides.push(aside(keyOf(identifier), identifier, flaw));
        this.#reportItems([...problems, ...asides.sorted()]);
      },
      dataAttributes: this.#directoryAttributes(DATA),
      unrepresentableAttributes: this.#directoryAttributes('unrepresentable'),
    });
  }

  async #listItems(signal: AbortSignal): Promise<ProtoItems> {
    try {
      const { items, problems } = await this.#reader.protoItems(signal);
      return { items, problems: [...problems, ...(await this.#stuckFreeze(items, signal))] };
    } catch (error) {
      // Where older items are shown it is told with that. Throws what is not about this dataset.
      if (!this.#items.usage) this.#reportItems([problemFrom(error)]);
      throw error;
    }
  }

  /** The items that have no place, {@link PROBLEMS_TOLD_MAX} one by one. */
  #displacements(manifest: LoadedManifest): readonly Problem[] {
    const { keyOf } = this.#itemOwner;
    const count = Math.min(manifest.displacedCount, PROBLEMS_TOLD_MAX);
    const problems = Array.from({ length: count }, (_, index): Problem => {
      const identifier = manifest.items.identifier(manifest.displacedAt(index));
      return aside(keyOf(identifier), identifier, manifest.displacementAt(index));
    });
    const more = manifest.displacedCount - count;
    const reason = `${more} more items have no path; they are in .dtool/unrepresentable`;
    return more === 0 ? problems : [...problems, { key: this.#entry.keyPrefix + DATA, reason }];
  }

  async #loadMetadata(signal: AbortSignal): Promise<MetadataEntries> {
    const { topLevel, overlays, annotations, tags, problems } = await this.#reader.metadata(signal);
    const hasManifest = topLevel.has(MANIFEST);
    const admin = topLevel.get(ADMIN_METADATA);
    if (admin && admin.etag !== this.#entry.adminEtag) this.#listener.onOutdated();
    if (this.#isFrozen && !hasManifest) {
      const reason = 'the dataset is frozen but has no manifest';
      this.#reportMetadata([...problems, { key: this.#entry.keyPrefix + MANIFEST, reason }]);
      // Items that are known are good for ever.
      if (!this.#items.usage) this.#listener.onBroken();
    } else {
      this.#reportMetadata(problems);
    }
    const files = new Map<string, ReplaceableFile>();
    const file = (path: string, object: ListedObject): ReplaceableFile => {
      const made = this.#file(path, object);
      files.set(path, made);
      return made;
    };
    const pick = (folder: string, names: readonly TopLevelName[]): Entries => {
      const entries = new Map<string, Node>();
      for (const name of names) {
        const object = topLevel.get(name);
        if (object) entries.set(name, file(folder + name, object));
      }
      return entries;
    };
    const all = (folder: string, objects: ReadonlyMap<string, ListedObject>, extension: string): Entries =>
      new Map(
        Array.from(objects, ([stem, object]) => {
          const name = stem + extension;
          return [name, file(`.dtool/${folder}/${name}`, object)];
        }),
      );
    const entries: MetadataEntries = {
      root: pick('', [README]),
      dtool: pick('.dtool/', this.#isFrozen ? [MANIFEST, DTOOL_README] : [DTOOL_README]),
      overlays: all('overlays', overlays, '.json'),
      annotations: all('annotations', annotations, '.json'),
      tags: all('tags', tags, ''),
    };
    this.#files = files;
    return entries;
  }

  /** The file of an object: the one that there was before, if the object is as it was. */
  #file(path: string, { key, size, etag, lastModified }: ListedObject): ReplaceableFile {
    const id = `${this.#context.store.bucket}/${key}@${etag}/${size}/${lastModified}`;
    const known = this.#files.get(path);
    if (known?.content.id === id) return known;
    return new ReplaceableFile(
      this.#context.source,
      { id, key, size, etag },
      this.#attributes('file', path, size, timestampOfMilliseconds(lastModified)),
      () => this.expire(),
    );
  }
}

/** An item that is kept aside. */
function aside(key: string, identifier: string, flaw: string): Problem {
  return { key, reason: `${flaw}; it is at .dtool/unrepresentable/${identifier}` };
}

/** Attributes of what is in a dataset, by its path below it; the dataset's own have none. */
export function datasetAttributes(
  { ownership }: BucketContext,
  entry: DatasetEntry,
  kind: ReadOnlyKind = 'directory',
  path = '',
  size = 0,
  time = timeOf(entry),
): Attributes {
  return readOnlyAttributes(kind, ownership, inodeNumber('dataset', entry.uuid, path), size, time);
}

function timeOf({ admin: { frozenAt, createdAt } }: DatasetEntry): Timestamp {
  return timestampOfSeconds(frozenAt ?? createdAt ?? 0);
}
