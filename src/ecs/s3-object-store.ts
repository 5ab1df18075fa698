import assert from 'node:assert/strict';
import {
  StoreError,
  type CompletedPart,
  type CreateUploadOptions,
  type ListPage,
  type ListQuery,
  type ObjectInfo,
  type ObjectStore,
  type PutBody,
  type PutOptions,
  type PutPartOptions,
  type RangeOptions,
  type RequestOptions,
  type StoredObject,
  type Upload,
  type UploadPart,
} from './object-store.ts';
import type { S3Credentials } from './request-signer.ts';
import { toStoreError } from './s3-errors.ts';
import { S3Lister } from './s3-lister.ts';
import { S3Reader } from './s3-reader.ts';
import { S3Requests } from './s3-requests.ts';
import type { Sending, S3Uploads } from './s3-uploads.ts';
import { assertMetadata, S3Writer } from './s3-writer.ts';

export type { S3Credentials } from './request-signer.ts';

export interface S3StoreOptions {
  readonly bucket: string;
  /** URL of the store; the bucket goes into its path. */
  readonly endpoint: string;
  /** Asked before every request, so that new credentials need no restart; what it throws is passed on. */
  readonly credentials: () => Promise<S3Credentials>;
  /** Default `us-east-1`, which stores that know no regions expect. */
  readonly region?: string;
  /** Default {@link CONNECT_TIMEOUT_MS}. */
  readonly connectTimeoutMs?: number;
  /** The longest silence on a connection in use; default {@link REQUEST_TIMEOUT_MS}. */
  readonly silenceTimeoutMs?: number;
}

export interface S3ObjectStore extends ObjectStore {
  /** Closes the connections; requests under way fail. */
  close(): void;
}

/**
 * A bucket of an S3-compatible store: {@link S3Requests} do all but begin and end uploads in parts, which the SDK does.
 * Every request is made once: repeating and limiting are decorators' work.
 *
 * The answer to a HEAD has no body that could say more than its status: a missing bucket is `no-such-key` there, and
 * whatever is wrong with the credentials `access-denied`.
 */
export function createS3ObjectStore(options: S3StoreOptions): S3ObjectStore {
  return new S3Store(options);
}

class S3Store implements S3ObjectStore {
  readonly bucket: string;
  readonly #options: S3StoreOptions & { readonly region: string };
  readonly #requests: S3Requests;
  readonly #reader: S3Reader;
  readonly #writer: S3Writer;
  readonly #lister: S3Lister;
  #uploads: Promise<S3Uploads> | undefined;

  constructor(options: S3StoreOptions) {
    const { bucket, region = 'us-east-1' } = options;
    this.bucket = bucket;
    this.#options = { ...options, region };
    this.#requests = new S3Requests(this.#options);
    this.#reader = new S3Reader(bucket, this.#requests);
    this.#writer = new S3Writer(bucket, this.#requests);
    this.#lister = new S3Lister(bucket, this.#requests);
  }

  async getRange(
    key: string,
    offset: number,
    targets: readonly Uint8Array[],
    { signal, onFilled }: RangeOptions = {},
  ): Promise<ObjectInfo> {
    const length = targets.reduce((sum, target) => sum + target.length, 0);
    assert(Number.isSafeInteger(offset) && offset >= 0 && length > 0);
    this.#checkKey(key);
    return this.#reader.getRange(key, offset, targets, signal, onFilled);
  }

  async get(key: string, maxBytes: number, { signal }: RequestOptions = {}): Promise<StoredObject> {
    this.#checkKey(key);
    return this.#reader.get(key, maxBytes, signal);
  }

  async head(key: string, { signal }: RequestOptions = {}): Promise<ObjectInfo> {
    this.#checkKey(key);
    return this.#reader.head(key, signal);
  }

  async listPage(query: ListQuery, { signal }: RequestOptions = {}): Promise<ListPage> {
    return this.#lister.listPage(query, signal);
  }

  async put(key: string, body: PutBody, options: PutOptions = {}): Promise<void> {
    this.#checkKey(key);
    await this.#writer.put(key, body, options);
  }

  async delete(key: string, { signal }: RequestOptions = {}): Promise<void> {
    this.#checkKey(key);
    try {
      await this.#requests.send({ method: 'DELETE', key }, signal);
    } catch (error) {
      if (!(error instanceof StoreError && error.reason === 'no-such-key')) throw error;
    }
  }

  async createUpload(key: string, { signal, metadata = {} }: CreateUploadOptions = {}): Promise<string> {
    assertMetadata({ bucket: this.bucket, key }, metadata);
    return this.#upload(key, signal, (uploads, sending) => uploads.create(key, metadata, sending));
  }

  async putPart(part: UploadPart, body: PutBody, { signal, md5 }: PutPartOptions = {}): Promise<string> {
    this.#checkKey(part.key);
    return this.#writer.putPart(part, body, md5, signal);
  }

  async completeUpload(
    upload: Upload,
    parts: readonly CompletedPart[],
    { signal }: RequestOptions = {},
  ): Promise<void> {
    return this.#upload(upload.key, signal, (uploads, sending) => uploads.complete(upload, parts, sending));
  }

  async abortUpload(upload: Upload, { signal }: RequestOptions = {}): Promise<void> {
    try {
      await this.#upload(upload.key, signal, (uploads, sending) => uploads.abort(upload, sending));
    } catch (error) {
      if (!(error instanceof StoreError && error.reason === 'no-such-upload')) throw error;
    }
  }

  async listUploads(prefix: string, { signal }: RequestOptions = {}): Promise<readonly Upload[]> {
    return this.#request(prefix, signal, (uploads, sending) => uploads.list(prefix, sending));
  }

  close(): void {
    void this.#uploads?.then(
      (uploads) => uploads.close(),
      () => {
        // Whoever asked for them has the error.
      },
    );
    this.#requests.close();
  }

  /** Without a key the path would be the bucket's, and a delete remove it. */
  #checkKey(key: string): void {
    if (key === '')
      throw new StoreError('bad-request', { bucket: this.bucket, key }, 'a key has at least one character');
  }

  /** A request for the upload of one object, by the SDK. */
  async #upload<T>(
    key: string,
    signal: AbortSignal | undefined,
    request: (uploads: S3Uploads, sending: Sending) => Promise<T>,
  ): Promise<T> {
    this.#checkKey(key);
    return this.#request(key, signal, request);
  }

  /** Has the SDK make a request, and turns what it throws into what the port promises. */
  async #request<T>(
    key: string,
    signal: AbortSignal | undefined,
    request: (uploads: S3Uploads, sending: Sending) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted();
    // Loading the SDK takes as long as all else together, and few need it.
    this.#uploads ??= import('./s3-uploads.ts').then((sdk) => new sdk.S3Uploads(this.#options));
    const uploads = await this.#uploads;
    signal?.throwIfAborted();
    try {
      return await request(uploads, signal ? { abortSignal: signal } : {});
    } catch (error) {
      signal?.throwIfAborted();
      throw toStoreError(error, { bucket: this.bucket, key });
    }
  }
}
