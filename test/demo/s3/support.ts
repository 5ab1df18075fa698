import { createHash, createHmac } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  S3Client,
  S3ServiceException,
  type GetObjectCommandOutput,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { onTestFinished } from 'vitest';
import { startS3Server, type S3Server, type S3ServerOptions } from '../../../src/demo/s3/server.ts';

export const ADMIN = { accessKeyId: 'ADMINKEY', secretAccessKey: 'admin-secret', name: 'admin' };
export const ALICE = {
  accessKeyId: 'ALICEKEY',
  secretAccessKey: 'alice-secret',
  name: 'alice',
  policy: { Statement: [] },
};
export const BOB = {
  accessKeyId: 'BOBKEY',
  secretAccessKey: 'bob-secret',
  name: 'bob',
  policy: { Statement: [] },
};

/** A server with three users and the bucket `bucket`; it ends with the test unless `keep` is set. */
export async function start(options: Partial<S3ServerOptions> = {}, keep = false): Promise<S3Server> {
  const server = await startS3Server({ users: [ADMIN, ALICE, BOB], buckets: ['bucket'], ...options });
  if (!keep) onTestFinished(() => server.close());
  return server;
}

/** The path of a new directory, which the caller removes. */
export async function temporaryDirectory(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'embedded-s3-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

export const WHEN_REQUIRED = {
  requestChecksumCalculation: 'WHEN_REQUIRED',
  responseChecksumValidation: 'WHEN_REQUIRED',
} as const;

export function client(
  server: Pick<S3Server, 'endpoint'>,
  user: { accessKeyId: string; secretAccessKey: string } = ADMIN,
  config: S3ClientConfig = {},
): S3Client {
  return new S3Client({
    endpoint: server.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: user.accessKeyId, secretAccessKey: user.secretAccessKey },
    ...config,
  });
}

/** The name and HTTP status of the error that a request ends with. */
export async function errorOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (!(error instanceof S3ServiceException)) throw error;
    return `${error.name} ${error.$metadata.httpStatusCode}`;
  }
  return 'no error';
}

export async function bytesOf({ Body }: GetObjectCommandOutput): Promise<Buffer> {
  if (!Body) throw new Error('The answer has no body');
  return Buffer.from(await Body.transformToByteArray());
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The code of an error document. */
  readonly code: string | undefined;
}

/** A request of node:http, exactly as told. */
export function raw(
  server: Pick<S3Server, 'endpoint'>,
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body: Buffer | string = '',
): Promise<RawAnswer> {
  const { hostname, port } = new URL(server.endpoint);
  // Node announces no length by itself for methods that have no body as a rule.
  const length = 'transfer-encoding' in headers ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { hostname, port, method, path, headers: { ...length, ...headers }, agent: false },
      (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece: Buffer) => pieces.push(piece));
        response.on('error', reject);
        response.on('end', () => {
          const bytes = Buffer.concat(pieces);
          const code = /<Code>(.*?)<\/Code>/.exec(bytes.toString())?.[1];
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: bytes, code });
        });
      },
    );
    request.on('error', reject);
    // As bytes: Node would send the headers in UTF-8, too, if the body were a string.
    request.end(Buffer.from(body));
  });
}

/** Sends bytes to the server and collects what it answers, one character for each byte, until it ends the connection. */
export function exchange(server: Pick<S3Server, 'port'>, bytes: Buffer | string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1', () => socket.write(bytes));
    let answer = '';
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      answer += text;
    });
    socket.on('end', () => {
      socket.end();
      resolve(answer);
    });
    socket.on('error', reject);
  });
}

/** In hexadecimal, of a text with one character for each byte. */
export function sha256(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex');
}

export function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

export interface Signed {
  /** Path and query as they are to be sent. */
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly date: string;
  readonly scope: string;
  readonly key: string | Buffer;
  readonly seed: string;
}

/** Signature Version 4 of the administrator once more, from the specification and not from the server's code. */
export function sign(
  server: Pick<S3Server, 'port'>,
  method: string,
  resource: string,
  options: { query?: readonly (readonly [string, string])[]; headers: Readonly<Record<string, string>> },
): Signed {
  const date = new Date().toISOString().replace(/[-:]|\.\d{3}/g, '');
  const headers: Record<string, string> = {
    host: `127.0.0.1:${server.port}`,
    'x-amz-date': date,
    ...options.headers,
  };
  const names = Object.keys(headers).toSorted();
  const path = resource.split('/').map(encode).join('/');
  const pairs = (options.query ?? []).map(([name, value]) => `${encode(name)}=${encode(value)}`);
  const query = pairs.toSorted().join('&');
  const lines = names.map((name) => `${name}:${(headers[name] ?? '').trim().replace(/ +/g, ' ')}\n`).join('');
  const canonical = [method, path, query, lines, names.join(';'), headers['x-amz-content-sha256']].join('\n');
  const scope = `${date.slice(0, 8)}/us-east-1/s3/aws4_request`;
  const key = scope
    .split('/')
    .reduce<string | Buffer>((secret, part) => hmac(secret, part), `AWS4${ADMIN.secretAccessKey}`);
  const seed = hmac(key, `AWS4-HMAC-SHA256\n${date}\n${scope}\n${sha256(canonical)}`).toString('hex');
  const claim = `Credential=${ADMIN.accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${seed}`;
  return {
    path: pairs.length > 0 ? `${path}?${pairs.join('&')}` : path,
    headers: { ...headers, authorization: `AWS4-HMAC-SHA256 ${claim}` },
    date,
    scope,
    key,
    seed,
  };
}
