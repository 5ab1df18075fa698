import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3';
import type { DatasetObject } from '../../src/demo/dataset-objects.ts';
import { forEachBounded } from '../../src/for-each-bounded.ts';
import type { Server } from './server.ts';

const REQUESTS_AT_ONCE = 32;

/** A bucket to work on. */
export class BenchBucket {
  readonly name: string;
  readonly #client: S3Client;

  private constructor(name: string, client: S3Client) {
    this.name = name;
    this.#client = client;
  }

  static async create({ endpoint, keys }: Server, name: string): Promise<BenchBucket> {
    const credentials = { accessKeyId: keys.id, secretAccessKey: keys.secret };
    process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
    const client = new S3Client({
      endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials,
      requestChecksumCalculation: 'WHEN_REQUIRED',
    });
    await client.send(new CreateBucketCommand({ Bucket: name }));
    return new BenchBucket(name, client);
  }

  /** Puts objects in any order, many at once. */
  async put(objects: Iterable<DatasetObject>): Promise<void> {
    await forEachBounded(objects, REQUESTS_AT_ONCE, async ({ key, body, metadata }) => {
      const Metadata = metadata && { ...metadata };
      await this.#client.send(new PutObjectCommand({ Bucket: this.name, Key: key, Body: body, Metadata }));
    });
  }

  /** The key of the first object that has so many bytes. */
  async keyOfSize(bytes: number): Promise<string> {
    for await (const page of this.#pages()) {
      const found = page.Contents?.find(({ Size }) => Size === bytes);
      if (found?.Key !== undefined) return found.Key;
    }
    throw new Error(`nothing in ${this.name} has ${bytes} bytes`);
  }

  /** Deletes all that is in it. */
  async empty(): Promise<void> {
    for await (const { Contents = [] } of this.#pages()) {
      const Objects = Contents.map(({ Key }) => ({ Key }));
      if (Objects.length === 0) continue;
      await this.#client.send(
        new DeleteObjectsCommand({ Bucket: this.name, Delete: { Objects, Quiet: true } }),
      );
    }
  }

  async remove(): Promise<void> {
    await this.empty();
    await this.#client.send(new DeleteBucketCommand({ Bucket: this.name }));
    this.#client.destroy();
  }

  #pages(): ReturnType<typeof paginateListObjectsV2> {
    return paginateListObjectsV2({ client: this.#client }, { Bucket: this.name });
  }
}
