import { Readable } from 'node:stream';
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Fault, InterceptedRequest } from '../../../src/demo/s3/fault.ts';
import { startS3Server, type S3Server } from '../../../src/demo/s3/server.ts';
import { ADMIN, bytesOf, client, errorOf, exchange, raw, sign, start } from './support.ts';

const Bucket = 'bucket';

test('requests are counted by operation, those that fail as well', async () => {
  const server = await start();
  const s3 = client(server);
  await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'x' }));
  await errorOf(s3.send(new GetObjectCommand({ Bucket, Key: 'none' })));
  await errorOf(s3.send(new GetObjectCommand({ Bucket, Key: 'none' })));
  await s3.send(new HeadObjectCommand({ Bucket, Key: 'a' }));
  await s3.send(new ListObjectsV2Command({ Bucket }));
  await server.putObject(Bucket, 'b', 'not counted');
  expect(server.requestCounts()).toEqual({ PutObject: 1, GetObject: 2, HeadObject: 1, ListObjectsV2: 1 });
  server.resetRequestCounts();
  expect(server.requestCounts()).toEqual({});
  s3.destroy();
});

test('faults: what the hook asks for is what the client gets', async () => {
  let fault: Fault | undefined;
  const seen: Omit<InterceptedRequest, 'headers'>[] = [];
  const server = await start({
    intercept: async ({ operation, bucket, key, method }) => {
      seen.push({ operation, bucket, key, method });
      return fault;
    },
  });
  await server.putObject(Bucket, 'k', Buffer.alloc(100_000, 'x'));
  const s3 = client(server);
  const get = (signal?: AbortSignal) =>
    s3.send(new GetObjectCommand({ Bucket, Key: 'k' }), signal ? { abortSignal: signal } : {});
  expect((await bytesOf(await get())).length).toBe(100_000);
  expect(seen).toEqual([{ operation: 'GetObject', bucket: Bucket, key: 'k', method: 'GET' }]);

  fault = { kind: 'status', status: 503, code: 'SlowDown', message: 'Please reduce your request rate.' };
  expect(await errorOf(get())).toBe('SlowDown 503');
  fault = { kind: 'reset' };
  await expect(get()).rejects.toThrow(/ECONNRESET|socket hang up|aborted/);
  fault = { kind: 'truncate', bytes: 1000 };
  const url = new URL(await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'k' })));
  const head = `GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`;
  const [headers = '', body = ''] = (await exchange(server, head)).split('\r\n\r\n');
  expect(headers).toContain('Content-Length: 100000');
  expect(body).toBe('x'.repeat(1000));
  await expect(get().then(bytesOf)).rejects.toThrow(/aborted|terminated|ECONNRESET/);

  fault = { kind: 'no-answer' };
  const abort = new AbortController();
  const waiting = get(abort.signal);
  await expect.poll(() => seen.length).toBe(6);
  abort.abort();
  await expect(waiting).rejects.toThrow(/abort/);
  fault = { kind: 'stall', bytes: 1000 };
  const { Body } = await get();
  if (!(Body instanceof Readable)) throw new Error('The answer has no body');
  const first: unknown = (await Body[Symbol.asyncIterator]().next()).value;
  expect(String(first)).toMatch(/^x{1,1000}$/);
  fault = undefined;
  expect((await bytesOf(await get())).length).toBe(100_000);
  s3.destroy();
});

test('closing ends requests that are under way, and may be repeated', async () => {
  const server = await startS3Server({
    users: [ADMIN],
    buckets: [Bucket],
    intercept: () => Promise.resolve({ kind: 'no-answer' as const }),
  });
  const waiting = raw(server, 'GET', '/bucket/k');
  const refused = expect(waiting).rejects.toThrow(/hang up|ECONNRESET/);
  await expect.poll(() => server.requestCounts()).toEqual({ GetObject: 1 });
  await Promise.all([server.close(), server.close()]);
  await refused;
  await expect(raw(server, 'GET', '/')).rejects.toThrow('ECONNREFUSED');
});

test('a client that waits for 100 Continue gets it only once it may send', async () => {
  const server = await start();
  const refused = await exchange(
    server,
    `PUT /bucket/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n`,
  );
  expect(refused).toMatch(/^HTTP\/1\.1 403 /);
  expect(refused).toContain('<Code>AccessDenied</Code>');
  const s3 = client(server, ADMIN);
  const url = new URL(
    await getSignedUrl(
      client(server, ADMIN, { requestChecksumCalculation: 'WHEN_REQUIRED' }),
      new PutObjectCommand({ Bucket, Key: 'k' }),
    ),
  );
  const answer = await exchange(
    server,
    `PUT ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nbody`,
  );
  expect(answer).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
  expect((await bytesOf(await s3.send(new GetObjectCommand({ Bucket, Key: 'k' })))).toString()).toBe('body');
  s3.destroy();
});

/** Answers that HTTP and S3 allow: a status line, and an error document where there is a body. */
function expectWellFormed(answer: string, method: string): void {
  const [head = '', ...rest] = answer.split('\r\n\r\n');
  const body = rest.join('\r\n\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3}) [A-Za-z ]+\r\n/.exec(`${head}\r\n`)?.[1]);
  expect(status).toBeGreaterThanOrEqual(400);
  expect(status).not.toBe(500);
  if (method !== 'HEAD') {
    expect(body).toMatch(
      /^<\?xml version="1\.0" encoding="UTF-8"\?>\n<Error><Code>\w+<\/Code><Message>.*<\/Error>$/s,
    );
    expect(Number(/content-length: (\d+)/i.exec(head)?.[1])).toBe(body.length);
  }
}

test('whatever is asked, the answer is well-formed HTTP with an error document, and the server goes on', async () => {
  const server = await start();
  const signature = 'f'.repeat(64);
  const day = new Date().toISOString().slice(0, 10).replaceAll('-', '');
  const credential = `ADMINKEY/${day}/us-east-1/s3/aws4_request`;
  const method = fc.constantFrom(
    'GET',
    'HEAD',
    'PUT',
    'POST',
    'DELETE',
    'OPTIONS',
    'PATCH',
    'CONNECT',
    'PROPFIND',
    'BREW',
  );
  const segment = fc.oneof(
    fc.constantFrom('bucket', 'k', '%', '%zz', '%ff', '%00', '..', '', '%2F', '\u00ff', '*', 'http://x'),
    fc.string({ unit: 'binary-ascii', maxLength: 8 }),
  );
  const query = fc.oneof(
    fc.constantFrom(
      'uploads',
      'uploadId=x',
      'partNumber=0',
      'policy',
      'list-type=2',
      'max-keys=-1',
      'delete',
      'acl',
      '%',
      '=&&=',
      'versionId=1',
      `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${credential}&X-Amz-Date=${day}T000000Z&X-Amz-Expires=9&X-Amz-SignedHeaders=host&X-Amz-Signature=${signature}`,
      'X-Amz-Algorithm=x',
      `X-Amz-Signature=${signature}`,
    ),
    fc.string({ unit: 'binary-ascii', maxLength: 8 }),
  );
  const header = fc.oneof(
    fc.constantFrom(
      'Authorization: AWS4-HMAC-SHA256',
      'Authorization: Bearer x',
      'Authorization: AWS a:b',
      'Range: bytes=a',
      'Expect: nonsense',
      `Authorization: AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=host, Signature=${signature}`,
      `X-Amz-Date: ${day}T000000Z`,
      'X-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
      'X-Amz-Copy-Source: %',
      'x-amz-meta-\u00ff: \u00ff',
      'Content-MD5: x',
      'Upgrade: websocket',
      'Transfer-Encoding: chunked',
      'Content-Length: x',
      `X: ${'x'.repeat(20_000)}`,
    ),
    fc.string({ unit: 'binary-ascii', maxLength: 12 }).map((text) => `x-any: ${text}`),
    fc.string({ unit: 'binary-ascii', maxLength: 12 }),
  );
  const requests = fc.tuple(
    method,
    fc.array(segment, { maxLength: 3 }),
    fc.array(query, { maxLength: 2 }),
    fc.array(header, { maxLength: 3 }),
  );
  await fc.assert(
    fc.asyncProperty(requests, async ([verb, segments, queries, headers]) => {
      const target = `/${segments.join('/')}${queries.length > 0 ? `?${queries.join('&')}` : ''}`;
      const lines = [
        `${verb} ${target} HTTP/1.1`,
        'Host: 127.0.0.1',
        'Connection: close',
        ...headers,
        '',
        '',
      ];
      // The end of a chunked body, which nothing else takes for more than another broken request.
      const text = `${lines.join('\r\n')}0\r\n\r\n`;
      expectWellFormed(await exchange(server, Buffer.from(text, 'latin1')), verb);
    }),
    { numRuns: 400 },
  );
  await expectAlive(server);
});

async function expectAlive(server: S3Server): Promise<void> {
  const s3 = client(server);
  // One that none of the requests can have deleted.
  const object = { Bucket: 'afterwards', Key: 'k' };
  server.createBucket(object.Bucket);
  await s3.send(new PutObjectCommand({ ...object, Body: 'still there' }));
  expect((await bytesOf(await s3.send(new GetObjectCommand(object)))).toString()).toBe('still there');
  s3.destroy();
}

const PARAMETERS =
  'acl continuation-token delete delimiter encoding-type key-marker list-type location marker max-keys max-parts ' +
  'max-uploads part-number-marker partNumber policy prefix response-content-type start-after uploadId uploads versionId';
const HEADERS =
  'content-md5 if-match if-modified-since if-none-match range x-amz-checksum-crc32 x-amz-checksum-mode ' +
  'x-amz-copy-source x-amz-meta-a x-amz-metadata-directive x-amz-trailer';

test('requests of somebody who may do everything are answered well-formed, too, whatever they ask', async () => {
  const server = await start();
  const method = fc.constantFrom('GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'OPTIONS', 'PATCH');
  const path = fc.oneof(
    fc.constantFrom('/', '/bucket', '/bucket/', '/bucket/k', '/none/k', '/Bad_Name', '//'),
    fc.string({ unit: 'grapheme', maxLength: 6 }).map((key) => `/bucket/${key}`),
  );
  const name = fc.constantFrom(...PARAMETERS.split(' '));
  const value = fc.oneof(
    fc.constantFrom('', '2', '-1', '0', 'url', '99999999999'),
    fc.string({ unit: 'grapheme', maxLength: 6 }),
  );
  const headerName = fc.constantFrom(...HEADERS.split(' '));
  const headerValue = fc.oneof(
    fc.constantFrom('*', 'bytes=0-0', 'AAAAAA==', '/bucket/k', '%', 'REPLACE', 'x-amz-checksum-sha1'),
    fc.stringMatching(/^[ -~]{0,8}$/),
  );
  const body = fc.oneof(
    fc.constantFrom(
      '',
      '<',
      '<Delete/>',
      '<Delete><Object><Key>k</Key></Object></Delete>',
      '<!DOCTYPE a><a/>',
      '{"Statement":[]}',
    ),
    fc.constantFrom(
      '<CreateBucketConfiguration/>',
      '<CompleteMultipartUpload><Part/></CompleteMultipartUpload>',
    ),
    fc.string({ maxLength: 20 }),
  );
  const query = fc.array(fc.tuple(name, value), { maxLength: 3 });
  const headers = fc.dictionary(headerName, headerValue, { maxKeys: 3 });
  await fc.assert(
    fc.asyncProperty(method, path, query, headers, body, async (verb, resource, params, more, content) => {
      const target = sign(server, verb, resource, {
        query: params,
        headers: { ...more, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' },
      });
      const answer = await raw(server, verb, target.path, target.headers, content);
      expect(answer.status).not.toBe(500);
      // Whatever is wrong with the request, it is not its signature.
      expect(answer.code).not.toBe('SignatureDoesNotMatch');
      if (answer.status >= 400 && verb !== 'HEAD') expect(answer.code).toMatch(/^\w+$/);
      if (answer.status < 400) expect(answer.code).toBeUndefined();
    }),
    { numRuns: 600 },
  );
  await expectAlive(server);
});
