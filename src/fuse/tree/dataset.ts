import { renderAdminMetadata } from '../../ecs/dtool/admin-metadata.ts';
import { DatasetReader } from '../../ecs/dtool/dataset-reader.ts';
import { DISK_STRUCTURE_JSON } from '../../ecs/dtool/disk-structure.ts';
import { FormatError } from '../../ecs/dtool/format-error.ts';
import type { ItemIdentifier } from '../../ecs/dtool/identifier.ts';
import { DATA, DTOOL_README, MANIFEST, README } from '../../ecs/dtool/keys.ts';
import type { DatasetEntry } from '../../ecs/dtool/registry.ts';
import type { ListedObject } from '../../ecs/object-store.ts';
import { readOnlyAttributes, timestampOfMilliseconds, timestampOfSeconds } from './attributes.ts';
import type { BucketContext } from './context.ts';
import { Directory, type Entries, type Layer } from './directory.ts';
import { MemoryFile, ReplaceableFile } from './files.ts';
import { inodeNumber } from './inode-numbers.ts';
import { type ItemTree, type TreeItem, buildItemTree } from './item-tree.ts';
import type { Attributes, Node, SpaceUsage } from './node.ts';
import type { Refreshing } from './refreshing.ts';

/** The files that come from metadata objects, by the directory that they are in. */
interface MetadataEntries {
  readonly root: Entries;
  readonly dtool: Entries;
}

const MD5_HASH_FUNCTION = 'md5sum_hexdigest';

/**
 * One dataset of a bucket, in the layout that dtool has on disk. What is asked of it decides what it costs: its name
 * nothing, its items one request for the manifest, README and other metadata one list (and one for each of overlays,
 * annotations and tags where there are any).
 */
export class Dataset {
  readonly entry: DatasetEntry;
  readonly directory: Directory;
  readonly #context: BucketContext;
  readonly #reader: DatasetReader;
  readonly #metadata: Refreshing<MetadataEntries>;
  readonly #items: Refreshing<ItemTree>;

  /** @param onBroken is called when the dataset turns out to be one that can't be read */
  constructor(context: BucketContext, entry: DatasetEntry, onBroken: (dataset: Dataset) => void) {
    this.#context = context;
    this.entry = entry;
    this.#reader = new DatasetReader(context.store, entry);
    const frozen = entry.admin.type === 'dataset';
    this.#items = frozen
      ? context.refreshing(
          entry.keyPrefix + MANIFEST,
          async (_, signal) => this.#loadManifest(signal, onBroken),
          Infinity,
        )
      : context.refreshing(entry.keyPrefix + DATA, async (_, signal) => this.#loadProtoItems(signal));
    this.#metadata = context.refreshing(entry.keyPrefix, async (_, signal) =>
      this.#loadMetadata(signal, onBroken),
    );
    const metadata = async (signal: AbortSignal) => this.#metadata.get(signal);
    const items = async (signal: AbortSignal) => this.#items.get(signal);

    const data = new Directory(this.#directoryAttributes(DATA), frozen ? 'forever' : 'refresh', [
      async (signal) => (await items(signal)).data,
    ]);
    const unrepresentable = this.#directoryOf('unrepresentable', [
      async (signal) => (await items(signal)).unrepresentable,
    ]);
    const dtool = this.#directoryOf('.dtool', [
      this.#ownFiles(),
      async (signal) => (await metadata(signal)).dtool,
      async (signal) =>
        new Map((await items(signal)).unrepresentable.size > 0 ? [['unrepresentable', unrepresentable]] : []),
    ]);
    this.directory = this.#directoryOf('', [
      new Map([
        ['data', data],
        ['.dtool', dtool],
      ]),
      async (signal) => (await metadata(signal)).root,
    ]);
  }

  /**
   * Reads what has to be there.
   *
   * @throws FsError when the dataset can't be read
   */
  async check(signal: AbortSignal): Promise<void> {
    await this.#items.get(signal);
    this.#context.resolve(this.entry.keyPrefix + MANIFEST);
  }

  /** Makes README and other metadata be looked at again when they are next asked for. */
  expire(): void {
    this.#metadata.expire();
    if (this.entry.admin.type !== 'dataset') this.#items.expire();
  }

  /** What the items take. Reads the manifest where nobody has needed it yet. */
  async usage(signal: AbortSignal): Promise<SpaceUsage> {
    return this.#items.get(signal);
  }

  #attributes(kind: Node['kind'], path: string, size: number, time = this.#time): Attributes {
    const ino = inodeNumber('dataset', this.entry.uuid, path);
    return readOnlyAttributes(kind, this.#context.ownership, ino, size, time);
  }

  get #time(): Attributes['mtime'] {
    const { frozenAt, createdAt } = this.entry.admin;
    return timestampOfSeconds(frozenAt ?? createdAt ?? 0);
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
      return [
        name,
        new MemoryFile(content, 'refresh', this.#attributes('file', `.dtool/${name}`, content.length)),
      ];
    };
    return new Map([
      file('dtool', renderAdminMetadata(this.entry.admin)),
      file('structure.json', DISK_STRUCTURE_JSON),
    ]);
  }

  async #loadManifest(signal: AbortSignal, onBroken: (dataset: Dataset) => void): Promise<ItemTree> {
    try {
      const manifest = await this.#reader.manifest(signal);
      return this.#buildItems(manifest.items, manifest.hashFunction === MD5_HASH_FUNCTION);
    } catch (error) {
      if (error instanceof FormatError) {
        this.#context.report(error.key, error.reason);
        onBroken(this);
      }
      throw error;
    }
  }

  async #loadProtoItems(signal: AbortSignal): Promise<ItemTree> {
    const { items, problems } = await this.#reader.protoItems(signal);
    for (const { key, reason } of problems) this.#context.report(key, reason);
    return this.#buildItems(
      items.map((item) => ({ ...item, hash: item.hash ?? '' })),
      false,
    );
  }

  #buildItems(items: Iterable<TreeItem>, hashIsMd5: boolean): ItemTree {
    const tree = buildItemTree(
      {
        uuid: this.entry.uuid,
        ownership: this.#context.ownership,
        source: this.#context.source,
        lifetime: this.entry.admin.type === 'dataset' ? 'forever' : 'refresh',
        time: this.#time,
        hashIsMd5,
        keyOf: (identifier) => this.#reader.itemKey(identifier as ItemIdentifier),
      },
      items,
    );
    for (const [identifier, flaw] of tree.flaws) {
      this.#context.report(
        this.#reader.itemKey(identifier as ItemIdentifier),
        `${flaw}; it is at .dtool/unrepresentable/${identifier}`,
      );
    }
    return tree;
  }

  async #loadMetadata(signal: AbortSignal, onBroken: (dataset: Dataset) => void): Promise<MetadataEntries> {
    const { topLevel, overlays, annotations, tags, problems } = await this.#reader.metadata(signal);
    for (const { key, reason } of problems) this.#context.report(key, reason);
    const frozen = this.entry.admin.type === 'dataset';
    if (frozen && !topLevel.has(MANIFEST)) {
      this.#context.report(this.entry.keyPrefix + MANIFEST, 'the dataset is frozen but has no manifest');
      onBroken(this);
    }
    const root = this.#files('', topLevel, [README]);
    const dtool = new Map<string, Node>([
      ...this.#files('.dtool/', topLevel, frozen ? [MANIFEST, DTOOL_README] : [DTOOL_README]),
      ['overlays', this.#folder('overlays', overlays, '.json')],
      ['annotations', this.#folder('annotations', annotations, '.json')],
      ['tags', this.#folder('tags', tags, '')],
    ]);
    return { root, dtool };
  }

  #files(
    folder: string,
    objects: ReadonlyMap<string, ListedObject>,
    names: readonly string[],
  ): Map<string, Node> {
    const files = new Map<string, Node>();
    for (const name of names) {
      const object = objects.get(name);
      if (object) files.set(name, this.#file(folder + name, object));
    }
    return files;
  }

  #folder(name: string, objects: ReadonlyMap<string, ListedObject>, extension: string): Directory {
    const path = `.dtool/${name}`;
    const entries = new Map<string, Node>();
    for (const [stem, object] of objects) {
      entries.set(stem + extension, this.#file(`${path}/${stem}${extension}`, object));
    }
    return this.#directoryOf(path, [entries]);
  }

  #file(path: string, object: ListedObject): ReplaceableFile {
    const { key, size, etag, lastModified } = object;
    return new ReplaceableFile(
      this.#context.source,
      { id: `${this.#context.store.bucket}/${key}@${etag}/${size}/${lastModified}`, key, size, etag },
      this.#attributes('file', path, size, timestampOfMilliseconds(lastModified)),
    );
  }
}
