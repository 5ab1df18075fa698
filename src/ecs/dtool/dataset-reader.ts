import { FsError } from '../../errors.ts';
import type { ObjectStore } from '../object-store.ts';
import type { ItemIdentifier } from './identifier.ts';
import { itemKey, MANIFEST } from './keys.ts';
import { LoadedManifest } from './loaded-manifest.ts';
import { listMetadataObjects, type MetadataObjects } from './metadata-objects.ts';
import { readProtoItems, type ProtoItems } from './proto-items.ts';
import { readManifest } from './read-manifest.ts';
import type { DatasetEntry } from './registry.ts';

/** Reads one dataset of a bucket. Keeps nothing. */
export class DatasetReader {
  readonly entry: DatasetEntry;
  readonly #store: ObjectStore;

  constructor(store: ObjectStore, entry: DatasetEntry) {
    this.#store = store;
    this.entry = entry;
  }

  /**
   * The items of a frozen dataset; see {@link readManifest} for the requests that it takes.
   *
   * @throws FormatError when the manifest is missing or broken
   * @throws FsError EINVAL for a proto dataset: a manifest that is there is what a freeze that died has left
   */
  async manifest(signal?: AbortSignal): Promise<LoadedManifest> {
    const key = this.entry.keyPrefix + MANIFEST;
    if (this.entry.admin.type !== 'dataset') {
      throw new FsError(
        'EINVAL',
        `${this.#store.bucket}/${key}: the dataset is not frozen, so this does not count`,
      );
    }
    return new LoadedManifest(await readManifest(this.#store, key, signal));
  }

  /** The items of a proto dataset; see {@link readProtoItems}. */
  protoItems(signal?: AbortSignal): Promise<ProtoItems> {
    return readProtoItems(this.#store, this.entry.keyPrefix, signal);
  }

  /** What the dataset has besides items; see {@link listMetadataObjects}. */
  metadata(signal?: AbortSignal): Promise<MetadataObjects> {
    return listMetadataObjects(this.#store, this.entry.keyPrefix, signal);
  }

  /** Key of an item's content. */
  itemKey(identifier: ItemIdentifier): string {
    return itemKey(this.entry.keyPrefix, identifier);
  }
}
