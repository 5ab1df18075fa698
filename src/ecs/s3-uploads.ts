import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { type CompletedPart, StoreError, type Upload } from './object-store.ts';

/** Options of a send. */
export interface Sending {
  readonly abortSignal?: AbortSignal;
}

/** The requests of multipart uploads, as the SDK makes them. They throw what the SDK throws. */
export class S3Uploads {
  readonly #client: S3Client;
  readonly #bucket: string;

  constructor(client: S3Client, bucket: string) {
    this.#client = client;
    this.#bucket = bucket;
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
