import { itemContent } from '../../cache/item-content.ts';
import type { ItemEntry, LoadedManifest } from '../../ecs/dtool/loaded-manifest.ts';
import { HASH_FUNCTION } from '../../ecs/dtool/manifest.ts';
import { FsError } from '../../errors.ts';
import { SharedTask } from '../../shared-task.ts';
import { readOnlyAttributes, timestampOfSeconds } from './attributes.ts';
import type { DatasetItems } from './dataset-items.ts';
import { openContent } from './files.ts';
import { ItemInodeNumbers, inodeNumber } from './inode-numbers.ts';
import type { ItemOwner } from './item-tree.ts';
import type { ManifestShelf } from './manifest-shelf.ts';
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
  /** Where manifests are kept. */
  readonly shelf: ManifestShelf;
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
  #loading: SharedTask<LoadedManifest> | undefined;
  #version: string | undefined;
  #usage: SpaceUsage | undefined;

  constructor(owner: ItemOwner, options: FrozenItemsOptions) {
    this.owner = owner;
    this.#options = options;
    this.inodeNumbers = new ItemInodeNumbers(owner.uuid);
    this.data = new ItemDirectory(this, this, '', options.dataAttributes);
    this.unrepresentable = new UnrepresentableDirectory(this, options.unrepresentableAttributes);
  }

  get usage(): SpaceUsage | undefined {
    return this.#usage;
  }

  /** @throws FsError */
  async manifest(signal: AbortSignal): Promise<LoadedManifest> {
    const held = this.#options.shelf.get(this);
    if (held) return held;
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
    this.#options.shelf.remove(this);
  }

  /** @param index as `displacedAt` counts */
  displaced(manifest: LoadedManifest, index: number): ItemFile {
    const row = manifest.displacedAt(index);
    return this.#displaced.get(index, (home) => new ItemFile(home, this, manifest, row));
  }

  /** @param path of the directory that the entry is in, with a slash at its end unless it is empty */
  node(manifest: LoadedManifest, path: string, entry: ItemEntry, name: string): ItemFile | ItemDirectory {
    return this.#nodes.get(entry.place, (home) => {
      if (entry.kind === 'file') return new ItemFile(home, this, manifest, entry.row);
      const ino = inodeNumber('data', this.owner.uuid, `/${path}${name}`);
      const attributes = readOnlyAttributes('directory', this.owner.ownership, ino, 0, this.owner.time);
      return new ItemDirectory(home, this, path + name, attributes);
    });
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
    this.#options.shelf.put(this, manifest);
    if (this.#version === manifest.version) return;
    // Rows mean something else now.
    this.#nodes.clear();
    this.#displaced.clear();
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
  readonly #version: string;
  readonly #ino: number;
  readonly #size: number;
  readonly #timestamp: number;

  constructor(home: object, items: FrozenItems, manifest: LoadedManifest, row: number) {
    this.home = home;
    this.#items = items;
    this.#row = row;
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
    const { source, uuid, keyOf } = this.#items.owner;
    const item = manifest.items.item(this.#row);
    const dataset = { bucket: source.store.bucket, uuid };
    const hashIsMd5 = manifest.hashFunction === HASH_FUNCTION;
    return openContent(source, itemContent(dataset, item, keyOf(item.identifier), hashIsMd5));
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
