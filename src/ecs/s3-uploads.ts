import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { CONNECT_TIMEOUT_MS, REQUEST_TIMEOUT_MS, STORE_REQUESTS_MAX } from '../limits.ts';
import { type CompletedPart, StoreError, type Upload } from './object-store.ts';
import type { S3RequestsOptions } from './s3-requests.ts';

/** Options of a send. */
export interface Sending {
  readonly abortSignal?: AbortSignal;
}

/** The requests of multipart uploads, as the SDK makes them. They throw what the SDK throws. */
export class S3Uploads {
  readonly #client: S3Client;
  readonly #bucket: string;

  constructor(options: S3RequestsOptions) {
    const { bucket, endpoint, region } = options;
    const agentOptions = { keepAlive: true, maxSockets: STORE_REQUESTS_MAX };
    this.#bucket = bucket;
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
  }

  /** Closes the connections. */
  close(): void {
    this.#client.destroy();
  }

  async create(key: string, metadata: Readonly<Record<string, string>>, sending: Sending): Promise<string> {
    const { UploadId } = await this.#client.send(
      new CreateMultipartUploadCommand({ Bucket: this.#bucket, Key: key, Metadata: { ...metadata } }),
      sending,
    );
    return UploadId || this.#missing(key, 'the answer to a new multipart upload has no id');
  }

  /** The SDK throws the error that an answer with status 200 may have. The ETag is left alone: Ceph 16 sends none. */
  async complete({ key, id }: Upload, parts: readonly CompletedPart[], sending: Sending): Promise<void> {
    const Parts = parts.map(({ number, etag }) => ({ PartNumber: number, ETag: etag }));
    await this.#client.send(
      new CompleteMultipartUploadCommand({
        Bucket: this.#bucket,
        Key: key,
        UploadId: id,
        MultipartUpload: { Parts },
      }),
      sending,
    );
  }

  async abort({ key, id }: Upload, sending: Sending): Promise<void> {
    await this.#client.send(
      new AbortMultipartUploadCommand({ Bucket: this.#bucket, Key: key, UploadId: id }),
      sending,
    );
  }

  /** Without `encoding-type=url`: Ceph then encodes keys and does not say so. */
  async list(prefix: string, sending: Sending): Promise<readonly Upload[]> {
    const { Uploads = [] } = await this.#client.send(
      new ListMultipartUploadsCommand({ Bucket: this.#bucket, Prefix: prefix }),
      sending,
    );
    return Uploads.map(({ Key, UploadId }) => {
      if (!Key || !UploadId) return this.#missing(prefix, 'an upload in the list has no key or id');
      return { key: Key, id: UploadId };
    });
  }

  #missing(key: string, detail: string): never {
    throw new StoreError('bad-response', { bucket: this.#bucket, key }, detail);
  }
}

const SILENT: NonNullable<S3ClientConfig['logger']> = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
};
