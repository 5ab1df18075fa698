import { FsError } from '../../errors.ts';
import { MANIFEST_MAX_BYTES } from '../../limits.ts';
import { StoreError, type ObjectStore } from '../object-store.ts';
import { FormatError } from './format-error.ts';
import type { ItemIdentifier } from './identifier.ts';
import { itemKey, MANIFEST } from './keys.ts';
import { parseManifest, type Manifest } from './manifest.ts';
import { listMetadataObjects, type MetadataObjects } from './metadata-objects.ts';
import { readProtoItems, type ProtoItems } from './proto-items.ts';
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
   * The items of a frozen dataset, in one request.
   *
   * @throws FormatError when the manifest is missing or broken
   * @throws FsError EINVAL for a proto dataset: a manifest that is there is what a freeze that died has left
   */
  async manifest(signal?: AbortSignal): Promise<Manifest> {
    const where = { bucket: this.#store.bucket, key: this.entry.keyPrefix + MANIFEST };
    if (this.entry.admin.type !== 'dataset') {
      throw new FsError(
        'EINVAL',
        `${where.bucket}/${where.key}: the dataset is not frozen, so this does not count`,
      );
    }
    try {
      const { body } = await this.#store.get(where.key, MANIFEST_MAX_BYTES, { signal });
      return parseManifest(body, where);
    } catch (cause) {
      if (!(cause instanceof StoreError) || cause.reason !== 'no-such-key') throw cause;
      throw new FormatError(where, 'the dataset is frozen but has no manifest', { cause });
    }
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
