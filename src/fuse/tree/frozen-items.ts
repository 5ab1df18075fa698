import type { Content } from '../../cache/block-key.ts';
import { itemContent } from '../../cache/item-content.ts';
import { type SmallFile, SmallFilesAhead } from '../../cache/small-files-ahead.ts';
import type { ItemEntry, LoadedManifest } from '../../ecs/dtool/loaded-manifest.ts';
import { HASH_FUNCTION } from '../../ecs/dtool/manifest.ts';
import { FsError } from '../../errors.ts';
import { BLOCK_BYTES, SMALL_FILES_LOOK_MAX } from '../../limits.ts';
import { SharedTask } from '../../shared-task.ts';
import { readOnlyAttributes, timestampOfSeconds } from './attributes.ts';
import type { DatasetItems } from './dataset-items.ts';
import { openContent } from './files.ts';
import { ItemInodeNumbers, inodeNumber } from './inode-numbers.ts';
import type { ItemOwner } from './item-tree.ts';
import type { ItemsMemory } from './items-memory.ts';
import type {
  Attributes,
  DirectoryEntries,
  DirectoryEntry,
  DirectoryNode,
  FileNode,
  Lifetime,
  Node,
  OpenFile,
  SpaceUsage,
} from './node.ts';
import { WeakNodes } from './weak-nodes.ts';

export interface FrozenItemsOptions {
  /** Reads the manifest, again when it has left memory. */
  readonly load: (signal: AbortSignal) => Promise<LoadedManifest>;
  /** Has the manifest dropped when others are used more. */
  readonly memory: ItemsMemory;
  /** Hears of every manifest that was read and is another one than before. */
  readonly onLoad: (manifest: LoadedManifest) => void;
  readonly dataAttributes: Attributes;
  readonly unrepresentableAttributes: Attributes;
}

/**
 * The items of a frozen dataset. The manifest is read when something of it is first asked for, may leave memory when it
 * is not used, and is read again on demand; nodes are made when they are asked for and know their attributes by
 * themselves.
 */
export class FrozenItems implements DatasetItems {
  readonly data: DirectoryNode;
  readonly unrepresentable: DirectoryNode;
  readonly owner: ItemOwner;
  readonly inodeNumbers: ItemInodeNumbers;
  readonly #options: FrozenItemsOptions;
  readonly #nodes = new WeakNodes<ItemFile | ItemDirectory>();
  readonly #displaced = new WeakNodes<ItemFile>();
  readonly #smallFiles: SmallFilesAhead;
  #manifest: LoadedManifest | undefined;
  #loading: SharedTask<LoadedManifest> | undefined;
  #version: string | undefined;
  #usage: SpaceUsage | undefined;

  constructor(owner: ItemOwner, options: FrozenItemsOptions) {
    this.owner = owner;
    this.#options = options;
    this.inodeNumbers = new ItemInodeNumbers(owner.uuid);
    this.#smallFiles = new SmallFilesAhead(owner.source.cache, owner.source.store);
    this.data = new ItemDirectory(this, this, '', options.dataAttributes);
    this.unrepresentable = new UnrepresentableDirectory(this, options.unrepresentableAttributes);
  }

  get usage(): SpaceUsage | undefined {
    return this.#usage;
  }

  /** @throws FsError */
  async manifest(signal: AbortSignal): Promise<LoadedManifest> {
    if (this.#manifest) {
      this.#options.memory.use(this);
      return this.#manifest;
    }
    if (!this.#loading || this.#loading.abandoned) this.#loading = this.#load();
    return this.#loading.wait(signal);
  }

  async hasUnrepresentable(signal: AbortSignal): Promise<boolean> {
    return (await this.manifest(signal)).displacedCount > 0;
  }

  async load(signal: AbortSignal): Promise<void> {
    await this.manifest(signal);
  }

  /** Nothing to do: what is frozen does not change. */
  expire(): void {}

  forget(): void {
    this.#smallFiles.drop();
    this.#manifest = undefined;
    this.#options.memory.remove(this);
  }

  /** @param index as `displacedAt` counts */
  displaced(manifest: LoadedManifest, index: number): ItemFile {
    const row = manifest.displacedAt(index);
    return this.#displaced.get(index, (home) => new ItemFile(home, this, manifest, row));
  }

  /** What is at a row. */
  content(manifest: LoadedManifest, row: number): Content {
    const { source, uuid, keyOf } = this.owner;
    const item = manifest.items.item(row);
    const dataset = { bucket: source.store.bucket, uuid };
    return itemContent(dataset, item, keyOf(item.identifier), manifest.hashFunction === HASH_FUNCTION);
  }

  /** Fetches ahead of whoever reads small items one after the other. */
  readsSmall(manifest: LoadedManifest, place: number): void {
    this.#smallFiles.read(place, (before) => this.#nextSmall(manifest, before));
  }

  /** @param path of the directory that the entry is in, with a slash at its end unless it is empty */
  node(manifest: LoadedManifest, path: string, entry: ItemEntry, name: string): ItemFile | ItemDirectory {
    return this.#nodes.get(entry.place, (home) => {
      if (entry.kind === 'file') return new ItemFile(home, this, manifest, entry.row, entry.place);
      const ino = inodeNumber('data', this.owner.uuid, `/${path}${name}`);
      const attributes = readOnlyAttributes('directory', this.owner.ownership, ino, 0, this.owner.time);
      return new ItemDirectory(home, this, path + name, attributes);
    });
  }

  #nextSmall(manifest: LoadedManifest, before: number): SmallFile | undefined {
    for (let place = before + 1; place <= before + SMALL_FILES_LOOK_MAX; place += 1) {
      const entry = manifest.at(place);
      if (!entry) return undefined;
      const size = entry.kind === 'file' ? manifest.items.size(entry.row) : 0;
      // Nobody reads what is empty: the kernel knows that it is.
      if (entry.kind === 'file' && size > 0 && size <= BLOCK_BYTES) {
        return { place, content: this.content(manifest, entry.row) };
      }
    }
    return undefined;
  }

  #load(): SharedTask<LoadedManifest> {
    const task: SharedTask<LoadedManifest> = new SharedTask(async (signal) => {
      try {
        const manifest = await this.#options.load(signal);
        if (this.#loading === task) this.#keep(manifest);
        return manifest;
      } finally {
        if (this.#loading === task) this.#loading = undefined;
      }
    });
    return task;
  }

  #keep(manifest: LoadedManifest): void {
    this.#manifest = manifest;
    this.#options.memory.keep(this, manifest.byteLength, () => {
      this.#manifest = undefined;
    });
    if (this.#version === manifest.version) return;
    // Rows mean something else now.
    this.#nodes.clear();
    this.#displaced.clear();
    this.#smallFiles.drop();
    this.#version = manifest.version;
    this.#usage = { files: manifest.items.length, bytes: manifest.items.totalBytes };
    this.#options.onLoad(manifest);
  }
}

/** An item: a row of the manifest, and what stat(2) needs of it. */
class ItemFile implements FileNode {
  readonly kind = 'file';
  readonly lifetime: Lifetime = 'forever';
  readonly home: object;
  readonly #items: FrozenItems;
  readonly #row: number;
  readonly #place: number | undefined;
  readonly #version: string;
  readonly #ino: number;
  readonly #size: number;
  readonly #timestamp: number;

  /** @param place among the entries of all directories; undefined for an item that is kept aside */
  constructor(home: object, items: FrozenItems, manifest: LoadedManifest, row: number, place?: number) {
    this.home = home;
    this.#items = items;
    this.#row = row;
    this.#place = place;
    this.#version = manifest.version;
    this.#ino = items.inodeNumbers.of(manifest.items.identifier(row));
    this.#size = manifest.items.size(row);
    this.#timestamp = manifest.items.timestamp(row);
  }

  attributes(): Attributes {
    const time = timestampOfSeconds(this.#timestamp);
    return readOnlyAttributes('file', this.#items.owner.ownership, this.#ino, this.#size, time);
  }

  async open(signal: AbortSignal): Promise<OpenFile> {
    const manifest = await this.#items.manifest(signal);
    if (manifest.version !== this.#version) throw replaced();
    const file = openContent(this.#items.owner.source, this.#items.content(manifest, this.#row));
    const place = this.#place;
    if (place === undefined || this.#size > BLOCK_BYTES) return file;
    return {
      read: async (...range) => {
        // What is read is asked for first, so that it goes before what is fetched ahead.
        const reading = file.read(...range);
        this.#items.readsSmall(manifest, place);
        return reading;
      },
      close: () => file.close(),
    };
  }
}

/** A directory of items, by its path: its number is looked up anew where the manifest is another one. */
class ItemDirectory implements DirectoryNode {
  readonly kind = 'directory';
  readonly lifetime: Lifetime = 'forever';
  readonly home: object;
  readonly #items: FrozenItems;
  readonly #path: string;
  readonly #attributes: Attributes;
  #number: { readonly number: number; readonly version: string } | undefined;

  constructor(home: object, items: FrozenItems, path: string, attributes: Attributes) {
    this.home = home;
    this.#items = items;
    this.#path = path;
    this.#attributes = attributes;
  }

  attributes(): Attributes {
    return this.#attributes;
  }

  async lookup(name: string, signal: AbortSignal): Promise<Node> {
    const manifest = await this.#items.manifest(signal);
    const entry = manifest.find(this.#numberIn(manifest), name);
    if (!entry) throw new FsError('ENOENT', `no entry ${name}`);
    return this.#items.node(manifest, this.#prefix, entry, name);
  }

  async list(signal: AbortSignal): Promise<DirectoryEntries> {
    const manifest = await this.#items.manifest(signal);
    const number = this.#numberIn(manifest);
    const items = this.#items;
    const prefix = this.#prefix;
    return new LazyEntries(
      manifest.entryCount(number),
      (index) => manifest.nameAt(number, index),
      (index, name) => items.node(manifest, prefix, manifest.entryAt(number, index), name),
    );
  }

  get #prefix(): string {
    return this.#path === '' ? '' : `${this.#path}/`;
  }

  #numberIn(manifest: LoadedManifest): number {
    if (this.#number?.version === manifest.version) return this.#number.number;
    const number = manifest.findDirectory(this.#path);
    if (number === undefined) throw replaced();
    this.#number = { number, version: manifest.version };
    return number;
  }
}

/** The items that have no place, by identifier. */
class UnrepresentableDirectory implements DirectoryNode {
  readonly kind = 'directory';
  readonly lifetime: Lifetime = 'forever';
  readonly #items: FrozenItems;
  readonly #attributes: Attributes;

  constructor(items: FrozenItems, attributes: Attributes) {
    this.#items = items;
    this.#attributes = attributes;
  }

  attributes(): Attributes {
    return this.#attributes;
  }

  async lookup(name: string, signal: AbortSignal): Promise<Node> {
    const manifest = await this.#items.manifest(signal);
    const index = manifest.findDisplaced(name);
    if (index === undefined) throw new FsError('ENOENT', `no entry ${name}`);
    return this.#items.displaced(manifest, index);
  }

  async list(signal: AbortSignal): Promise<DirectoryEntries> {
    const manifest = await this.#items.manifest(signal);
    const items = this.#items;
    return new LazyEntries(
      manifest.displacedCount,
      (index) => manifest.items.identifier(manifest.displacedAt(index)),
      (index) => items.displaced(manifest, index),
    );
  }
}

/** Entries that are made when they are asked for, and their nodes when these are. */
class LazyEntries implements DirectoryEntries {
  readonly length: number;
  readonly #nameAt: (index: number) => string;
  readonly #nodeAt: (index: number, name: string) => Node;

  constructor(
    length: number,
    nameAt: (index: number) => string,
    nodeAt: (index: number, name: string) => Node,
  ) {
    this.length = length;
    this.#nameAt = nameAt;
    this.#nodeAt = nodeAt;
  }

  at(index: number): DirectoryEntry | undefined {
    if (index < 0 || index >= this.length) return undefined;
    const name = this.#nameAt(index);
    const nodeAt = this.#nodeAt;
    return {
      name,
      get node() {
        return nodeAt(index, name);
      },
    };
  }
}

function replaced(): FsError {
  return new FsError('ESTALE', 'the manifest of the dataset was replaced');
}
