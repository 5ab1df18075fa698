import { forEachBounded } from '../for-each-bounded.ts';
import { MiB, UPLOAD_PART_BYTES, UPLOAD_PARTS_AT_ONCE_MAX, UPLOAD_PARTS_MAX } from '../limits.ts';
import { compositeEtag } from './confirmed-writes.ts';
import {
  type CompletedPart,
  type CreateUploadOptions,
  type ObjectStore,
  type Pieces,
  type RequestOptions,
  StoreError,
  type Upload,
} from './object-store.ts';

/** Content that is sent in parts, of which every one but the last has `partBytes`. */
export interface PartedBody {
  /** Bytes, 1 or more. */
  readonly size: number;
  readonly partBytes: number;
  /** The MD5s of the parts one after the other, 16 bytes each. */
  readonly partMd5s: Uint8Array;
  /** Opens a range, anew for every try. */
  open(start: number, end: number): Pieces;
}

/** An upload that an earlier call has begun for the same content, in the same parts. */
export interface BegunUpload {
  readonly id: string;
  /** Of the parts that the store has, by number. */
  readonly etags: ReadonlyMap<number, string>;
}

/** What has to be remembered, so that a later call goes on with what this one has begun. */
export interface UploadMemory {
  readonly begun: BegunUpload | undefined;
  started(id: string): Promise<void>;
  stored(id: string, part: number, etag: string): Promise<void>;
  /** It is completed, or of no use any more. */
  ended(id: string): Promise<void>;
}

const MD5_BYTES = 16;

/**
 * The bytes of a part, such that there are at most {@link UPLOAD_PARTS_MAX}.
 *
 * @param size of the object in bytes
 * @param partBytes at least so many; default {@link UPLOAD_PART_BYTES}
 */
export function partBytesOf(size: number, partBytes = UPLOAD_PART_BYTES): number {
  const least = Math.ceil(size / UPLOAD_PARTS_MAX);
  return least <= partBytes ? partBytes : Math.ceil(least / MiB) * MiB;
}

/**
 * Stores an object in parts, several at once, each a request of its own with its MD5: what repeats requests repeats one
 * part. What was begun stays for the next call whatever ends this one, unless the store has no use for it.
 *
 * Whether it went well is seen by a look at the object, not by the answer to the completion: that may get lost, say
 * little, or be an error when an earlier try has completed it.
 *
 * @throws what the store or the body throws
 */
export async function putInParts(
  store: ObjectStore,
  key: string,
  body: PartedBody,
  memory: UploadMemory,
  options: CreateUploadOptions,
): Promise<void> {
  const { begun } = memory;
  if (begun) {
    try {
      return await finish(store, key, body, begun, memory, options);
    } catch (error) {
      if (!isUseless(error)) throw error;
      await abandonUpload(store, { key, id: begun.id }, options);
      await memory.ended(begun.id);
    }
  }
  const id = await store.createUpload(key, options);
  await memory.started(id);
  try {
    await finish(store, key, body, { id, etags: new Map() }, memory, options);
  } catch (error) {
    if (isUseless(error)) {
      await abandonUpload(store, { key, id }, options);
      await memory.ended(id);
    }
    throw error;
  }
}

/** Sends the parts that are missing, and completes. */
async function finish(
  store: ObjectStore,
  key: string,
  body: PartedBody,
  { id, etags: stored }: BegunUpload,
  memory: UploadMemory,
  options: CreateUploadOptions,
): Promise<void> {
  const { size, partBytes, partMd5s } = body;
  const etags = new Map(stored);
  const count = Math.ceil(size / partBytes);
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  const putPart = async (number: number, signal: AbortSignal): Promise<void> => {
    const start = (number - 1) * partBytes;
    const end = Math.min(size, start + partBytes);
    const etag = await store.putPart(
      { key, id, number },
      { size: end - start, open: () => body.open(start, end) },
      { ...options, signal, md5: partMd5s.subarray((number - 1) * MD5_BYTES, number * MD5_BYTES) },
    );
    etags.set(number, etag);
    await memory.stored(id, number, etag);
  };
  const missing = numbers.filter((number) => !etags.has(number));
  // Only a part tells for sure whether the store still has the upload: to a completion Ceph says what it says of a fault.
  if (missing.length === 0) missing.push(count);
  await forEachBounded(missing, UPLOAD_PARTS_AT_ONCE_MAX, putPart, options.signal);
  const parts = numbers.map((number) => ({ number, etag: etags.get(number) ?? '' }));
  try {
    await store.completeUpload({ key, id }, parts, options);
  } catch (error) {
    if (!isAmbiguous(error) || !(await isStored(store, key, body, parts, options))) throw error;
    return memory.ended(id);
  }
  if (!(await isStored(store, key, body, parts, options))) {
    const detail = 'the store has put together something else than what was uploaded in parts';
    throw new StoreError('bad-response', { bucket: store.bucket, key }, detail);
  }
  await memory.ended(id);
}

/** Whether the object is there, and is not another one of this size: an ETag of parts tells, where the store has such. */
async function isStored(
  store: ObjectStore,
  key: string,
  { size }: PartedBody,
  parts: readonly CompletedPart[],
  { metadata = {}, ...options }: CreateUploadOptions,
): Promise<boolean> {
  try {
    const found = await store.head(key, options);
    const hasMetadata = Object.entries(metadata).every(([name, value]) => found.metadata[name] === value);
    const expected = compositeEtag(parts);
    const isOther =
      expected !== undefined &&
      new RegExp(`^[0-9a-f]{32}-${parts.length}$`, 'i').test(found.etag) &&
      found.etag.toLowerCase() !== expected;
    return found.size === size && hasMetadata && !isOther;
  } catch (error) {
    if (error instanceof StoreError && error.reason === 'no-such-key') return false;
    throw error;
  }
}

/** Drops an upload where that is allowed: the access policy that dtool-ecs documents denies it, which is no error. */
export async function abandonUpload(
  store: ObjectStore,
  upload: Upload,
  { signal, priority = 'background' }: RequestOptions = {},
): Promise<void> {
  await unlessRefused(async () => store.abortUpload(upload, { signal, priority }));
}

/** Drops all uploads below a prefix, as far as they can be listed and aborted. */
export async function abandonUploads(
  store: ObjectStore,
  prefix: string,
  { signal, priority = 'background' }: RequestOptions = {},
): Promise<void> {
  const options = { signal, priority };
  await unlessRefused(async () => {
    const seen = new Set<string>();
    for (;;) {
      const uploads = await store.listUploads(prefix, options);
      // Some stores go on listing for a while what was aborted.
      const fresh = uploads.filter(({ id }) => !seen.has(id));
      if (fresh.length === 0) return;
      for (const upload of fresh) {
        seen.add(upload.id);
        await store.abortUpload(upload, options);
      }
    }
  });
}

/** Neither a policy that denies it nor a store that does not know the request is an obstacle. */
async function unlessRefused(task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    const refused = error instanceof StoreError && ['access-denied', 'bad-request'].includes(error.reason);
    if (!refused) throw error;
  }
}

/** Whether a completion that ended so may have been carried out all the same, by this or an earlier try. */
function isAmbiguous(error: unknown): boolean {
  const reasons = ['no-such-upload', 'server-error', 'bad-response', 'timeout'];
  return error instanceof StoreError && reasons.includes(error.reason);
}

/** Whether the store would go on refusing the upload. */
function isUseless(error: unknown): boolean {
  return error instanceof StoreError && ['no-such-upload', 'bad-request'].includes(error.reason);
}
