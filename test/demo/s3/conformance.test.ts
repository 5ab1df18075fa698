import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketLocationCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  UploadPartCommand,
  type CompleteMultipartUploadCommandInput,
  type S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { S3Server } from '../../../src/demo/s3/server.ts';
import { bytesOf, client, errorOf, start, temporaryDirectory, WHEN_REQUIRED } from './support.ts';

const Bucket = 'bucket';
const small = Buffer.from('hello dtool');
const big = randomBytes(3 << 20);
const md5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex');
const stream = (): Readable =>
  Readable.from(
    (function* () {
      for (let i = 0; i < big.length; i += 65_536) yield big.subarray(i, i + 65_536);
    })(),
    { objectMode: false },
  );

const deleteAll = (s3: S3Client, keys: readonly string[], Quiet: boolean) =>
  s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })), Quiet } }));

describe.each(['memory', 'directory'])('S3 operations with storage in %s', (storage) => {
  let server: S3Server;
  let byDefault: S3Client;
  let required: S3Client;
  let removeDirectory: (() => Promise<void>) | undefined;

  beforeAll(async () => {
    const directory = storage === 'directory' ? await temporaryDirectory() : undefined;
    removeDirectory = directory?.remove;
    server = await start(directory ? { data: directory.path } : {}, true);
    byDefault = client(server);
    required = client(server, undefined, WHEN_REQUIRED);
  });
  afterAll(async () => {
    byDefault.destroy();
    required.destroy();
    await server.close();
    await removeDirectory?.();
  });
  const put = (Key: string, Body: Buffer | string = small, more = {}) =>
    byDefault.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));
  const get = async (Key: string, more = {}) =>
    bytesOf(await byDefault.send(new GetObjectCommand({ Bucket, Key, ...more })));
  const head = (Key: string, more = {}) => byDefault.send(new HeadObjectCommand({ Bucket, Key, ...more }));

  test('buckets are created, listed, found and deleted', async () => {
    await byDefault.send(new CreateBucketCommand({ Bucket: 'other-bucket' }));
    expect(await errorOf(byDefault.send(new CreateBucketCommand({ Bucket: 'other-bucket' })))).toBe(
      'BucketAlreadyOwnedByYou 409',
    );
    expect(await errorOf(byDefault.send(new CreateBucketCommand({ Bucket: 'No_Bucket' })))).toBe(
      'InvalidBucketName 400',
    );
    const elsewhere = {
      Bucket: 'third',
      CreateBucketConfiguration: { LocationConstraint: 'eu-west-1' as const },
    };
    expect(await errorOf(byDefault.send(new CreateBucketCommand(elsewhere)))).toBe(
      'IllegalLocationConstraintException 400',
    );
    const listed = await byDefault.send(new ListBucketsCommand({}));
    expect(listed.Buckets?.map(({ Name }) => Name)).toEqual(['bucket', 'other-bucket']);
    await byDefault.send(new HeadBucketCommand({ Bucket: 'other-bucket' }));
    expect(await errorOf(byDefault.send(new HeadBucketCommand({ Bucket: 'nope-nope' })))).toBe(
      'NotFound 404',
    );
    const location = await byDefault.send(new GetBucketLocationCommand({ Bucket }));
    expect(location.LocationConstraint).toBeUndefined();
    await byDefault.send(new PutObjectCommand({ Bucket: 'other-bucket', Key: 'k', Body: 'x' }));
    expect(await errorOf(byDefault.send(new DeleteBucketCommand({ Bucket: 'other-bucket' })))).toBe(
      'BucketNotEmpty 409',
    );
    await byDefault.send(new DeleteObjectCommand({ Bucket: 'other-bucket', Key: 'k' }));
    await byDefault.send(new DeleteBucketCommand({ Bucket: 'other-bucket' }));
    expect(await errorOf(byDefault.send(new ListObjectsV2Command({ Bucket: 'other-bucket' })))).toBe(
      'NoSuchBucket 404',
    );
  });

  test('a body in memory arrives, with and without a checksum', async () => {
    const withChecksum = await put('a/def');
    expect(withChecksum).toMatchObject({ ETag: `"${md5(small)}"`, ChecksumCRC32: 'nBrHmw==' });
    const without = await required.send(new PutObjectCommand({ Bucket, Key: 'a/req', Body: small }));
    expect(without.ETag).toBe(`"${md5(small)}"`);
    expect(without.ChecksumCRC32).toBeUndefined();
    expect(await get('a/def')).toEqual(small);
    expect((await head('a/def', { ChecksumMode: 'ENABLED' })).ChecksumCRC32).toBe('nBrHmw==');
    expect((await head('a/req', { ChecksumMode: 'ENABLED' })).ChecksumCRC32).toBeUndefined();
    await put('a/sha256', small, { ChecksumAlgorithm: 'SHA256' });
    expect((await head('a/sha256', { ChecksumMode: 'ENABLED' })).ChecksumSHA256).toBe(
      createHash('sha256').update(small).digest('base64'),
    );
  });

  test('a stream arrives, in aws-chunked with a trailer and plain', async () => {
    for (const [Key, s3] of [
      ['a/stream-def', byDefault],
      ['a/stream-req', required],
    ] as const) {
      await s3.send(new PutObjectCommand({ Bucket, Key, Body: stream(), ContentLength: big.length }));
      expect((await get(Key)).equals(big)).toBe(true);
      const { ContentEncoding, ETag } = await head(Key);
      expect(ContentEncoding).toBeUndefined();
      expect(ETag).toBe(`"${md5(big)}"`);
    }
    await put('a/gzip', small, { ContentEncoding: 'gzip' });
    expect((await head('a/gzip')).ContentEncoding).toBe('gzip');
  });

  test('an upload whose digest is wrong is refused and leaves nothing', async () => {
    const wrong = [
      [{ ContentMD5: createHash('md5').update('x').digest('base64') }, 'BadDigest 400'],
      [{ ContentMD5: 'no base64' }, 'InvalidDigest 400'],
      [{ ChecksumCRC32: 'AAAAAA==' }, 'BadDigest 400'],
      [{ ChecksumSHA1: createHash('sha1').digest('base64') }, 'BadDigest 400'],
      [{ ChecksumSHA256: createHash('sha256').digest('base64') }, 'BadDigest 400'],
      [{ ChecksumCRC32: 'AAAA' }, 'InvalidRequest 400'],
    ] as const;
    for (const [more, expected] of wrong) expect(await errorOf(put('a/bad', small, more))).toBe(expected);
    expect(await errorOf(head('a/bad'))).toBe('NotFound 404');
    await required.send(
      new PutObjectCommand({
        Bucket,
        Key: 'a/good',
        Body: small,
        ContentMD5: createHash('md5').update(small).digest('base64'),
      }),
    );
    expect(await get('a/good')).toEqual(small);
  });

  test('metadata and content headers come back as they were', async () => {
    const Metadata = {
      handle: Buffer.from('réal Ünïcode/path ü.txt').toString('base64'),
      checksum: 'd41d8cd98f00b204e9800998ecf8427e',
      'mixed-key': 'Value With  Spaces ~!@#$%^&*()',
    };
    const before = Math.floor(Date.now() / 1000) * 1000;
    await put('m/1', small, { Metadata, ContentType: 'text/x-demo', CacheControl: 'no-store' });
    const output = await head('m/1');
    expect(output).toMatchObject({
      Metadata,
      ContentLength: small.length,
      ContentType: 'text/x-demo',
      CacheControl: 'no-store',
      ETag: `"${md5(small)}"`,
      AcceptRanges: 'bytes',
    });
    expect(output.LastModified?.getTime()).toBeGreaterThanOrEqual(before);
    expect(output.LastModified?.getTime()).toBeLessThanOrEqual(Date.now());
    await put('m/plain');
    expect((await head('m/plain')).ContentType).toBe('application/octet-stream');
    await put('m/full', small, { Metadata: { n: 'x'.repeat(2047) } });
    expect(await errorOf(put('m/over', small, { Metadata: { n: 'x'.repeat(2048) } }))).toBe(
      'MetadataTooLarge 400',
    );
  });

  test('what is not there is NoSuchKey, and an empty object is there', async () => {
    expect(await errorOf(head('nope'))).toBe('NotFound 404');
    expect(await errorOf(get('nope'))).toBe('NoSuchKey 404');
    await put('z/0', Buffer.alloc(0));
    expect(await get('z/0')).toEqual(Buffer.alloc(0));
    expect((await head('z/0')).ContentLength).toBe(0);
    expect(await errorOf(get('z/0', { Range: 'bytes=0-0' }))).toBe('InvalidRange 416');
    await byDefault.send(new DeleteObjectCommand({ Bucket, Key: 'z/0' }));
    await byDefault.send(new DeleteObjectCommand({ Bucket, Key: 'z/0' }));
    expect(await errorOf(get('z/0'))).toBe('NoSuchKey 404');
  });

  test('ranges', async () => {
    const Key = 'r/big';
    await put(Key, big);
    const ranged = await byDefault.send(new GetObjectCommand({ Bucket, Key, Range: 'bytes=100-199' }));
    expect(ranged.$metadata.httpStatusCode).toBe(206);
    expect(ranged.ContentRange).toBe(`bytes 100-199/${big.length}`);
    expect(await bytesOf(ranged)).toEqual(big.subarray(100, 200));
    expect(await get(Key, { Range: 'bytes=-10' })).toEqual(big.subarray(-10));
    expect(await get(Key, { Range: `bytes=${big.length - 5}-` })).toEqual(big.subarray(-5));
    expect(await get(Key, { Range: `bytes=${big.length - 5}-${big.length + 100}` })).toEqual(
      big.subarray(-5),
    );
    expect(await errorOf(get(Key, { Range: `bytes=${big.length}-` }))).toBe('InvalidRange 416');
    expect((await get(Key, { Range: 'bytes=0-1,4-5' })).length).toBe(big.length);
    const { ContentLength, ContentRange } = await head(Key, { Range: 'bytes=5-9' });
    expect([ContentLength, ContentRange]).toEqual([5, `bytes 5-9/${big.length}`]);
  });

  test('conditions of reads', async () => {
    await put('c/1');
    const { ETag, LastModified } = await head('c/1');
    if (!ETag || !LastModified) throw new Error('HEAD told no ETag or date');
    const other = '"00000000000000000000000000000000"';
    const earlier = new Date(LastModified.getTime() - 60_000);
    expect(await get('c/1', { IfMatch: ETag })).toEqual(small);
    expect(await errorOf(get('c/1', { IfMatch: other }))).toBe('PreconditionFailed 412');
    expect((await errorOf(get('c/1', { IfNoneMatch: ETag }))).endsWith(' 304')).toBe(true);
    expect(await get('c/1', { IfNoneMatch: other })).toEqual(small);
    expect((await errorOf(get('c/1', { IfModifiedSince: LastModified }))).endsWith(' 304')).toBe(true);
    expect(await get('c/1', { IfModifiedSince: earlier })).toEqual(small);
    expect(await errorOf(get('c/1', { IfUnmodifiedSince: earlier }))).toBe('PreconditionFailed 412');
    expect(await get('c/1', { IfUnmodifiedSince: LastModified })).toEqual(small);
    expect(await get('c/1', { IfMatch: ETag, IfUnmodifiedSince: earlier })).toEqual(small);
    expect(await get('c/1', { IfNoneMatch: other, IfModifiedSince: LastModified })).toEqual(small);
  });

  test('conditions of writes', async () => {
    await put('w/1', small, { IfNoneMatch: '*' });
    expect(await errorOf(put('w/1', 'OVERWRITE', { IfNoneMatch: '*' }))).toBe('PreconditionFailed 412');
    expect(await get('w/1')).toEqual(small);
    expect(await errorOf(put('w/1', 'x', { IfNoneMatch: `"${md5(small)}"` }))).toBe('NotImplemented 501');
    expect(await errorOf(put('w/1', 'x', { IfMatch: '"0"' }))).toBe('PreconditionFailed 412');
    expect(await errorOf(put('w/none', 'x', { IfMatch: '"0"' }))).toBe('NoSuchKey 404');
    await put('w/1', 'changed', { IfMatch: `"${md5(small)}"` });
    expect((await get('w/1')).toString()).toBe('changed');
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, i) => errorOf(put('w/race', `writer ${i}`, { IfNoneMatch: '*' }))),
    );
    expect(results.filter((result) => result === 'no error').length).toBe(1);
    expect(results.filter((result) => result === 'PreconditionFailed 412').length).toBe(7);
  });

  test('copies', async () => {
    await put('cp/1', small, { Metadata: { a: 'b' }, ContentType: 'text/a' });
    const copy = (Key: string, more = {}) =>
      byDefault.send(new CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/cp/1`, ...more }));
    expect((await copy('cp/2')).CopyObjectResult?.ETag).toBe(`"${md5(small)}"`);
    expect(await head('cp/2')).toMatchObject({ Metadata: { a: 'b' }, ContentType: 'text/a' });
    expect(await get('cp/2')).toEqual(small);
    await copy('cp/1', { MetadataDirective: 'REPLACE', Metadata: { c: 'd' }, ContentType: 'text/c' });
    expect(await head('cp/1')).toMatchObject({ Metadata: { c: 'd' }, ContentType: 'text/c' });
    expect(await get('cp/1')).toEqual(small);
    expect(await errorOf(copy('cp/1'))).toBe('InvalidRequest 400');
    expect(await errorOf(copy('cp/3', { CopySource: `${Bucket}/nope` }))).toBe('NoSuchKey 404');
    expect(await errorOf(copy('cp/3', { CopySourceIfMatch: '"0"' }))).toBe('PreconditionFailed 412');
    expect(await errorOf(copy('cp/3', { CopySourceIfNoneMatch: '*' }))).toBe('PreconditionFailed 412');
  });

  test('odd keys', async () => {
    const keys = [
      'sp ace+plus%25',
      'ü-ñ',
      'a&b<c>',
      'q?x=1#h',
      "'()!*",
      '../..',
      'a//b',
      '/lead',
      'tail/',
      '😀',
      '\ufb01',
    ];
    const full = keys.map((key) => `o/${key}`);
    for (const key of full) await put(key, key);
    for (const key of full) expect((await get(key)).toString()).toBe(key);
    const byBytes = full.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const listed = await byDefault.send(new ListObjectsV2Command({ Bucket, Prefix: 'o/' }));
    expect(listed.Contents?.map(({ Key }) => Key)).toEqual(byBytes);
    const encoded = await byDefault.send(
      new ListObjectsV2Command({ Bucket, Prefix: 'o/', EncodingType: 'url' }),
    );
    expect(encoded.Contents?.map(({ Key }) => decodeURIComponent(Key ?? ''))).toEqual(byBytes);
    expect(encoded.Contents?.some(({ Key }) => Key === 'o/sp%20ace%2Bplus%2525')).toBe(true);
    const { Deleted, Errors } = await byDefault.send(
      new DeleteObjectsCommand({ Bucket, Delete: { Objects: full.map((Key) => ({ Key })) } }),
    );
    expect(Deleted?.map(({ Key }) => Key)).toEqual(full);
    expect(Errors).toBeUndefined();
    expect((await byDefault.send(new ListObjectsV2Command({ Bucket, Prefix: 'o/' }))).KeyCount).toBe(0);
    expect(await errorOf(put('k'.repeat(1024)))).toBe('no error');
    expect(await errorOf(put('k'.repeat(1025)))).toBe('KeyTooLongError 400');
  });

  test('2,500 keys: pages, delimiters, start-after, version 1, and deletion', async () => {
    const names = Array.from(
      { length: 2500 },
      (_, n) => `l/${String(n % 25).padStart(2, '0')}/k${String(n).padStart(5, '0')}`,
    );
    for (const name of names) await server.putObject(Bucket, name, 'x');
    const sorted = names.toSorted();
    const v2 = (more: object) => byDefault.send(new ListObjectsV2Command({ Bucket, Prefix: 'l/', ...more }));
    const collect = async (more: object): Promise<{ found: string[]; pages: number[] }> => {
      const found: string[] = [];
      const pages: number[] = [];
      let ContinuationToken: string | undefined;
      do {
        const page = await v2({ ...more, ContinuationToken });
        const entries = [
          ...(page.Contents ?? []).map(({ Key }) => Key),
          ...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix),
        ];
        expect(page.KeyCount).toBe(entries.length);
        expect(page.IsTruncated).toBe(page.NextContinuationToken !== undefined);
        found.push(...entries.map(String));
        pages.push(entries.length);
        ContinuationToken = page.NextContinuationToken;
      } while (ContinuationToken !== undefined);
      return { found, pages };
    };
    expect(await collect({})).toEqual({ found: sorted, pages: [1000, 1000, 500] });
    expect((await collect({ MaxKeys: 5000 })).pages).toEqual([1000, 1000, 500]);
    const prefixes = Array.from({ length: 25 }, (_, n) => `l/${String(n).padStart(2, '0')}/`);
    expect(await collect({ Delimiter: '/' })).toEqual({ found: prefixes, pages: [25] });
    expect(await collect({ Delimiter: '/', MaxKeys: 10 })).toEqual({ found: prefixes, pages: [10, 10, 5] });
    expect((await collect({ StartAfter: 'l/24/k02400' })).found).toEqual(
      sorted.filter((key) => key > 'l/24/k02400'),
    );
    expect(await v2({ MaxKeys: 0 })).toMatchObject({ KeyCount: 0, IsTruncated: false, MaxKeys: 0 });
    expect(await errorOf(v2({ ContinuationToken: '???' }))).toBe('InvalidArgument 400');

    const first: string[] = [];
    let Marker: string | undefined;
    do {
      const page = await byDefault.send(new ListObjectsCommand({ Bucket, Prefix: 'l/', Marker }));
      first.push(...(page.Contents ?? []).map(({ Key }) => String(Key)));
      Marker = page.NextMarker;
    } while (Marker !== undefined);
    expect(first).toEqual(sorted);

    expect((await deleteAll(byDefault, sorted.slice(0, 1000), false)).Deleted?.length).toBe(1000);
    const quiet = await deleteAll(required, sorted.slice(1000, 1010), true);
    expect([quiet.Deleted, quiet.Errors]).toEqual([undefined, undefined]);
    expect((await collect({})).found).toEqual(sorted.slice(1010));
    expect(
      await errorOf(
        deleteAll(
          byDefault,
          Array.from({ length: 1001 }, (_, i) => `n${i}`),
          true,
        ),
      ),
    ).toBe('MalformedXML 400');
  });

  async function multipart(
    s3: S3Client,
    Key: string,
    parts: readonly Buffer[],
    more: Partial<CompleteMultipartUploadCommandInput> = {},
  ) {
    const { UploadId } = await s3.send(
      new CreateMultipartUploadCommand({
        Bucket,
        Key,
        Metadata: { checksum: 'abc' },
        ...(s3 === byDefault ? { ChecksumAlgorithm: 'CRC32' } : {}),
      }),
    );
    const Parts = await Promise.all(
      parts.map(async (Body, i) => {
        const part = { Bucket, Key, UploadId, PartNumber: i + 1, Body };
        const { ETag, ChecksumCRC32 } = await s3.send(new UploadPartCommand(part));
        return { PartNumber: i + 1, ETag, ChecksumCRC32 };
      }),
    );
    const complete = { Bucket, Key, UploadId, MultipartUpload: { Parts }, ...more };
    return s3.send(new CompleteMultipartUploadCommand(complete));
  }

  test('multipart uploads', async () => {
    const parts = [randomBytes(5 << 20), randomBytes(1 << 20)];
    const whole = Buffer.concat(parts);
    const etag = `"${md5(Buffer.concat(parts.map((part) => createHash('md5').update(part).digest())))}-2"`;
    const crcs = parts.map((part) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(crc32(part));
      return bytes;
    });
    const composite = Buffer.alloc(4);
    composite.writeUInt32BE(crc32(Buffer.concat(crcs)));
    const crc = `${composite.toString('base64')}-2`;
    for (const [Key, s3] of [
      ['mp/def', byDefault],
      ['mp/req', required],
    ] as const) {
      const output = await multipart(s3, Key, parts);
      expect(output.ETag).toBe(etag);
      expect(output.ChecksumCRC32).toBe(s3 === byDefault ? crc : undefined);
      expect((await get(Key)).equals(whole)).toBe(true);
      expect(await get(Key, { Range: `bytes=${(5 << 20) - 2}-${(5 << 20) + 1}` })).toEqual(
        whole.subarray((5 << 20) - 2, (5 << 20) + 2),
      );
      expect(await head(Key)).toMatchObject({ Metadata: { checksum: 'abc' }, ETag: etag });
    }
    expect(await errorOf(multipart(byDefault, 'mp/req', parts, { IfNoneMatch: '*' }))).toBe(
      'PreconditionFailed 412',
    );
    expect(await errorOf(multipart(byDefault, 'mp/small', [small, small]))).toBe('EntityTooSmall 400');
    const wrong = { MultipartUpload: { Parts: [{ PartNumber: 1, ETag: '"0"' }] } };
    expect(await errorOf(multipart(byDefault, 'mp/wrong', [small], wrong))).toBe('InvalidPart 400');
    const order = {
      MultipartUpload: { Parts: [2, 1].map((PartNumber) => ({ PartNumber, ETag: `"${md5(small)}"` })) },
    };
    expect(await errorOf(multipart(byDefault, 'mp/order', [small, small], order))).toMatch(
      /EntityTooSmall|InvalidPartOrder/,
    );
    expect(await errorOf(multipart(byDefault, 'mp/none', [small], { UploadId: 'nope' }))).toBe(
      'NoSuchUpload 404',
    );
  });

  test('multipart uploads in progress are listed and aborted', async () => {
    const Key = 'abort/1';
    const { UploadId } = await byDefault.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const part = (PartNumber: number, Body: string) =>
      byDefault.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
    await part(2, 'two');
    await part(1, 'one, replaced');
    await part(1, 'one');
    const uploads = await byDefault.send(new ListMultipartUploadsCommand({ Bucket, Prefix: 'abort/' }));
    expect(uploads.Uploads?.map((upload) => [upload.Key, upload.UploadId])).toEqual([[Key, UploadId]]);
    const listed = await byDefault.send(new ListPartsCommand({ Bucket, Key, UploadId }));
    expect(listed.Parts?.map(({ PartNumber, Size, ETag }) => [PartNumber, Size, ETag])).toEqual([
      [1, 3, `"${md5(Buffer.from('one'))}"`],
      [2, 3, `"${md5(Buffer.from('two'))}"`],
    ]);
    const second = await byDefault.send(
      new ListPartsCommand({ Bucket, Key, UploadId, PartNumberMarker: '1' }),
    );
    expect(second.Parts?.map(({ PartNumber }) => PartNumber)).toEqual([2]);
    await byDefault.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }));
    expect(await errorOf(part(3, 'x'))).toBe('NoSuchUpload 404');
    expect(await errorOf(head(Key))).toBe('NotFound 404');
    const after = await byDefault.send(new ListMultipartUploadsCommand({ Bucket, Prefix: 'abort/' }));
    expect(after.Uploads).toBeUndefined();
  });

  test('what is left out says so', async () => {
    expect(await errorOf(byDefault.send(new GetObjectTaggingCommand({ Bucket, Key: 'm/1' })))).toBe(
      'NotImplemented 501',
    );
    const VersioningConfiguration = { Status: 'Enabled' } as const;
    expect(
      await errorOf(byDefault.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }))),
    ).toBe('NotImplemented 501');
    expect(await errorOf(put('acl', small, { ACL: 'public-read' }))).toBe('NotImplemented 501');
    expect(await errorOf(put('tags', small, { Tagging: 'a=b' }))).toBe('NotImplemented 501');
    expect(await errorOf(get('m/1', { VersionId: 'v1' }))).toBe('NotImplemented 501');
  });
});
