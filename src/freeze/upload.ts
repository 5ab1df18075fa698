import { itemMetadata } from '../ecs/dtool/item-metadata.ts';
import { itemKey, type DatasetKeyPrefix } from '../ecs/dtool/keys.ts';
import { StoreError } from '../ecs/object-store.ts';
import { forEachBounded } from '../for-each-bounded.ts';
import { FREEZE_UPLOADS_MAX } from '../limits.ts';
import { putObject } from './dataset-writer.ts';
import type { FileHasher } from './file-hasher.ts';
import { isBuffered, type ItemMd5s, itemMd5, md5Hex } from './item-md5.ts';
import type { ItemTable, SourceItem } from './item-table.ts';
import type { PresentObjects } from './present-objects.ts';
import { readSourceFile, SourceChangedError, streamSourceFile } from './source-file.ts';
import { hashParts, isParted, type PartsOptions, uploadInParts } from './upload-in-parts.ts';

export interface UploadOptions extends PartsOptions {
  readonly keyPrefix: DatasetKeyPrefix;
  readonly items: ItemTable;
  /** Those that are known are taken, the others filled in. */
  readonly md5s: ItemMd5s;
  /** What the bucket has of the dataset. */
  readonly present: PresentObjects;
  /** Whether an object with the right content has the right metadata, since only a freeze of ours can have put it. */
  readonly trusted: boolean;
  readonly hasher: FileHasher;
  readonly signal: AbortSignal;
}

/**
 * Brings the items into the bucket that are not there yet, several at once.
 *
 * The MD5 goes into headers, before the content, so a file is read twice: once to hash it, then to send it, mostly
 * from the page cache, while other files are hashed. The store holds what arrives against the MD5, so the two can't
 * differ. Small files are read once. (Measured: hashing runs at 770 MB/s beside uploads; sending first and setting
 * the metadata by a copy in the store would need another request and rewrite the object on most stores.) What is too
 * large for one request goes in parts, each with its own MD5 from the pass that found the MD5 of the whole.
 *
 * @throws SourceChangedError when a file is not what the plan saw
 * @throws what the store throws
 */
export async function uploadItems(options: UploadOptions): Promise<void> {
  const { items, signal, progress, md5s } = options;
  const uploadOne = async (item: SourceItem, taskSignal: AbortSignal): Promise<void> => {
    const send = isParted(item, options.partSizes) ? uploadLarge : upload;
    const { md5, sent } = await send(item, options, taskSignal);
    md5s.set(item, md5);
    progress.add(sent ? { items: 1 } : { items: 1, skipped: 1, bytes: item.size });
  };
  await forEachBounded(items, FREEZE_UPLOADS_MAX, uploadOne, signal);
}

interface Uploaded {
  readonly md5: string;
  /** False when it was there already. */
  readonly sent: boolean;
}

async function upload(item: SourceItem, options: UploadOptions, signal: AbortSignal): Promise<Uploaded> {
  const { store, keyPrefix, progress, hasher, md5s } = options;
  const key = itemKey(keyPrefix, item.identifier);
  const buffered = isBuffered(item) ? await readSourceFile(item) : undefined;
  const md5 = md5s.get(item) ?? (buffered ? md5Hex(buffered) : await itemMd5(item, hasher, signal));
  if (await isPresent(key, item, md5, options, signal)) return { md5, sent: false };

  let counted = 0;
  const count = (bytes: number): void => {
    counted += bytes;
    progress.add({ bytes });
  };
  const body = buffered ?? {
    size: item.size,
    open: () => {
      count(-counted);
      return streamSourceFile(item, count);
    },
  };
  try {
    await putObject(store, key, body, {
      metadata: itemMetadata(item.relpath, md5),
      md5: Buffer.from(md5, 'hex'),
      priority: 'background',
      signal,
    });
  } catch (cause) {
    // Written through a memory map, for one: size and time may tell nothing yet.
    if (cause instanceof StoreError && cause.reason === 'bad-digest')
      throw new SourceChangedError(item.path, { cause });
    throw cause;
  }
  count(item.size - counted);
  return { md5, sent: true };
}

async function uploadLarge(item: SourceItem, options: UploadOptions, signal: AbortSignal): Promise<Uploaded> {
  const { keyPrefix, md5s, hasher, partSizes } = options;
  const key = itemKey(keyPrefix, item.identifier);
  const known = md5s.get(item);
  if (known !== undefined && (await isPresent(key, item, known, options, signal)))
    return { md5: known, sent: false };
  const hashed = await hashParts(item, known, hasher, partSizes, signal);
  const { md5 } = hashed;
  if (known === undefined && (await isPresent(key, item, md5, options, signal))) return { md5, sent: false };
  await uploadInParts(key, item, hashed, options, signal);
  return { md5, sent: true };
}

async function isPresent(
  key: string,
  item: SourceItem,
  md5: string,
  { store, present, trusted }: UploadOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const listed = present.get(item);
  if (!listed) return false;
  if (trusted && listed.etag === md5) return true;
  // The ETag is no MD5 on encrypting stores, for one; then what we have put beside the content tells.
  const { metadata } = await store.head(key, { priority: 'background', signal });
  const expected = itemMetadata(item.relpath, md5);
  return metadata['handle'] === expected.handle && metadata['checksum'] === expected.checksum;
}
