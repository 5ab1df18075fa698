import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { isAbort } from '../../src/errors.ts';
import type { ObjectStore } from '../../src/ecs/object-store.ts';
import { createRetryingObjectStore } from '../../src/ecs/retrying-object-store.ts';
import { createS3ObjectStore, type S3ObjectStore } from '../../src/ecs/s3-object-store.ts';
import { expectReason } from '../contract/object-store.ts';
import { httpAnswer, startFakeServer, type FakeServer } from '../support/fake-server.ts';
import { InstantClock } from '../support/instant-clock.ts';
import { listen } from '../support/listen.ts';

const CONTENT = '0123456789abcdefghij';
const INFO = { 'Last-Modified': 'Wed, 01 Jan 2025 00:00:00 GMT', ETag: '"abc"' };
const SILENCE_MS = 150;
/** The silence that ends a request in the tests that are not about it: within a test's time limit, never reached. */
const PROMPT_MS = 5_000;

let server: FakeServer | undefined;
let store: S3ObjectStore | undefined;

afterEach(async () => {
  store?.close();
  await server?.close();
  server = undefined;
  store = undefined;
});

async function serve(
  answer: string | ((socket: Socket, count: number) => void),
  silenceTimeoutMs = PROMPT_MS,
): Promise<S3ObjectStore> {
  server = await startFakeServer((socket, count) => {
    if (typeof answer === 'string') socket.write(answer);
    else answer(socket, count);
  });
  store = open(server.endpoint, silenceTimeoutMs);
  return store;
}

const credentials = async () => ({ accessKeyId: 'KEY', secretAccessKey: 'TOP-SECRET' });

function open(endpoint: string, silenceTimeoutMs = PROMPT_MS): S3ObjectStore {
  return createS3ObjectStore({ bucket: 'bucket', endpoint, credentials, silenceTimeoutMs });
}

function* endless(onClosed = () => {}): Generator<Uint8Array> {
  try {
    for (;;) yield Buffer.alloc(65_536);
  } finally {
    onClosed();
  }
}

/** Reads bytes 5 to 9 and gives them as text. */
async function readFive(from: ObjectStore, signal?: AbortSignal): Promise<string> {
  const target = Buffer.alloc(5);
  await from.getRange('key', 5, [target.subarray(0, 2), target.subarray(2)], { signal });
  return target.toString();
}

const part = (headers: Readonly<Record<string, string | number>> = {}, body = '56789'): string =>
  httpAnswer(206, { ...INFO, 'Content-Length': 5, 'Content-Range': 'bytes 5-9/20', ...headers }, body);
const { 'Content-Length': _, ...chunked } = {
  ...INFO,
  'Content-Length': 0,
  'Content-Range': 'bytes 5-9/20',
  'Transfer-Encoding': 'chunked',
};

const list = (inner: string): string => {
  const xml = `<?xml version="1.0"?><ListBucketResult>${inner}</ListBucketResult>`;
  return httpAnswer(200, { 'Content-Length': xml.length }, xml);
};

const refusal = (status: number, code: string, message = ''): string => {
  const xml = `<Error><Code>${code}</Code><Message>${message}</Message><StringToSign>AWS4 SIGNED</StringToSign></Error>`;
  return httpAnswer(status, { 'Content-Length': xml.length }, xml);
};

describe('getRange', () => {
  test('the answer it should get, and the connection is used again', async () => {
    const s3 = await serve(part());
    for (let index = 0; index < 3; index++) expect(await readFive(s3)).toBe('56789');
    // One more may be opened where the last has just had its answer and is not free yet.
    expect(server?.connections).toBeLessThanOrEqual(2);
    expect(server?.requests[0]).toMatch(/^GET \/bucket\/key HTTP\/1.1\r\n/);
    expect(server?.requests[0]).toMatch(/\r\nrange: bytes=5-9(\r\n|$)/i);
  });

  test('the parts of an object share one signature, other objects have their own', async () => {
    const s3 = await serve(part());
    for (const key of ['key', 'key', 'other']) await s3.getRange(key, 5, [Buffer.alloc(5)]);
    const signatures = server?.requests.map((head) => /Signature=(\w+)/.exec(head)?.[1]);
    expect(signatures?.[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(signatures?.[1]).toBe(signatures?.[0]);
    expect(signatures?.[2]).not.toBe(signatures?.[0]);
  });

  test('a target is told to be full while the body stalls, and a repetition goes on after it', async () => {
    const headOf = (bytes: string, length: number): string =>
      httpAnswer(206, { ...INFO, 'Content-Length': length, 'Content-Range': `bytes ${bytes}/20` });
    let stalled: Socket | undefined;
    const s3 = await serve((socket, count) => {
      if (count === 1) {
        stalled = socket;
        socket.write(`${headOf('5-9', 5)}567`);
      } else socket.write(`${headOf('7-9', 3)}789`);
    });
    const target = Buffer.alloc(5);
    const told: number[] = [];
    const retrying = createRetryingObjectStore(s3, { clock: new InstantClock() });
    const info = await retrying.getRange('key', 5, [target.subarray(0, 2), target.subarray(2)], {
      onFilled: (count) => {
        told.push(count);
        expect(target.toString('latin1', 0, 2)).toBe('56');
        target.write('..');
        stalled?.destroy();
      },
    });
    expect(told).toEqual([1]);
    expect(target.toString()).toBe('..789');
    expect(info.size).toBe(20);
    expect(server?.requests[1]).toMatch(/\r\nrange: bytes=7-9(\r\n|$)/i);
  });

  test('in single bytes, chunked', async () => {
    const body = Array.from('56789', (byte) => `1\r\n${byte}\r\n`).join('');
    const s3 = await serve(httpAnswer(206, chunked, `${body}0\r\n\r\n`));
    expect(await readFive(s3)).toBe('56789');
  });

  test('the whole object (status 200): the range is taken out of it, the rest not waited for', async () => {
    const s3 = await serve(httpAnswer(200, { ...INFO, 'Content-Length': 20 }, CONTENT.slice(0, 12)));
    const target = Buffer.alloc(5);
    const info = await s3.getRange('key', 5, [target]);
    expect(target.toString()).toBe('56789');
    expect(info).toEqual({ size: 20, etag: 'abc', lastModified: Date.UTC(2025, 0), metadata: {} });
  });

  test('the whole object in single bytes', async () => {
    const s3 = await serve((socket) => {
      socket.setNoDelay(true);
      socket.write(httpAnswer(200, { ...INFO, 'Content-Length': 20 }));
      for (const byte of CONTENT) socket.write(byte);
    });
    expect(await readFive(s3)).toBe('56789');
  });

  test('the whole object, and it is too short', async () => {
    const s3 = await serve(httpAnswer(200, { ...INFO, 'Content-Length': 9 }, CONTENT.slice(0, 9)));
    await expectReason(readFive(s3), 'short');
  });

  test.each([
    ['truncated', part({}, '567'), 'bad-response'],
    ['longer', httpAnswer(206, chunked, '6\r\n56789a\r\n0\r\n\r\n'), 'bad-response'],
    ['shorter', httpAnswer(206, chunked, '4\r\n5678\r\n0\r\n\r\n'), 'bad-response'],
    ['broken off in a chunk', httpAnswer(206, chunked, '5\r\n567'), 'bad-response'],
    ['another offset', part({ 'Content-Range': 'bytes 4-8/20' }), 'bad-response'],
    [
      'an earlier start',
      part({ 'Content-Range': 'bytes 4-9/20', 'Content-Length': 6 }, '456789'),
      'bad-response',
    ],
    ['another length', part({ 'Content-Range': 'bytes 5-8/20' }), 'bad-response'],
    ['more than asked', part({ 'Content-Range': 'bytes 5-10/20', 'Content-Length': 6 }), 'bad-response'],
    ['a Content-Length that contradicts', part({ 'Content-Length': 4 }), 'bad-response'],
    ['an unknown size', part({ 'Content-Range': 'bytes 5-9/*' }), 'bad-response'],
    ['no Content-Range', part({ 'Content-Range': '' }), 'bad-response'],
    ['another unit', part({ 'Content-Range': 'lines 5-9/20' }), 'bad-response'],
    ['whole without length', httpAnswer(200, { ...INFO, Connection: 'close' }, CONTENT), 'bad-response'],
    ['clipped at the end', part({ 'Content-Range': 'bytes 5-8/9', 'Content-Length': 4 }, '5678'), 'short'],
    ['416', httpAnswer(416, { 'Content-Length': 0 }), 'short'],
    ['204', httpAnswer(204, INFO), 'bad-response'],
    ['a page', httpAnswer(200, { 'Content-Length': 6 }, '<html>'), 'bad-response'],
    ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n', 'bad-response'],
  ] as const)('%s', async (_name, answer, reason) => {
    const s3 = await serve((socket) => socket.end(answer));
    await expectReason(readFive(s3), reason);
  });

  test('a refused answer does not leave its connection open', async () => {
    const s3 = await serve(part({ 'Content-Range': 'bytes 4-8/20', 'Content-Length': 5_000_000 }));
    await expectReason(readFive(s3), 'bad-response');
    await server?.idle();
  });
});

describe('get', () => {
  test('too large is known before the body', async () => {
    const s3 = await serve(httpAnswer(200, { ...INFO, 'Content-Length': 5_000_000 }));
    await expectReason(s3.get('key', 1_000), 'too-large');
    await server?.idle();
  });

  test.each([
    ['truncated', httpAnswer(200, { ...INFO, 'Content-Length': 20 }, '0123')],
    ['of unknown length', httpAnswer(200, { ...INFO, Connection: 'close' }, CONTENT)],
    ['without a time', httpAnswer(200, { 'Content-Length': 1 }, 'x')],
    ['in part', part()],
  ])('%s', async (_name, answer) => {
    const s3 = await serve((socket) => socket.end(answer));
    await expectReason(s3.get('key', 1_000), 'bad-response');
  });

  test('metadata in UTF-8, in ISO 8859-1 and in ASCII', async () => {
    const s3 = await serve((socket) => {
      const names = { 'X-Amz-Meta-Utf8': 'grün', 'X-Amz-Meta-Plain': 'Z3LDvG4=' };
      socket.write(httpAnswer(200, { ...INFO, 'Content-Length': 0, ...names }).slice(0, -2));
      socket.write(Buffer.from('X-Amz-Meta-Latin1: gr\u00fcn\r\n\r\n', 'latin1'));
    });
    const { metadata } = await s3.head('key');
    expect(metadata).toEqual({ utf8: 'grün', plain: 'Z3LDvG4=', latin1: 'grün' });
  });
});

describe('listPage', () => {
  const object =
    '<Contents><Key>a+b%2Bc</Key><Size>1</Size><LastModified>2025-01-01T00:00:00.000Z</LastModified></Contents>';

  test('a space may be written as +, if the answer is encoded', async () => {
    let encoding = '<EncodingType>url</EncodingType>';
    const s3 = await serve((socket) => {
      socket.write(list(`<IsTruncated>false</IsTruncated>${encoding}${object}`));
    });
    expect((await s3.listPage({ prefix: 'a' })).objects[0]?.key).toBe('a b+c');
    encoding = '';
    expect((await s3.listPage({ prefix: 'a' })).objects[0]?.key).toBe('a+b%2Bc');
  });

  test.each([
    ['no token', '<IsTruncated>true</IsTruncated>'],
    ['an empty token', '<IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken>'],
    ['the same token', '<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>'],
    ['no end or otherwise', object],
    ['an object without key', '<IsTruncated>false</IsTruncated><Contents><Size>1</Size></Contents>'],
    ['a size that is no number', `<IsTruncated>false</IsTruncated>${object.replace('>1<', '>x<')}`],
    [
      'a broken escape',
      `<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>${object.replace('%2B', '%')}`,
    ],
  ])('%s', async (_name, inner) => {
    const s3 = await serve(list(inner));
    await expectReason(s3.listPage({ prefix: '', continuationToken: 't' }), 'bad-response');
  });

  test.each(['garbage', '<html><body>Please log in', '<html></html>', '', '<ListBucketResult>'])(
    'garbage %j',
    async (body) => {
      const s3 = await serve(httpAnswer(200, { 'Content-Length': body.length }, body));
      await expectReason(s3.listPage({ prefix: '' }), 'bad-response');
    },
  );

  test('quotes around an ETag, however they are written', async () => {
    const etags = ['"e"', '&quot;e&quot;', '&#34;e&#34;', '&#x22;e&#x22;'];
    const objects = etags.map((etag) => object.replace('<Size>', `<ETag>${etag}</ETag><Size>`)).join('');
    const s3 = await serve(list(`<IsTruncated>false</IsTruncated>${objects}`));
    expect((await s3.listPage({ prefix: 'a' })).objects.map(({ etag }) => etag)).toEqual([
      'e',
      'e',
      'e',
      'e',
    ]);
  });

  test.each([
    ['cut off after an object', `<ListBucketResult><IsTruncated>false</IsTruncated>${object}`],
    [
      'entities of its own',
      `<!DOCTYPE l [<!ENTITY e "x">]><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>`,
    ],
    ['longer than any page', ' '.repeat(17 << 20)],
  ])('%s', async (_name, body) => {
    const s3 = await serve((socket) => socket.end(httpAnswer(200, { Connection: 'close' }, body)));
    await expectReason(s3.listPage({ prefix: '' }), 'bad-response');
  });

  test('broken off', async () => {
    const s3 = await serve((socket) => socket.end(httpAnswer(200, { 'Content-Length': 900 }, '<?xml')));
    expect(await s3.listPage({ prefix: '' }).catch((error: unknown) => error)).toHaveProperty(
      'retryable',
      true,
    );
  });
});

describe('connections', () => {
  test.each([
    ['before the answer', (socket: Socket) => socket.destroy()],
    ['by a reset', (socket: Socket) => socket.resetAndDestroy()],
  ])('closed %s', async (_name, answer) => {
    const s3 = await serve(answer);
    const error = await expectReason(readFive(s3), 'unreachable');
    expect(error.retryable).toBe(true);
  });

  test('a reused connection that the server has closed meanwhile', async () => {
    const s3 = await serve((socket, count) => {
      if (count === 1) socket.write(part());
      else if (count === 2) socket.resetAndDestroy();
      else socket.write(part());
    });
    await readFive(s3);
    await expectReason(readFive(s3), 'unreachable');
    expect(await readFive(s3)).toBe('56789');
    expect(server?.connections).toBe(2);
  });

  test('nobody listens', async () => {
    const taken = createServer();
    const port = await listen(taken, 'localhost');
    taken.close();
    await once(taken, 'close');
    store = open(`http://localhost:${port}`);
    const error = await expectReason(store.head('key'), 'unreachable');
    expect(error.message).toContain('ECONNREFUSED');
  });

  test('TLS to a server that speaks none', async () => {
    const plain = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const port = await listen(plain, 'localhost');
    store = open(`https://localhost:${port}`);
    await expectReason(store.head('key'), 'tls');
    plain.close();
  });
});

describe('silence', () => {
  test('before the answer', async () => {
    const s3 = await serve(() => {}, SILENCE_MS);
    await expectReason(s3.head('key'), 'timeout');
    await server?.idle();
  });

  test('within a body', async () => {
    const s3 = await serve(part({}, '567'), SILENCE_MS);
    await expectReason(readFive(s3), 'timeout');
    await server?.idle();
  });

  test('within a list', async () => {
    const s3 = await serve(httpAnswer(200, { 'Content-Length': 100 }, '<?xml'), SILENCE_MS);
    await expectReason(s3.listPage({ prefix: '' }), 'timeout');
  });

  test('within an upload that the server does not read to its end', async () => {
    const s3 = await serve((socket) => socket.pause(), SILENCE_MS);
    await expectReason(s3.put('key', { size: 1e9, open: () => endless() }), 'timeout');
  });
});

describe('abort', () => {
  test('while the answer is waited for', async () => {
    const controller = new AbortController();
    let closed: Promise<unknown> | undefined;
    const s3 = await serve((socket) => {
      closed = once(socket, 'close');
      controller.abort();
    });
    await expect(readFive(s3, controller.signal)).rejects.toSatisfy(isAbort);
    await closed;
  });

  test('within a body: the connection is closed, and the buffer is left alone', async () => {
    const controller = new AbortController();
    let closed: Promise<unknown> | undefined;
    const s3 = await serve((socket) => {
      closed = once(socket, 'close');
      socket.write(part({}, '567'));
    });
    const target = Buffer.alloc(5);
    const settled = expect(s3.getRange('key', 5, [target], controller)).rejects.toSatisfy(isAbort);
    while (target[0] === 0) await new Promise((next) => setImmediate(next));
    controller.abort();
    await settled;
    target.fill(0);
    await closed;
    expect(target).toEqual(Buffer.alloc(5));
  });

  test('within a list', async () => {
    const controller = new AbortController();
    const s3 = await serve((socket) =>
      socket.write(httpAnswer(200, { 'Content-Length': 100 }, '<?xml'), () =>
        setImmediate(() => controller.abort()),
      ),
    );
    await expect(s3.listPage({ prefix: '' }, controller)).rejects.toSatisfy(isAbort);
    await server?.idle();
  });
});

describe('error answers', () => {
  test.each([
    [403, 'RequestTimeTooSkewed', 'clock-skew'],
    [400, 'ExpiredToken', 'expired-credentials'],
    [403, 'AccessDenied', 'access-denied'],
    [403, 'SignatureDoesNotMatch', 'wrong-secret-key'],
    [503, 'SlowDown', 'throttled'],
    [500, 'InternalError', 'server-error'],
    [400, 'RequestTimeout', 'timeout'],
    [301, 'PermanentRedirect', 'bad-request'],
    [409, 'ConditionalRequestConflict', 'throttled'],
    [400, 'KeyTooLongError', 'bad-request'],
  ] as const)('%i %s', async (status, code, reason) => {
    const s3 = await serve(refusal(status, code, 'as the server says'));
    const error = await expectReason(readFive(s3), reason);
    expect(error.message).toBe(`bucket/key: ${code}: as the server says (status ${status})`);
    expect(JSON.stringify(error) + error.stack + String(error.cause)).not.toMatch(
      /TOP-SECRET|SIGNED|Signature=/,
    );
  });

  test.each([
    [403, 'access-denied'],
    [404, 'no-such-key'],
    [429, 'throttled'],
    [500, 'server-error'],
    [502, 'server-error'],
    [503, 'throttled'],
    [504, 'server-error'],
    [400, 'bad-request'],
    [412, 'precondition-failed'],
  ] as const)('%i with and without garbage', async (status, reason) => {
    const html = '<html><h1>nginx<br></html>';
    const s3 = await serve((socket, count) =>
      socket.write(
        httpAnswer(status, { 'Content-Length': count === 1 ? html.length : 0 }, count === 1 ? html : ''),
      ),
    );
    await expectReason(readFive(s3), reason);
    await expectReason(s3.head('key'), reason);
  });

  test('an upload that is refused before it was sent: its connection and its source are closed', async () => {
    const s3 = await serve(refusal(403, 'AccessDenied'));
    let isClosed = false;
    const content = () =>
      endless(() => {
        isClosed = true;
      });
    await expectReason(s3.put('key', { size: 1e12, open: content }), 'access-denied');
    await server?.idle();
    await expect.poll(() => isClosed).toBe(true);
  });

  test.each([
    [
      'it says where it ends',
      (socket: Socket) => socket.write(httpAnswer(200, { ...INFO, 'Content-Length': 0 })),
    ],
    ['it ends with the connection', (socket: Socket) => socket.end(httpAnswer(200, INFO))],
  ])('an upload that the server says to have stored before it was sent: %s', async (_how, answer) => {
    const s3 = await serve(answer);
    await expectReason(s3.put('key', { size: 1e12, open: () => endless() }), 'bad-response');
    await server?.idle();
  });

  test('an answer to an upload that goes on for ever', async () => {
    const s3 = await serve((socket) => {
      const more = () => socket.write(Buffer.alloc(65_536), (error) => error ?? more());
      socket.write(httpAnswer(200, { ...INFO, 'Content-Length': 1e12 }));
      more();
    });
    await expectReason(s3.put('key', Buffer.from('content')), 'bad-response');
    await server?.idle();
  });

  test('delete of a missing key that the store minds', async () => {
    await (await serve(refusal(404, 'NoSuchKey'))).delete('key');
  });

  test.each([
    ['seconds', { 'Retry-After': '7' }, 7_000],
    [
      'a date, by the clock of the server',
      { 'Retry-After': 'Wed, 01 Jan 2025 00:01:30 GMT', Date: 'Wed, 01 Jan 2025 00:01:00 GMT' },
      30_000,
    ],
    [
      'a date that is over',
      { 'Retry-After': 'Wed, 01 Jan 2025 00:00:00 GMT', Date: 'Wed, 01 Jan 2025 00:01:00 GMT' },
      0,
    ],
    ['what is neither', { 'Retry-After': 'soon' }, undefined],
    ['nothing', {}, undefined],
  ])('Retry-After with %s', async (_name, headers, retryAfterMs) => {
    const s3 = await serve(httpAnswer(503, { ...headers, 'Content-Length': 0 }));
    expect((await expectReason(readFive(s3), 'throttled')).retryAfterMs).toBe(retryAfterMs);
  });

  test.each([302, 303, 307, 308])('%i: sent to a page to log in at', async (status) => {
    const s3 = await serve(httpAnswer(status, { Location: 'http://portal.example/', 'Content-Length': 0 }));
    const asked: readonly (() => Promise<unknown>)[] = [
      async () => readFive(s3),
      async () => s3.head('key'),
      async () => s3.put('key', Buffer.from('x')),
      async () => s3.delete('key'),
    ];
    for (const ask of asked) await expectReason(ask(), 'bad-response');
  });

  test('503 twice, then success, through the retrying store', async () => {
    const s3 = await serve((socket, count) => {
      socket.write(count < 3 ? refusal(503, 'SlowDown') : part());
    });
    const clock = new InstantClock();
    expect(await readFive(createRetryingObjectStore(s3, { clock }))).toBe('56789');
    expect(clock.sleeps.length).toBe(2);
    expect(server?.requests.length).toBe(3);
  });
});

describe('what changes something counts only as the answer of an S3 store', () => {
  const page = '<html>Please log in</html>';
  const id = { 'x-amz-request-id': '1' };
  test.each([
    [httpAnswer(204, {}), true],
    [httpAnswer(200, { ...id, 'Content-Length': 0 }), true],
    [httpAnswer(200, { 'Content-Length': 0 }), false],
    [httpAnswer(200, { 'Content-Type': 'text/html', 'Content-Length': page.length }, page), false],
    [httpAnswer(200, { ...id, 'Content-Length': page.length }, page), false],
    [httpAnswer(202, { ...id, 'Content-Length': 0 }), false],
    [httpAnswer(404, { 'Content-Length': page.length }, page), false],
    [httpAnswer(404, { 'Content-Length': 0 }), false],
    [refusal(404, 'NoSuchKey'), true],
  ])('a delete that is answered %j: %j', async (answer, counts) => {
    const s3 = await serve(answer);
    if (counts) await s3.delete('key');
    else await expectReason(s3.delete('key'), 'bad-response');
    const aborted = s3.abortUpload({ key: 'key', id: 'id' });
    if (counts && !answer.includes('NoSuchKey')) await aborted;
    else await expect(aborted).rejects.toThrow();
  });

  test('an upload in parts', async () => {
    const s3 = await serve(httpAnswer(200, { 'Content-Length': page.length }, page));
    await expectReason(s3.createUpload('key'), 'bad-response');
    await expectReason(
      s3.completeUpload({ key: 'key', id: 'id' }, [{ number: 1, etag: 'e' }]),
      'bad-response',
    );
    await expectReason(s3.listUploads(''), 'bad-response');
  });
});

describe('an answer that takes long', () => {
  /** Puts so much that the server has some ten times the silence for its answer. */
  const SIZE = 16 << 20;
  function* zeros(): Generator<Uint8Array> {
    for (let sent = 0; sent < SIZE; sent += 1 << 20) yield Buffer.alloc(1 << 20);
  }

  test('to a large put: the silence behind its last byte grows with it', async () => {
    let received = 0;
    const slow = createHttpServer((request, response) => {
      request.on('data', (chunk: Buffer) => (received += chunk.length));
      request.on('end', () => setTimeout(() => response.writeHead(200, { ETag: '"e"' }).end(), 1_000));
    });
    const port = await listen(slow);
    store = open(`http://127.0.0.1:${port}`, 500);
    await store.put('key', { size: SIZE, open: zeros });
    expect(received).toBe(SIZE);
    await expectReason(store.put('key', Buffer.from('x')), 'timeout');
    slow.closeAllConnections();
    slow.close();
  });

  test('to the end of an upload in parts: white space, then what has come of it', async () => {
    const done = '<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>';
    const failed = '<Error><Code>InternalError</Code><Message>disk</Message></Error>';
    const s3 = await serve((socket, count) => {
      socket.setNoDelay().write(httpAnswer(200, { 'Transfer-Encoding': 'chunked' }));
      const say = (text: string): boolean => socket.write(`${text.length.toString(16)}\r\n${text}\r\n`);
      say('<?xml version="1.0"?>');
      const timer = setInterval(() => say(' '), SILENCE_MS / 4);
      setTimeout(() => {
        clearInterval(timer);
        say(count === 1 ? done : count === 2 ? failed : '');
        socket.write('0\r\n\r\n');
      }, 3 * SILENCE_MS);
    }, SILENCE_MS);
    const complete = async () => s3.completeUpload({ key: 'key', id: 'id' }, [{ number: 1, etag: '"e"' }]);
    await complete();
    const error = await expectReason(complete(), 'server-error');
    expect(error.message).toBe('bucket/key: InternalError: disk (status 200)');
    await expect(complete()).rejects.toThrow();
  });
});
