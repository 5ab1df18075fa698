import assert from 'node:assert/strict';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import {
  DeleteObjectCommand,
  ListObjectsV2Command,
  S3Client,
  type ListObjectsV2CommandOutput,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { CONNECT_TIMEOUT_MS, REQUEST_TIMEOUT_MS, STORE_REQUESTS_MAX } from '../limits.ts';
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
import { unquoted } from './s3-answer.ts';
import { S3Reader } from './s3-reader.ts';
import { S3Requests } from './s3-requests.ts';
import { type Sending, S3Uploads } from './s3-uploads.ts';
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
 * A bucket of an S3-compatible store: {@link S3Requests} carry content, the SDK does the rest. Every request is made
 * once: repeating and limiting are decorators' work.
 *
 * The answer to a HEAD has no body that could say more than its status: a missing bucket is `no-such-key` there, and
 * whatever is wrong with the credentials `access-denied`.
 */
export function createS3ObjectStore(options: S3StoreOptions): S3ObjectStore {
  return new S3Store(options);
}

class S3Store implements S3ObjectStore {
  readonly bucket: string;
  readonly #client: S3Client;
  readonly #requests: S3Requests;
  readonly #reader: S3Reader;
  readonly #writer: S3Writer;
  readonly #uploads: S3Uploads;

  constructor(options: S3StoreOptions) {
    const { bucket, endpoint, region = 'us-east-1' } = options;
    const agentOptions = { keepAlive: true, maxSockets: STORE_REQUESTS_MAX };
    this.bucket = bucket;
    this.#requests = new S3Requests({ ...options, region });
    this.#reader = new S3Reader(bucket, this.#requests);
    this.#writer = new S3Writer(bucket, this.#requests);
    // The SDK tells whoever runs Node 20 that its next versions will not; our user can do nothing about that.
    process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
    this.#client = new S3Client({
      endpoint,
      region,
      forcePathStyle: true,
      // Without an expiry the SDK would keep the first answer for ever.
      credentials: async () => ({ ...(await options.credentials()), expiration: new Date(0) }),
      // By default the SDK sends checksums in trailers, which ECS and older Ceph reject.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      // A put that is refused before `100 Continue` would end in an uncaught EPIPE.
      expectContinueHeader: false,
      followRegionRedirects: false,
      maxAttempts: 1,
      retryMode: 'standard',
      defaultsMode: 'standard',
      useDualstackEndpoint: false,
      useFipsEndpoint: false,
      // It would write to the console; every failure reaches the caller.
      logger: SILENT,
      requestHandler: {
        logger: SILENT,
        connectionTimeout: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
        // The SDK's requestTimeout ends at the answer's head and would bound a whole upload; silence is what counts.
        socketTimeout: options.silenceTimeoutMs ?? REQUEST_TIMEOUT_MS,
        httpAgent: new HttpAgent(agentOptions),
        httpsAgent: new HttpsAgent({
          ...agentOptions,
          // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED=0 does not undo it.
          rejectUnauthorized: true,
        }),
      },
    });
    this.#uploads = new S3Uploads(this.#client, bucket);
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
    const { prefix, delimiter, continuationToken, maxKeys = 1_000 } = query;
    return this.#request(prefix, signal, async (sending) => {
      const output = await this.#client.send(
        new ListObjectsV2Command({
          Bucket: this.bucket,
          Prefix: prefix,
          Delimiter: delimiter,
          ContinuationToken: continuationToken,
          MaxKeys: maxKeys,
          // XML has no form for most control characters, and parsers trim white space.
          EncodingType: 'url',
        }),
        sending,
      );
      return this.#pageOf(prefix, continuationToken, output);
    });
  }

  async put(key: string, body: PutBody, options: PutOptions = {}): Promise<void> {
    this.#checkKey(key);
    await this.#writer.put(key, body, options);
  }

  async delete(key: string, { signal }: RequestOptions = {}): Promise<void> {
    try {
      await this.#object(key, signal, (sending) =>
        this.#client.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: key }), sending),
      );
    } catch (error) {
      if (!(error instanceof StoreError && error.reason === 'no-such-key')) throw error;
    }
  }

  async createUpload(key: string, { signal, metadata = {} }: CreateUploadOptions = {}): Promise<string> {
    assertMetadata({ bucket: this.bucket, key }, metadata);
    return this.#object(key, signal, (sending) => this.#uploads.create(key, metadata, sending));
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
    return this.#object(upload.key, signal, (sending) => this.#uploads.complete(upload, parts, sending));
  }

  async abortUpload(upload: Upload, { signal }: RequestOptions = {}): Promise<void> {
    try {
      await this.#object(upload.key, signal, (sending) => this.#uploads.abort(upload, sending));
    } catch (error) {
      if (!(error instanceof StoreError && error.reason === 'no-such-upload')) throw error;
    }
  }

  async listUploads(prefix: string, { signal }: RequestOptions = {}): Promise<readonly Upload[]> {
    return this.#request(prefix, signal, (sending) => this.#uploads.list(prefix, sending));
  }

  close(): void {
    this.#client.destroy();
    this.#requests.close();
  }

  /** Without a key the path would be the bucket's, and a delete remove it. */
  #checkKey(key: string): void {
    if (key === '') throw this.#error('bad-request', key, 'a key has at least one character');
  }

  /** A request for one object, by the SDK. */
  async #object<T>(
    key: string,
    signal: AbortSignal | undefined,
    request: (sending: Sending) => Promise<T>,
  ): Promise<T> {
    this.#checkKey(key);
    return this.#request(key, signal, request);
  }

  /** Has the SDK make a request, and turns what it throws into what the port promises. */
  async #request<T>(
    key: string,
    signal: AbortSignal | undefined,
    request: (sending: Sending) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted();
    try {
      return await request(signal ? { abortSignal: signal } : {});
    } catch (error) {
      signal?.throwIfAborted();
      throw toStoreError(error, { bucket: this.bucket, key });
    }
  }

  #pageOf(prefix: string, sentToken: string | undefined, output: ListObjectsV2CommandOutput): ListPage {
    const broken = (detail: string): StoreError => this.#error('bad-response', prefix, detail);
    // The parser makes an empty page of any XML; every list says whether it goes on.
    if (output.IsTruncated === undefined) throw broken('the answer is no list of objects');
    const token = output.IsTruncated ? (output.NextContinuationToken ?? '') : undefined;
    if (token === '') throw broken('the list goes on, but the answer has no continuation token');
    if (token !== undefined && token === sentToken) throw broken('the list does not advance');
    const decoded = (text: string): string => {
      try {
        return output.EncodingType === 'url' ? urlDecoded(text) : text;
      } catch {
        throw broken(`${JSON.stringify(text)} is not URL-encoded`);
      }
    };
    return {
      objects: (output.Contents ?? []).map(({ Key, Size, ETag, LastModified }) => {
        if (Key === undefined || Size === undefined || Number.isNaN(Size) || LastModified === undefined) {
          throw broken('an object in the list has no key, size or time');
        }
        return {
          key: decoded(Key),
          size: Size,
          etag: unquoted(ETag),
          lastModified: LastModified.getTime(),
        };
      }),
      commonPrefixes: (output.CommonPrefixes ?? []).map(({ Prefix }) => {
        if (Prefix === undefined) throw broken('a common prefix in the list is missing');
        return decoded(Prefix);
      }),
      continuationToken: token,
    };
  }

  #error(reason: 'bad-request' | 'bad-response', key: string, detail: string): StoreError {
    return new StoreError(reason, { bucket: this.bucket, key }, detail);
  }
}

const SILENT: NonNullable<S3ClientConfig['logger']> = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
};

/** Undoes what `encoding-type=url` does; some stores write a space as `+`. */
function urlDecoded(text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '));
}
