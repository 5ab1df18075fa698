import { FsError, type FsErrorCode } from '../errors.ts';

/**
 * One bucket, as everything above `ecs/` sees it: the port that S3, the test double and the decorators
 * (retry, limit, log) implement. `test/contract/object-store.ts` holds every implementation to this text.
 *
 * Keys are any well-formed Unicode strings of at least one character and travel verbatim. Every method rejects with
 * a {@link StoreError}, or with the signal's reason (an `AbortError` unless its owner chose another) promptly after
 * the signal aborts; it never resolves with less than it promises. No method touches a buffer it was given once its
 * promise has settled.
 */
export interface ObjectStore {
  readonly bucket: string;

  /**
   * Reads `sum(lengths of targets)` bytes that start at `offset` and fills the targets with them one after the
   * other. All targets are full when the promise resolves; on rejection their content is undefined, but for those that
   * `onFilled` heard of.
   *
   * @param offset in bytes, 0 or more
   * @param targets at least one byte in all
   * @throws reason `short` when the object ends before the range does; what `onFilled` throws
   */
  getRange(
    key: string,
    offset: number,
    targets: readonly Uint8Array[],
    options?: RangeOptions,
  ): Promise<ObjectInfo>;

  /**
   * Reads a whole object into memory.
   *
   * @param maxBytes the request fails with reason `too-large` rather than read more
   */
  get(key: string, maxBytes: number, options?: RequestOptions): Promise<StoredObject>;

  /** What is known of an object without its content. */
  head(key: string, options?: RequestOptions): Promise<ObjectInfo>;

  /**
   * One page of the keys that start with a prefix, in the store's order (most have UTF-8 byte order, ECS has
   * UTF-16 order: rely on neither). A page may hold fewer keys than asked, even none, and yet not be the last:
   * follow `continuationToken` until it is undefined, as {@link listAll} does.
   */
  listPage(query: ListQuery, options?: RequestOptions): Promise<ListPage>;

  /**
   * Stores an object, whole or not at all. Readers see the old object or the new one, never a mixture. A request
   * that failed may have stored it all the same, unless the reason says that the store refused it. What a stream
   * body fails with is passed on as it is.
   *
   * @throws reason `bad-request` when a stream body has not the size that was announced, or a metadata value could
   * not arrive as it is
   * @throws reason `precondition-failed` when `ifNoneMatch` is '*' and the key exists
   * @throws reason `bad-digest` when the content that arrived has not the given MD5
   */
  put(key: string, body: PutBody, options?: PutOptions): Promise<void>;

  /** Removes an object. A key that does not exist is no error. */
  delete(key: string, options?: RequestOptions): Promise<void>;

  /**
   * Begins to store an object in parts: nobody sees any of it until {@link completeUpload}.
   *
   * @returns the id of the upload
   * @throws reason `bad-request` when a metadata value could not arrive as it is
   */
  createUpload(key: string, options?: CreateUploadOptions): Promise<string>;

  /**
   * Stores one part of an upload, whole or not at all, in place of an earlier one with its number. Stores want 5 MiB
   * or more, the last part excepted, and at most 5 GiB.
   *
   * @returns the part's ETag as {@link completeUpload} needs it
   * @throws reason `no-such-upload`; `bad-digest` and `bad-request` as for {@link put}
   */
  putPart(part: UploadPart, body: PutBody, options?: PutPartOptions): Promise<string>;

  /**
   * Makes an object of parts, as {@link put} does of a body.
   *
   * @param parts at least one, by ascending number; all that were put (where some are left out, Ceph refuses and others
   * drop them)
   * @throws reason `no-such-upload` (Ceph: `server-error`), also when an earlier try that seemed to fail has completed
   * it; `bad-request` when the store has not these parts
   */
  completeUpload(upload: Upload, parts: readonly CompletedPart[], options?: RequestOptions): Promise<void>;

  /** Drops an upload with its parts. One that does not exist is no error. */
  abortUpload(upload: Upload, options?: RequestOptions): Promise<void>;

  /**
   * The first uploads, 1,000 at most, whose keys start with a prefix and that are neither completed nor aborted. A key
   * that XML has no form for may be missing, or not be itself.
   */
  listUploads(prefix: string, options?: RequestOptions): Promise<readonly Upload[]>;
}

/** Who waits for a request. Higher classes overtake lower ones that have not been sent yet. */
export type Priority = 'read' | 'metadata' | 'background';

export interface RequestOptions {
  /** Ends the request, whether it waits for its turn, for a retry or for the network. */
  readonly signal?: AbortSignal | undefined;
  /** Default `metadata`. */
  readonly priority?: Priority;
  /** Makes a `background` request a `read` when it aborts: somebody waits for it by now. */
  readonly promotion?: AbortSignal | undefined;
}

export interface RangeOptions extends RequestOptions {
  /**
   * Hears that the first `count` targets are full while the rest is still on its way; of the last one only the promise
   * tells. They are the caller's from then on: nothing touches them again, not even a repetition of the request, which
   * goes on after them and may find another object there. What it throws ends the request.
   *
   * @param info what the answer that filled them says of the object
   */
  readonly onFilled?: ((count: number, info: ObjectInfo) => void) | undefined;
}

export interface ObjectInfo {
  /** Size of the whole object in bytes, whatever part of it was read. */
  readonly size: number;
  /** The store's ETag without quotes; empty where the store sends none. */
  readonly etag: string;
  /** Milliseconds since the epoch. */
  readonly lastModified: number;
  /**
   * User metadata: names in lower case without `x-amz-meta-`, values as the store sent them: UTF-8 where the bytes
   * are that, else ISO 8859-1.
   */
  readonly metadata: Readonly<Record<string, string>>;
}

export interface StoredObject extends ObjectInfo {
  readonly body: Buffer;
}

export interface ListQuery {
  readonly prefix: string;
  /** Keys that contain it after the prefix are folded into `commonPrefixes`. */
  readonly delimiter?: string;
  readonly continuationToken?: string | undefined;
  /** At most so many keys and common prefixes; default and most is 1,000. */
  readonly maxKeys?: number;
}

export interface ListPage {
  readonly objects: readonly ListedObject[];
  /** Each with the delimiter at its end. */
  readonly commonPrefixes: readonly string[];
  /** Undefined on the last page. */
  readonly continuationToken: string | undefined;
}

export interface ListedObject {
  readonly key: string;
  readonly size: number;
  readonly etag: string;
  /** Milliseconds since the epoch. */
  readonly lastModified: number;
}

/** Bytes in memory, or content that comes piece by piece. */
export type PutBody = Uint8Array | StreamedBody;

/** Content that is never in memory as a whole. */
export interface StreamedBody {
  /** Bytes. */
  readonly size: number;
  /**
   * Opens it, anew for every try. A piece is the store's until it asks for the next one, and may be overwritten then. Who
   * gives up ends the iteration, once the piece that is under way has come.
   */
  open(): Pieces;
}

export type Pieces = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

export interface PutOptions extends RequestOptions {
  /** User metadata. Values are printable ASCII without spaces at their ends: no other arrives everywhere. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** MD5 of the content, 16 bytes; the store checks what arrives against it. */
  readonly md5?: Uint8Array;
  /** Only store the object when the key does not exist. */
  readonly ifNoneMatch?: '*';
}

export interface CreateUploadOptions extends RequestOptions {
  /** As in {@link PutOptions}; the object will have it. */
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface PutPartOptions extends RequestOptions {
  /** MD5 of the part, 16 bytes; the store checks what arrives against it. */
  readonly md5?: Uint8Array;
}

/** An object that is being stored in parts. */
export interface Upload {
  readonly key: string;
  readonly id: string;
}

export interface UploadPart extends Upload {
  /** From 1 to 10,000; the object has the parts in this order. */
  readonly number: number;
}

export interface CompletedPart {
  readonly number: number;
  readonly etag: string;
}

/**
 * Why the store did not do what it was asked. `retryable` says whether the same request may do better later.
 */
export type StoreErrorReason =
  | 'no-such-key'
  | 'no-such-bucket'
  | 'no-such-upload'
  | 'access-denied'
  | 'unknown-access-key'
  | 'wrong-secret-key'
  | 'expired-credentials'
  | 'clock-skew'
  | 'precondition-failed'
  | 'bad-digest'
  | 'short'
  | 'too-large'
  | 'bad-request'
  | 'bad-response'
  | 'throttled'
  | 'server-error'
  | 'timeout'
  | 'untrusted-certificate'
  | 'certificate-of-another-host'
  | 'certificate-out-of-date'
  | 'tls'
  | 'unreachable';

const REASONS: Readonly<
  Record<StoreErrorReason, { readonly code: FsErrorCode; readonly retryable: boolean }>
> = {
  'no-such-key': { code: 'ENOENT', retryable: false },
  'no-such-bucket': { code: 'ENOENT', retryable: false },
  'no-such-upload': { code: 'EIO', retryable: false },
  'access-denied': { code: 'EACCES', retryable: false },
  'unknown-access-key': { code: 'EACCES', retryable: false },
  'wrong-secret-key': { code: 'EACCES', retryable: false },
  'expired-credentials': { code: 'EACCES', retryable: false },
  'clock-skew': { code: 'EACCES', retryable: false },
  'precondition-failed': { code: 'EEXIST', retryable: false },
  'bad-digest': { code: 'EIO', retryable: true },
  short: { code: 'EIO', retryable: false },
  'too-large': { code: 'EFBIG', retryable: false },
  'bad-request': { code: 'EINVAL', retryable: false },
  'bad-response': { code: 'EIO', retryable: true },
  throttled: { code: 'EIO', retryable: true },
  'server-error': { code: 'EIO', retryable: true },
  timeout: { code: 'EIO', retryable: true },
  'untrusted-certificate': { code: 'EIO', retryable: false },
  'certificate-of-another-host': { code: 'EIO', retryable: false },
  'certificate-out-of-date': { code: 'EIO', retryable: false },
  tls: { code: 'EIO', retryable: false },
  unreachable: { code: 'EIO', retryable: true },
};

/** A request to the store that failed; its message names the bucket, the key, and what the store said. */
export class StoreError extends FsError {
  override readonly name = 'StoreError';
  readonly reason: StoreErrorReason;
  readonly bucket: string;
  /** The key or, for a list, the prefix. */
  readonly key: string;
  /** How long the store wants to be left alone, in milliseconds; undefined where it does not say. */
  readonly retryAfterMs: number | undefined;

  constructor(
    reason: StoreErrorReason,
    where: { readonly bucket: string; readonly key: string },
    detail: string,
    options: { readonly cause?: unknown; readonly retryAfterMs?: number | undefined } = {},
  ) {
    const { cause, retryAfterMs } = options;
    super(
      REASONS[reason].code,
      `${where.bucket}/${where.key}: ${detail}`,
      cause === undefined ? undefined : { cause },
    );
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
    this.bucket = where.bucket;
    this.key = where.key;
  }

  get retryable(): boolean {
    return REASONS[this.reason].retryable;
  }
}

/** All objects under a prefix, page after page; each page is asked for when the one before is used up. */
export async function* listAll(
  store: ObjectStore,
  prefix: string,
  options?: RequestOptions,
): AsyncGenerator<ListedObject, void, undefined> {
  let continuationToken: string | undefined;
  do {
    const page: ListPage = await store.listPage({ prefix, continuationToken }, options);
    yield* page.objects;
    continuationToken = page.continuationToken;
  } while (continuationToken !== undefined);
}
