import { randomUUID } from 'node:crypto';
import { type DatasetSpec, datasetObjects } from '../../src/demo/dataset-objects.ts';
import { type S3Server, type S3ServerOptions, startS3Server } from '../../src/demo/s3/server.ts';
import { StoreError } from '../../src/ecs/object-store.ts';
import { createS3ObjectStore } from '../../src/ecs/s3-object-store.ts';
import { externalS3, makeBucket } from './s3-bucket.ts';

/** A bucket of its own for a test, on the embedded server or on the real store that the environment names. */
export interface TestBucket {
  readonly bucket: string;
  /** The configuration that a user of the bucket has. */
  readonly env: Readonly<Record<string, string>>;
  /** The embedded server; undefined on a real store. */
  readonly server: S3Server | undefined;
  /** @returns false when the store can't hold such an object: metadata with spaces at an end, on a real store */
  put(key: string, body: Buffer | string, options?: PutOptions): Promise<boolean>;
  putDataset(spec: DatasetSpec): Promise<void>;
  delete(key: string): Promise<void>;
  close(): Promise<void>;
}

interface PutOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch; a real store has its own. */
  readonly lastModified?: number;
}

/** Whether tests run against a real store. */
export const onRealStore = externalS3() !== undefined;

export function configurationOf(
  bucket: string,
  endpoint: string,
  keys: { readonly accessKeyId: string; readonly secretAccessKey: string },
): Record<string, string> {
  return {
    [`DTOOL_ECS_ENDPOINT_${bucket}`]: endpoint,
    [`DTOOL_ECS_ACCESS_KEY_ID_${bucket}`]: keys.accessKeyId,
    [`DTOOL_ECS_SECRET_ACCESS_KEY_${bucket}`]: keys.secretAccessKey,
  };
}

/** @param name of the bucket, for who has several; a real store gives it one of its own */
export async function createTestBucket(name?: string): Promise<TestBucket> {
  return onRealStore ? onExternalStore() : createEmbeddedBucket({}, name);
}

/** A bucket on the embedded server, for what a real store can't be made to do. */
export async function createEmbeddedBucket(
  options: Partial<S3ServerOptions> = {},
  bucket = 'test-bucket',
): Promise<TestBucket> {
  const keys = { accessKeyId: 'tester', secretAccessKey: randomUUID() };
  const server = await startS3Server({
    users: [{ name: 'tester', ...keys }],
    buckets: [bucket],
    ...options,
  });
  const put: TestBucket['put'] = async (key, body, putOptions = {}) => {
    await server.putObject(bucket, key, body, putOptions);
    return true;
  };
  return {
    bucket,
    env: configurationOf(bucket, server.endpoint, keys),
    server,
    put,
    putDataset: async (spec) => putDataset(put, spec),
    delete: async (key) => server.deleteObject(bucket, key),
    close: async () => server.close(),
  };
}

async function onExternalStore(): Promise<TestBucket> {
  const external = externalS3();
  if (!external) throw new Error('no real store is configured');
  const made = await makeBucket(external);
  const { bucket } = made;
  const store = createS3ObjectStore({
    bucket,
    endpoint: external.endpoint,
    credentials: async () => external.credentials,
  });
  const put: TestBucket['put'] = async (key, body, { metadata } = {}) => {
    try {
      await store.put(key, Buffer.from(body), metadata ? { metadata } : {});
      return true;
    } catch (error) {
      if (error instanceof StoreError && error.reason === 'bad-request') return false;
      throw error;
    }
  };
  return {
    bucket,
    env: configurationOf(bucket, external.endpoint, external.credentials),
    server: undefined,
    put,
    putDataset: async (spec) => putDataset(put, spec),
    delete: async (key) => store.delete(key),
    close: async () => {
      await made.remove();
      store.close();
    },
  };
}

const UPLOADS_AT_ONCE = 16;

async function putDataset(put: TestBucket['put'], spec: DatasetSpec): Promise<void> {
  const objects = datasetObjects(spec);
  const work = async (): Promise<void> => {
    for (const { key, body, metadata } of objects) await put(key, body, metadata ? { metadata } : {});
  };
  await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, work));
}
