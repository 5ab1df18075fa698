import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';

/**
 * What anybody would write to upload a file with the SDK: `node plain-upload.js FILE ENDPOINT BUCKET KEY`, with the
 * access key in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
 */
const [file = '', endpoint = '', Bucket = '', Key = ''] = process.argv.slice(2);
const client = new S3Client({
  endpoint,
  region: 'us-east-1',
  forcePathStyle: true,
  requestChecksumCalculation: 'WHEN_REQUIRED',
});
await client.send(
  new PutObjectCommand({
    Bucket,
    Key,
    Body: createReadStream(file, { highWaterMark: 1 << 20 }),
    ContentLength: (await stat(file)).size,
  }),
);
client.destroy();
