import type { Directory, Entries } from './directory.ts';
import { type Invalidation, invalidateChanged } from './invalidation.ts';
import type { DirectoryNode } from './node.ts';
import type { ItemTree } from './item-tree.ts';

/** What comes from metadata objects, by the directory that it is in. */
export interface MetadataEntries {
  readonly root: Entries;
  readonly dtool: Entries;
  readonly overlays: Entries;
  readonly annotations: Entries;
  readonly tags: Entries;
}

/** The directories of a dataset whose entries come from the store, and that tell when these change. */
export class DatasetDirectories {
  readonly #metadata: Readonly<Record<keyof MetadataEntries, Directory>>;
  readonly #items: Readonly<Record<'data' | 'unrepresentable', DirectoryNode>>;
  readonly #invalidation: Invalidation;

  constructor(
    metadata: Readonly<Record<keyof MetadataEntries, Directory>>,
    items: Readonly<Record<'data' | 'unrepresentable', DirectoryNode>>,
    invalidation: Invalidation,
  ) {
    this.#metadata = metadata;
    this.#items = items;
    this.#invalidation = invalidation;
  }

  /** The metadata was loaded anew. */
  metadataChanged(after: MetadataEntries, before: MetadataEntries): void {
    this.#eachPart((part, directory) =>
      invalidateChanged(this.#invalidation, directory, before[part], after[part]),
    );
  }

  /** What the metadata is now is not known until somebody asks. */
  metadataExpired(known: MetadataEntries): void {
    this.#eachPart((part, directory) => {
      for (const name of known[part].keys()) this.#invalidation.invalidateEntry(directory, name);
    });
  }

  /** The items, of a dataset that is not frozen, were listed anew. */
  itemsChanged(after: ItemTree, before: ItemTree): void {
    const { data, unrepresentable } = this.#items;
    const to = this.#invalidation;
    invalidateChanged(to, data, before.data, after.data);
    invalidateChanged(to, unrepresentable, before.unrepresentable, after.unrepresentable);
    // A directory that there is in both is the same one.
    for (const [directory, entries] of after.directories) {
      const old = before.directories.get(directory);
      if (old && directory.kind === 'directory') invalidateChanged(to, directory, old, entries);
    }
    if (before.unrepresentable.size > 0 !== after.unrepresentable.size > 0) {
      to.invalidateEntry(this.#metadata.dtool, 'unrepresentable');
    }
  }

  #eachPart(visit: (part: keyof MetadataEntries, directory: Directory) => void): void {
    const { root, dtool, overlays, annotations, tags } = this.#metadata;
    visit('root', root);
    visit('dtool', dtool);
    visit('overlays', overlays);
    visit('annotations', annotations);
    visit('tags', tags);
  }
}
