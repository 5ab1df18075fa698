import assert from 'node:assert/strict';
import type { Clock } from '../clock.ts';
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
import { S3Lister } from './s3-lister.ts';
import { S3Reader } from './s3-reader.ts';
import { S3Requests } from './s3-requests.ts';
import { S3Uploads } from './s3-uploads.ts';
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
  /** Default: {@link systemClock}. */
  readonly clock?: Clock;
}

export interface S3ObjectStore extends ObjectStore {
  /** Closes the connections; requests under way fail. */
  close(): void;
}

/**
 * A bucket of an S3-compatible store. Every request is made once: repeating and limiting are decorators' work.
 *
 * The answer to a HEAD has no body that could say more than its status: a missing bucket is `no-such-key` there, and
 * whatever is wrong with the credentials `access-denied`.
 */
export function createS3ObjectStore(options: S3StoreOptions): S3ObjectStore {
  return new S3Store(options);
}

class S3Store implements S3ObjectStore {
  readonly bucket: string;
  readonly #requests: S3Requests;
  readonly #reader: S3Reader;
  readonly #writer: S3Writer;
  readonly #lister: S3Lister;
  readonly #uploads: S3Uploads;

  constructor(options: S3StoreOptions) {
    const { bucket, region = 'us-east-1' } = options;
    this.bucket = bucket;
    this.#requests = new S3Requests({ ...options, region });
    this.#reader = new S3Reader(bucket, this.#requests);
    this.#writer = new S3Writer(bucket, this.#requests);
    this.#lister = new S3Lister(bucket, this.#requests);
    this.#uploads = new S3Uploads(bucket, this.#requests);
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
      await this.#requests.delete(key, undefined, signal);
    } catch (error) {
      if (!(error instanceof StoreError && error.reason === 'no-such-key')) throw error;
    }
  }

  async createUpload(key: string, { signal, metadata = {} }: CreateUploadOptions = {}): Promise<string> {
    this.#checkKey(key);
    assertMetadata({ bucket: this.bucket, key }, metadata);
    return this.#uploads.create(key, metadata, signal);
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
    this.#checkKey(upload.key);
    await this.#uploads.complete(upload, parts, signal);
  }

  async abortUpload(upload: Upload, { signal }: RequestOptions = {}): Promise<void> {
    this.#checkKey(upload.key);
    try {
      await this.#uploads.abort(upload, signal);
    } catch (error) {
      if (!(error instanceof StoreError && error.reason === 'no-such-upload')) throw error;
    }
  }

  async listUploads(prefix: string, { signal }: RequestOptions = {}): Promise<readonly Upload[]> {
    return this.#uploads.list(prefix, signal);
  }

  close(): void {
    this.#requests.close();
  }

  /** Without a key the path would be the bucket's, and a delete remove it. */
  #checkKey(key: string): void {
    if (key === '')
      throw new StoreError('bad-request', { bucket: this.bucket, key }, 'a key has at least one character');
  }
}
