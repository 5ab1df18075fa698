import { itemMetadata } from '../ecs/dtool/item-metadata.ts';
import { abandonUpload, partBytesOf, putInParts } from '../ecs/multipart-upload.ts';
import { type ObjectStore, StoreError } from '../ecs/object-store.ts';
import { SINGLE_PUT_MAX_BYTES, UPLOAD_PART_BYTES } from '../limits.ts';
import { refusalOf } from './dataset-writer.ts';
import type { FileHasher, PartedMd5 } from './file-hasher.ts';
import type { SourceItem } from './item-table.ts';
import type { ProgressCounter } from './progress.ts';
import { assertUnchanged, SourceChangedError, streamSourceFile } from './source-file.ts';
import type { UnfinishedUploads } from './unfinished-uploads.ts';

/** When files are uploaded in parts, and in which. */
export interface PartSizes {
  /** Larger files go in parts. */
  readonly singlePutMaxBytes: number;
  /** Of a part at least; S3 wants 5 MiB or more. */
  readonly partBytes: number;
}

export const DEFAULT_PART_SIZES: PartSizes = {
  singlePutMaxBytes: SINGLE_PUT_MAX_BYTES,
  partBytes: UPLOAD_PART_BYTES,
};

export interface PartsOptions {
  readonly store: ObjectStore;
  readonly partSizes: PartSizes;
  readonly unfinished: UnfinishedUploads;
  readonly progress: ProgressCounter;
}

/** Whether a file is uploaded in parts. */
export function isParted({ size }: SourceItem, { singlePutMaxBytes }: PartSizes): boolean {
  return size > singlePutMaxBytes;
}

/**
 * The MD5s of a large item and of its parts. They are found in one pass, so what the store holds against the MD5s of the
 * parts is what the MD5 of the whole is of.
 *
 * @param known the MD5 of the whole, where it is known
 * @throws SourceChangedError when the file is not what it was
 */
export async function hashParts(
  item: SourceItem,
  known: string | undefined,
  hasher: FileHasher,
  { partBytes }: PartSizes,
  signal: AbortSignal,
): Promise<PartedMd5> {
  await assertUnchanged(item);
  const hashed = await hasher.md5OfParts(item, partBytesOf(item.size, partBytes), signal);
  await assertUnchanged(item);
  if (known !== undefined && hashed.md5 !== known) throw new SourceChangedError(item.path);
  return hashed;
}

/**
 * Uploads a large item, or goes on with what an earlier freeze has begun.
 *
 * @throws SourceChangedError when the file is not what it was
 * @throws what the store throws
 */
export async function uploadInParts(
  key: string,
  item: SourceItem,
  { md5, partMd5s }: PartedMd5,
  { store, partSizes, unfinished, progress }: PartsOptions,
  signal: AbortSignal,
): Promise<void> {
  const { size } = item;
  const partBytes = partBytesOf(size, partSizes.partBytes);
  const memory = unfinished.memoryOf({ key, md5, partBytes });
  /** Bytes that progress has counted, by the start of their part. */
  const counted = new Map<number, number>();
  const count = (start: number, bytes: number): void => {
    counted.set(start, (counted.get(start) ?? 0) + bytes);
    progress.add({ bytes });
  };
  for (const number of memory.begun?.etags.keys() ?? []) {
    const start = (number - 1) * partBytes;
    count(start, Math.min(partBytes, size - start));
  }
  const open = (start: number, end: number): ReturnType<typeof streamSourceFile> => {
    count(start, -(counted.get(start) ?? 0));
    return streamSourceFile(item, (bytes) => count(start, bytes), { start, end });
  };
  try {
    const body = { size, partBytes, partMd5s, open };
    const metadata = itemMetadata(item.relpath, md5);
    await putInParts(store, key, body, memory, { metadata, priority: 'background', signal });
  } catch (cause) {
    const isWrong = cause instanceof StoreError && cause.reason === 'bad-digest';
    if (!isWrong && !(cause instanceof SourceChangedError)) throw refusalOf(cause, key);
    for (const upload of unfinished.all()) {
      if (upload.key !== key || signal.aborted) continue;
      await abandonUpload(store, upload, { signal });
      await unfinished.memoryOf({ key, md5, partBytes }).ended(upload.id);
    }
    throw isWrong ? new SourceChangedError(item.path, { cause }) : cause;
  }
}
