import {
  MANIFEST_MAX_BYTES,
  MANIFEST_PART_BYTES,
  MANIFEST_SMALL_BYTES,
  MANIFEST_WHOLE_MAX_BYTES,
} from '../../limits.ts';
import { StoreError, type ObjectInfo, type ObjectStore } from '../object-store.ts';
import { FormatError } from './format-error.ts';
import { parseInThread } from './manifest-threads.ts';
import { type PackedManifest, packManifestText } from './pack-manifest.ts';

/** A manifest as it was read, and which object it was. */
export interface StoredManifest extends PackedManifest {
  readonly etag: string;
}

/**
 * Reads a manifest: in one request up to {@link MANIFEST_WHOLE_MAX_BYTES}, else in parts, so that memory stays bounded
 * whatever its size. But for small ones the work is done in a thread.
 *
 * @throws FormatError when it is missing, broken or larger than {@link MANIFEST_MAX_BYTES}
 * @throws StoreError
 */
export async function readManifest(
  store: ObjectStore,
  key: string,
  signal?: AbortSignal,
): Promise<StoredManifest> {
  const where = { bucket: store.bucket, key };
  try {
    const { body, etag } = await store.get(key, MANIFEST_WHOLE_MAX_BYTES, { signal });
    if (body.length > MANIFEST_SMALL_BYTES) {
      return { ...(await parseInThread(one(body), where, signal)), etag };
    }
    const chunks = [body];
    const packed = packManifestText(() => chunks.shift());
    if ('flaw' in packed) throw new FormatError(where, packed.flaw);
    return { ...packed, etag };
  } catch (cause) {
    if (!(cause instanceof StoreError)) throw cause;
    if (cause.reason === 'no-such-key') {
      throw new FormatError(where, 'the dataset is frozen but has no manifest', { cause });
    }
    if (cause.reason !== 'too-large') throw cause;
  }
  const info = await store.head(key, { signal });
  if (info.size > MANIFEST_MAX_BYTES) {
    throw new FormatError(where, `it has ${info.size} bytes, and ${MANIFEST_MAX_BYTES} are allowed`);
  }
  const packed = await parseInThread(parts(store, key, info, signal), where, signal);
  return { ...packed, etag: info.etag };
}

async function* one(body: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield body;
}

/** The parts of an object one after the other, the next one on its way. */
async function* parts(
  store: ObjectStore,
  key: string,
  { size, etag }: ObjectInfo,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const read = async (offset: number): Promise<Uint8Array> => {
    const part = new Uint8Array(Math.min(MANIFEST_PART_BYTES, size - offset));
    const info = await store.getRange(key, offset, [part], { signal });
    if (info.etag !== etag || info.size !== size) {
      throw new StoreError(
        'bad-response',
        { bucket: store.bucket, key },
        'it was replaced while it was read',
      );
    }
    return part;
  };
  let next: Promise<Uint8Array> | undefined = read(0);
  for (let offset = 0; next; offset += MANIFEST_PART_BYTES) {
    const part = await next;
    const follows = offset + MANIFEST_PART_BYTES;
    next = follows < size ? read(follows) : undefined;
    // Who gives up before it comes hears nothing of its failure.
    next?.catch(() => {});
    yield part;
  }
}
