import { randomUUID } from 'node:crypto';
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3';
import type { S3Credentials } from '../../src/ecs/s3-object-store.ts';

export interface S3Endpoint {
  readonly endpoint: string;
  readonly credentials: S3Credentials;
}

/**
 * A real store to test against, from DTOOL_ECS_TEST_ENDPOINT, DTOOL_ECS_TEST_ACCESS_KEY_ID and
 * DTOOL_ECS_TEST_SECRET_ACCESS_KEY; undefined where the first is not set.
 */
export function externalS3(): S3Endpoint | undefined {
  const endpoint = process.env['DTOOL_ECS_TEST_ENDPOINT'];
  if (endpoint === undefined) return undefined;
  const accessKeyId = process.env['DTOOL_ECS_TEST_ACCESS_KEY_ID'];
  const secretAccessKey = process.env['DTOOL_ECS_TEST_SECRET_ACCESS_KEY'];
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw new Error('DTOOL_ECS_TEST_ENDPOINT needs DTOOL_ECS_TEST_ACCESS_KEY_ID and _SECRET_ACCESS_KEY');
  }
  return { endpoint, credentials: { accessKeyId, secretAccessKey } };
}

/** Makes a bucket with a new name; `remove` deletes it with all that is in it. */
export async function makeBucket(
  server: S3Endpoint,
): Promise<{ readonly bucket: string; remove(): Promise<void> }> {
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  const client = new S3Client({
    ...server,
    region: 'us-east-1',
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  const Bucket = `dtool-ecs-mount-test-${randomUUID()}`;
  await client.send(new CreateBucketCommand({ Bucket }));
  return {
    bucket: Bucket,
    async remove() {
      for await (const page of paginateListObjectsV2({ client }, { Bucket, EncodingType: 'url' })) {
        for (const { Key = '' } of page.Contents ?? []) {
          const key = decodeURIComponent(Key.replaceAll('+', ' '));
          await client.send(new DeleteObjectCommand({ Bucket, Key: key }));
        }
      }
      await client.send(new DeleteBucketCommand({ Bucket }));
      client.destroy();
    },
  };
}
