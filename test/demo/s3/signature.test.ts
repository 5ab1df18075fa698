import { crc32 } from 'node:zlib';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { expect, test } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import type { S3Server } from '../../../src/demo/s3/server.ts';
import {
  ADMIN,
  bytesOf,
  client,
  errorOf,
  raw,
  start,
  WHEN_REQUIRED,
  type RawAnswer,
  hmac,
  sha256,
  sign,
} from './support.ts';

const Bucket = 'bucket';
const EMPTY = sha256('');

function put(server: S3Server, headers: Record<string, string>, body: Buffer | string): Promise<RawAnswer> {
  const length = String(Buffer.byteLength(body));
  const signed = sign(server, 'PUT', '/bucket/k', { headers: { 'content-length': length, ...headers } });
  return raw(server, 'PUT', '/bucket/k', signed.headers, body);
}

async function stored(server: S3Server): Promise<string> {
  const s3 = client(server);
  try {
    return (await bytesOf(await s3.send(new GetObjectCommand({ Bucket, Key: 'k' })))).toString();
  } finally {
    s3.destroy();
  }
}

test('credentials that are wrong are refused with the code that says why', async () => {
  const server = await start();
  const list = async (user = ADMIN, config = {}): Promise<string> => {
    const s3 = client(server, user, config);
    try {
      return await errorOf(s3.send(new ListObjectsV2Command({ Bucket })));
    } finally {
      s3.destroy();
    }
  };
  expect(await list()).toBe('no error');
  expect(await list({ ...ADMIN, secretAccessKey: 'bad' })).toBe('SignatureDoesNotMatch 403');
  expect(await list({ ...ADMIN, accessKeyId: 'NOSUCHKEY' })).toBe('InvalidAccessKeyId 403');
  expect(await list(ADMIN, { region: 'eu-central-1' })).toBe('AuthorizationHeaderMalformed 400');
  const credentials = { ...ADMIN, sessionToken: 'token' };
  expect(await list(ADMIN, { credentials })).toBe('InvalidToken 400');
  await server.putObject(Bucket, 'k', 'x');
  const anonymous = await raw(server, 'GET', '/bucket/k');
  expect([anonymous.status, anonymous.code]).toEqual([403, 'AccessDenied']);
  const old = await raw(server, 'GET', '/bucket/k', { authorization: `AWS ${ADMIN.accessKeyId}:sig` });
  expect([old.status, old.code]).toEqual([400, 'InvalidRequest']);
  const basic = await raw(server, 'GET', '/bucket/k', { authorization: 'Basic YTpi' });
  expect([basic.status, basic.code]).toEqual([400, 'InvalidArgument']);
});

test('a request may be off by 15 minutes and no more', async () => {
  let offset = 0;
  const server = await start({ clock: { ...systemClock, now: () => Date.now() + offset } });
  await server.putObject(Bucket, 'k', 'x');
  const get = async (): Promise<string> => {
    const { headers } = sign(server, 'GET', '/bucket/k', { headers: { 'x-amz-content-sha256': EMPTY } });
    const { status, code } = await raw(server, 'GET', '/bucket/k', headers);
    return `${status} ${code}`;
  };
  for (const minutes of [0, 14, -14]) {
    offset = minutes * 60_000;
    expect(await get()).toBe('200 undefined');
  }
  for (const minutes of [16, -16]) {
    offset = minutes * 60_000;
    expect(await get()).toBe('403 RequestTimeTooSkewed');
  }
});

test('an x-amz- header that is not signed is refused', async () => {
  const server = await start();
  const { headers } = sign(server, 'GET', '/bucket/k', { headers: { 'x-amz-content-sha256': EMPTY } });
  const answer = await raw(server, 'GET', '/bucket/k', { ...headers, 'x-amz-checksum-mode': 'ENABLED' });
  expect([answer.status, answer.code]).toEqual([403, 'AccessDenied']);
});

test('presigned URLs work until they expire, for what they were made', async () => {
  let offset = 0;
  const server = await start({ clock: { ...systemClock, now: () => Date.now() + offset } });
  await server.putObject(Bucket, 'a b+c', '0123456789');
  const s3 = client(server, ADMIN, WHEN_REQUIRED);
  const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'a b+c' }), { expiresIn: 60 });
  const ranged = await fetch(url, { headers: { range: 'bytes=0-2' } });
  expect([ranged.status, await ranged.text()]).toEqual([206, '012']);
  const tampered = await fetch(url.replace('a%20b%2Bc', 'other'));
  expect([tampered.status, (await tampered.text()).includes('SignatureDoesNotMatch')]).toEqual([403, true]);
  const overrides = {
    ResponseContentType: 'text/x-other',
    ResponseContentDisposition: 'attachment; filename="ü"',
  };
  const as = await fetch(
    await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'a b+c', ...overrides })),
  );
  expect(as.headers.get('content-type')).toBe('text/x-other');
  expect(Buffer.from(as.headers.get('content-disposition') ?? '', 'latin1').toString()).toBe(
    'attachment; filename="ü"',
  );
  await as.text();
  const injected = { ResponseContentType: 'a\r\nx: y' };
  const refused = await fetch(
    await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'a b+c', ...injected })),
  );
  expect([refused.status, (await refused.text()).includes('InvalidArgument')]).toEqual([400, true]);
  const write = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'k', Metadata: { a: 'b' } }));
  expect((await fetch(write, { method: 'PUT', body: 'presigned' })).status).toBe(200);
  expect(await stored(server)).toBe('presigned');
  offset = 61_000;
  const expired = await fetch(url);
  expect([expired.status, (await expired.text()).includes('Request has expired')]).toEqual([403, true]);
  s3.destroy();
});

test('the hash of the body is checked, and a body without one is taken', async () => {
  const server = await start();
  const wrong = await put(server, { 'x-amz-content-sha256': sha256('other') }, 'body');
  expect([wrong.status, wrong.code]).toEqual([400, 'XAmzContentSHA256Mismatch']);
  const junk = await put(server, { 'x-amz-content-sha256': 'junk' }, 'body');
  expect([junk.status, junk.code]).toEqual([400, 'InvalidArgument']);
  expect((await put(server, { 'x-amz-content-sha256': sha256('right') }, 'right')).status).toBe(200);
  expect(await stored(server)).toBe('right');
  expect((await put(server, { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }, 'unsigned')).status).toBe(200);
  expect(await stored(server)).toBe('unsigned');
});

test('metadata keeps its bytes, also those that are not ASCII', async () => {
  const server = await start();
  const value = Buffer.from('plain/ü 漢').toString('latin1');
  const answer = await put(server, { 'x-amz-content-sha256': sha256('x'), 'x-amz-meta-handle': value }, 'x');
  expect(answer.status).toBe(200);
  const { headers } = sign(server, 'HEAD', '/bucket/k', { headers: { 'x-amz-content-sha256': EMPTY } });
  expect((await raw(server, 'HEAD', '/bucket/k', headers)).headers['x-amz-meta-handle']).toBe(value);
  await server.putObject(Bucket, 'k', 'x', {
    metadata: { handle: 'plain/ü 漢' },
    lastModified: 1_500_000_000_000,
  });
  const seeded = await raw(server, 'HEAD', '/bucket/k', headers);
  expect(seeded.headers['x-amz-meta-handle']).toBe(value);
  expect(seeded.headers['last-modified']).toBe('Fri, 14 Jul 2017 02:40:00 GMT');
});

interface Chunked {
  readonly chunks?: readonly string[];
  readonly signed?: boolean;
  readonly trailer?: string;
  readonly decodedLength?: number;
  /** Changes the body after it was made. */
  readonly tamper?: (body: string) => string;
}

/** Sends an aws-chunked body. */
function putChunked(server: S3Server, options: Chunked): Promise<RawAnswer> {
  const { chunks = ['first chunk, ', 'second'], signed = false, trailer, tamper = (body) => body } = options;
  const kind = signed ? 'AWS4-HMAC-SHA256-PAYLOAD' : 'UNSIGNED-PAYLOAD';
  const headers = {
    'content-encoding': 'aws-chunked',
    'x-amz-content-sha256': `STREAMING-${kind}${trailer === undefined ? '' : '-TRAILER'}`,
    'x-amz-decoded-content-length': String(options.decodedLength ?? chunks.join('').length),
    ...(trailer === undefined ? {} : { 'x-amz-trailer': 'x-amz-checksum-crc32' }),
    'transfer-encoding': 'chunked',
  };
  const { headers: all, date, scope, key, seed } = sign(server, 'PUT', '/bucket/k', { headers });
  let previous = seed;
  let body = '';
  for (const chunk of [...chunks, '']) {
    const text = `AWS4-HMAC-SHA256-PAYLOAD\n${date}\n${scope}\n${previous}\n${EMPTY}\n${sha256(chunk)}`;
    previous = hmac(key, text).toString('hex');
    body += `${chunk.length.toString(16)}${signed ? `;chunk-signature=${previous}` : ''}\r\n`;
    if (chunk !== '') body += `${chunk}\r\n`;
  }
  if (trailer !== undefined) {
    body += `x-amz-checksum-crc32:${trailer}\r\n`;
    const text = `AWS4-HMAC-SHA256-TRAILER\n${date}\n${scope}\n${previous}\n${sha256(`x-amz-checksum-crc32:${trailer}\n`)}`;
    if (signed) body += `x-amz-trailer-signature:${hmac(key, text).toString('hex')}\r\n`;
  }
  return raw(server, 'PUT', '/bucket/k', all, tamper(`${body}\r\n`));
}

const second = (body: string): string => body.replace('second', 'altere');
const noTrailer = (body: string): string => body.replace(/x-amz-checksum-crc32:.*\r\n/, '');

test('aws-chunked bodies are decoded and all that they claim is checked', async () => {
  const server = await start();
  const content = 'first chunk, second';
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(content));
  const right = bytes.toString('base64');
  const outcome = async (options: Chunked): Promise<string> => {
    server.deleteObject(Bucket, 'k');
    const { status, code } = await putChunked(server, options);
    return status === 200 ? await stored(server) : `${status} ${code}`;
  };
  expect(await outcome({ signed: true })).toBe(content);
  expect(await outcome({ signed: true, trailer: right })).toBe(content);
  expect(await outcome({ trailer: right })).toBe(content);
  expect(await outcome({ signed: true, chunks: [] })).toBe('');
  expect(await outcome({ trailer: 'AAAAAA==' })).toBe('400 BadDigest');
  expect(await outcome({ signed: true, trailer: 'AAAAAA==' })).toBe('400 BadDigest');
  expect(await outcome({ signed: true, tamper: second })).toBe('403 SignatureDoesNotMatch');
  expect(await outcome({ trailer: right, tamper: second })).toBe('400 BadDigest');
  const otherTrailer = (body: string): string => body.replace(right, 'AAAAAA==');
  expect(await outcome({ signed: true, trailer: right, tamper: otherTrailer })).toBe(
    '403 SignatureDoesNotMatch',
  );
  expect(await outcome({ trailer: right, tamper: noTrailer })).toBe('400 MalformedTrailerError');
  expect(await outcome({ signed: true, tamper: (body) => body.slice(0, 120) })).toBe('400 IncompleteBody');
  expect(await outcome({ trailer: right, tamper: (body) => body + 'more' })).toBe('400 IncompleteBody');
  expect(await outcome({ trailer: right, tamper: () => 'zz\r\n' })).toBe('400 IncompleteBody');
  expect(await outcome({ trailer: right, decodedLength: 5 })).toBe('400 IncompleteBody');
  expect(await outcome({ trailer: right, decodedLength: 50 })).toBe('400 IncompleteBody');
});
