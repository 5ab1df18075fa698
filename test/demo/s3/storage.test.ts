import { readdir, readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CreateMultipartUploadCommand,
  GetBucketPolicyCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketPolicyCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { expect, onTestFinished, test } from 'vitest';
import { startS3Server, type S3Server } from '../../../src/demo/s3/server.ts';
import { ADMIN, bytesOf, client, exchange, start, temporaryDirectory } from './support.ts';

const Bucket = 'bucket';

async function directory(): Promise<string> {
  const { path, remove } = await temporaryDirectory();
  onTestFinished(remove);
  return path;
}

async function run<T>(data: string, use: (server: S3Server) => Promise<T>): Promise<T> {
  const server = await startS3Server({ data, users: [ADMIN], buckets: [Bucket] });
  try {
    return await use(server);
  } finally {
    await server.close();
  }
}

test('a restarted server has everything that was stored, and nothing that was not finished', async () => {
  const data = await directory();
  const keys = ['a', 'a/b', '../../etc/passwd', 'ü/😀', '\0', 'k'.repeat(1024)];
  const Policy = JSON.stringify({
    Statement: { Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: 'arn:aws:s3:::bucket/*' },
  });
  const before = await run(data, async (server) => {
    const s3 = client(server);
    for (const key of keys) await server.putObject(Bucket, key, `content of ${key}`);
    const Metadata = { handle: 'aGFuZGxl', spaces: 'a  b' };
    const object = { Bucket, Key: 'sdk', Body: 'body', Metadata, ContentType: 'text/x-demo' };
    await s3.send(new PutObjectCommand(object));
    await s3.send(new PutObjectCommand({ Bucket, Key: 'replaced', Body: 'old' }));
    await s3.send(new PutObjectCommand({ Bucket, Key: 'replaced', Body: 'new' }));
    await server.putObject(Bucket, 'deleted', 'x');
    server.deleteObject(Bucket, 'deleted');
    await s3.send(new PutBucketPolicyCommand({ Bucket, Policy }));
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'mp' }));
    await s3.send(new UploadPartCommand({ Bucket, Key: 'mp', UploadId, PartNumber: 1, Body: 'part' }));
    const listed = await s3.send(new ListObjectsV2Command({ Bucket }));
    s3.destroy();
    return listed.Contents;
  });
  expect(before?.length).toBe(keys.length + 2);
  await run(data, async (server) => {
    const s3 = client(server);
    expect((await s3.send(new ListObjectsV2Command({ Bucket }))).Contents).toEqual(before);
    for (const Key of keys) {
      expect((await bytesOf(await s3.send(new GetObjectCommand({ Bucket, Key })))).toString()).toBe(
        `content of ${Key}`,
      );
    }
    expect(
      await s3.send(new HeadObjectCommand({ Bucket, Key: 'sdk', ChecksumMode: 'ENABLED' })),
    ).toMatchObject({
      Metadata: { handle: 'aGFuZGxl', spaces: 'a  b' },
      ContentType: 'text/x-demo',
      ChecksumCRC32: expect.any(String),
    });
    expect((await bytesOf(await s3.send(new GetObjectCommand({ Bucket, Key: 'replaced' })))).toString()).toBe(
      'new',
    );
    expect((await s3.send(new GetBucketPolicyCommand({ Bucket }))).Policy).toBe(Policy);
    s3.destroy();
  });
});

test('only the owner can read the files, and none is left of what failed', async () => {
  const data = await directory();
  await run(data, async (server) => {
    await server.putObject(Bucket, 'k', 'x');
    const s3 = client(server);
    const wrong = { Bucket, Key: 'wrong', Body: 'x', ChecksumCRC32: 'AAAAAA==' };
    await expect(s3.send(new PutObjectCommand(wrong))).rejects.toThrow('CRC32');
    s3.destroy();
    expect(await readdir(join(data, 'tmp'))).toEqual([]);
    for (const entry of await readdir(data, { recursive: true, withFileTypes: true })) {
      const { mode } = await stat(join(entry.parentPath, entry.name));
      expect(mode & 0o777).toBe(entry.isDirectory() ? 0o700 : 0o600);
    }
  });
});

test('a reader gets the whole object that it opened while the key is replaced', async () => {
  const data = await directory();
  await run(data, async (server) => {
    const size = 32 << 20;
    await server.putObject(Bucket, 'k', Buffer.alloc(size, 'a'));
    const s3 = client(server);
    const output = await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }));
    await server.putObject(Bucket, 'k', Buffer.alloc(size, 'b'));
    const bytes = await bytesOf(output);
    expect(bytes.length).toBe(size);
    expect(bytes.equals(Buffer.alloc(size, 'a'))).toBe(true);
    s3.destroy();
  });
});

test('a damaged file is named when the server starts', async () => {
  const data = await directory();
  await run(data, (server) => server.putObject(Bucket, 'k', 'content'));
  const objects = join(data, 'buckets', Bucket, 'objects');
  const [file] = (await readdir(objects, { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  );
  if (!file) throw new Error('The object has no file');
  const path = join(file.parentPath, file.name);
  await truncate(path, (await readFile(path)).length - 1);
  await expect(startS3Server({ data, users: [] })).rejects.toThrow(path);
});

test('metadata that no client could send is seeded and sent as it is', async () => {
  const server = await start();
  await server.putObject(Bucket, 'k', 'x', { metadata: { handle: ' trailing ü ' } });
  const s3 = client(server);
  const url = new URL(await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'k' })));
  s3.destroy();
  // Node's client takes the white space off, as HTTP has it; the bytes on the wire have it.
  const head = `GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nConnection: close\r\n\r\n`;
  const answer = Buffer.from(await exchange(server, head), 'latin1').toString();
  expect(answer).toContain('x-amz-meta-handle:  trailing ü \r\n');
});
