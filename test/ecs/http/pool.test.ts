import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import * as fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import type { HttpExchange, HttpRequest } from '../../../src/ecs/http/connection.ts';
import { HttpPool, type HttpPoolOptions } from '../../../src/ecs/http/pool.ts';
import { randomBytesOf } from '../../support/datasets.ts';
import { type FakeServer, httpAnswer, startFakeServer } from '../../support/fake-server.ts';
import { listen } from '../../support/listen.ts';

let server: FakeServer | undefined;
let pool: HttpPool | undefined;

afterEach(async () => {
  pool?.destroy();
  await server?.close();
});

const ok = (body: string, headers: Readonly<Record<string, string>> = {}): string =>
  httpAnswer(200, { 'Content-Length': body.length, ...headers }, body);

async function serve(
  answer: (socket: Socket, count: number, head: string) => void,
  options: Partial<HttpPoolOptions> = {},
): Promise<HttpPool> {
  server = await startFakeServer(answer);
  pool = poolOf(server.endpoint, options);
  return pool;
}

function poolOf(endpoint: string, options: Partial<HttpPoolOptions> = {}): HttpPool {
  return new HttpPool({
    url: new URL(endpoint),
    connectionsMax: 4,
    keepMs: 60_000,
    connectTimeoutMs: 5_000,
    silenceTimeoutMs: 5_000,
    ...options,
  });
}

/** Makes a request; its body lands in the target, as far as there is one, else it is collected. */
function get(from: HttpPool, path = '/', target = Buffer.of()) {
  return ask(from, { method: 'GET', path, headers: {} }, target);
}

function ask(from: HttpPool, request: HttpRequest, target = Buffer.of()) {
  let giveUp = (): void => {};
  const answer = new Promise<{ readonly body: string; readonly landed: number }>((resolve, reject) => {
    let landed = 0;
    const chunks: Buffer[] = [];
    const exchange: HttpExchange = {
      onHead: () => {},
      room: () => target.subarray(landed),
      onLanded: (count) => {
        landed += count;
      },
      onData: (bytes) => {
        // The beginning may come with the head.
        if (target.length > landed) landed += Buffer.from(bytes).copy(target, landed);
        else chunks.push(Buffer.from(bytes));
      },
      onEnd: () => resolve({ body: Buffer.concat(chunks).toString(), landed }),
      onError: reject,
    };
    giveUp = from.request(request, exchange);
  });
  return { answer, giveUp };
}

test('requests one after the other share a connection', async () => {
  const http = await serve((socket, count) => socket.write(ok(`${count}`)));
  for (let count = 1; count <= 5; count += 1) expect((await get(http).answer).body).toBe(`${count}`);
  expect(server?.connections).toBe(1);
});

test('no more connections than there may be, and nobody waits for ever', async () => {
  const sockets: Socket[] = [];
  let answers = false;
  const http = await serve((socket) => (answers ? socket.write(ok('x')) : sockets.push(socket)), {
    connectionsMax: 2,
  });
  const asked = ['a', 'b', 'c', 'd', 'e'].map((name) => get(http, `/${name}`));
  while (sockets.length < 2) await new Promise((next) => setImmediate(next));
  // One that waits is given up, one that runs too: its connection goes, and another takes its place.
  asked[3]?.giveUp();
  asked[0]?.giveUp();
  answers = true;
  for (const socket of sockets) socket.write(ok('x'));
  await Promise.all([asked[1]?.answer, asked[2]?.answer, asked[4]?.answer]);
  expect(server?.connections).toBe(3);
  expect(server?.requests.map((head) => head[5]).toSorted()).toEqual(['a', 'b', 'c', 'e']);
});

test('a body lands where it belongs, and not a byte beside it', async () => {
  const content = randomBytesOf(1, 1 << 20);
  const http = await serve((socket) => {
    socket.write(httpAnswer(200, { 'Content-Length': content.length }));
    socket.write(content);
  });
  for (let round = 0; round < 3; round += 1) {
    const backing = Buffer.alloc(content.length + 2, 0xee);
    const target = backing.subarray(1, -1);
    expect(await get(http, '/', target).answer).toEqual({ body: '', landed: content.length });
    expect(target.equals(content)).toBe(true);
    expect([backing[0], backing.at(-1)]).toEqual([0xee, 0xee]);
  }
  expect(server?.connections).toBe(1);
});

test('who gives up has his target for himself', async () => {
  let sending: Socket | undefined;
  const http = await serve((socket) => {
    sending = socket;
    socket.write(httpAnswer(200, { 'Content-Length': 1 << 20 }));
    socket.write(Buffer.alloc(1_000, 'x'));
  });
  const target = Buffer.alloc(1 << 20);
  const { answer, giveUp } = get(http, '/', target);
  let isSettled = false;
  void answer.finally(() => {
    isSettled = true;
  });
  while (target[0] === 0) await new Promise((next) => setImmediate(next));
  giveUp();
  target.fill(0);
  sending?.write(Buffer.alloc(100_000, 'y'));
  await server?.idle();
  expect(isSettled).toBe(false);
  expect(target.every((byte) => byte === 0)).toBe(true);
});

test.each([
  ['it says so', (socket: Socket) => socket.write(ok('x', { Connection: 'close' }))],
  ['it will have closed it', (socket: Socket) => socket.write(ok('x', { 'Keep-Alive': 'timeout=1' }))],
  ['it says more than was asked', (socket: Socket) => socket.write(`${ok('x')}y`)],
])('a connection is not used again where %s', async (_, answer) => {
  const http = await serve(answer);
  for (let count = 1; count <= 3; count += 1) expect((await get(http).answer).body).toBe('x');
  await server?.idle();
  expect(server?.connections).toBe(3);
});

test('one that the server has closed meanwhile is not used again', async () => {
  const http = await serve((socket) => socket.end(ok('x')));
  await get(http).answer;
  await server?.idle();
  expect((await get(http).answer).body).toBe('x');
});

describe('time', () => {
  const SILENCE_MS = 200;
  /** Calls back again and again until the connection is closed. */
  const goOn = (socket: Socket, write: () => void): void => {
    const timer = setInterval(write, 10);
    socket.on('close', () => clearInterval(timer));
  };

  test.each<[string, (socket: Socket) => void]>([
    ['says nothing', () => {}],
    ['sends a head byte by byte', (socket) => goOn(socket.setNoDelay(), () => socket.write('H'))],
    [
      'sends a field byte by byte',
      (socket) => {
        socket.setNoDelay().write('HTTP/1.1 200 OK\r\nX-Field: ');
        goOn(socket, () => socket.write('x'));
      },
    ],
    [
      'sends interim answers for ever',
      (socket) => {
        const timer = setInterval(() => socket.write('HTTP/1.1 102 Processing\r\n\r\n'), 90);
        socket.on('close', () => clearInterval(timer));
      },
    ],
    [
      'sends a body byte by byte',
      (socket) => {
        socket.setNoDelay().write(httpAnswer(200, { 'Content-Length': 1_000_000 }));
        goOn(socket, () => socket.write('x'));
      },
    ],
    [
      'sends chunks without an end of their sizes',
      (socket) => {
        socket.setNoDelay().write(httpAnswer(200, { 'Transfer-Encoding': 'chunked' }));
        goOn(socket, () => socket.write('1;x=y\r\nx\r\n'));
      },
    ],
  ])('a server that %s is given up', async (_name, answer) => {
    const http = await serve(answer, { silenceTimeoutMs: SILENCE_MS });
    await expect(get(http).answer).rejects.toThrow(/^(no answer|no more than \d+ bytes|no HTTP)/);
    await server?.idle();
  });

  test('an answer that takes long is waited for where there is much to do, and may trickle meanwhile', async () => {
    const http = await serve(
      (socket) => {
        socket.setNoDelay();
        setTimeout(() => {
          socket.write(httpAnswer(200, { 'Transfer-Encoding': 'chunked' }));
          const timer = setInterval(() => socket.write('1\r\n \r\n'), 50);
          setTimeout(() => {
            clearInterval(timer);
            socket.write('4\r\ndone\r\n0\r\n\r\n');
          }, 3 * SILENCE_MS);
        }, 3 * SILENCE_MS);
      },
      { silenceTimeoutMs: SILENCE_MS },
    );
    const request = { method: 'PUT', path: '/', headers: {}, answerTimeoutMs: 60_000 } as const;
    expect((await ask(http, request).answer).body.trim()).toBe('done');
  });

  test('a suspend ends what was under way, and nothing that was kept is used again', async () => {
    let suspendedMs = 0;
    const clock = { ...systemClock, elapsed: () => systemClock.elapsed() + suspendedMs };
    const http = await serve((socket, count) => count !== 2 && socket.write(ok(`${count}`)), {
      silenceTimeoutMs: 8_000,
      clock,
    });
    await get(http).answer;
    const { answer } = get(http);
    while (server?.requests.length !== 2) await new Promise((next) => setImmediate(next));
    suspendedMs = 3_600_000;
    await expect(answer).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      message: expect.stringMatching('suspended'),
    });
    expect((await get(http).answer).body).toBe('3');
    suspendedMs *= 2;
    expect((await get(http).answer).body).toBe('4');
    expect(server?.connections).toBe(3);
  });

  test('a suspend that is shorter than a silence changes nothing', async () => {
    let suspendedMs = 0;
    const clock = { ...systemClock, elapsed: () => systemClock.elapsed() + suspendedMs };
    const http = await serve((socket, count) => socket.write(ok(`${count}`)), { clock });
    await get(http).answer;
    suspendedMs = 4_000;
    expect((await get(http).answer).body).toBe('2');
    expect(server?.connections).toBe(1);
  });
});

test('when it is over, requests under way and those that wait fail', async () => {
  const http = await serve(() => {}, { connectionsMax: 1 });
  const asked = [get(http), get(http)];
  http.destroy();
  for (const { answer } of asked) await expect(answer).rejects.toThrow('closed');
  await expect(get(http).answer).rejects.toThrow('closed');
});

test('bodies of requests, whole and in pieces, over one connection', async () => {
  const sizes = fc.array(fc.oneof(fc.nat(10), fc.nat(300_000)), { maxLength: 5 });
  const bodies = fc.array(fc.record({ seed: fc.nat(99), sizes, isWhole: fc.boolean() }), { maxLength: 4 });
  let connections = 0;
  const hashing = createServer((request, response) => {
    const hash = createHash('md5');
    request.on('data', (chunk: Buffer) => hash.update(chunk));
    request.on('end', () => response.end(hash.digest('hex')));
  }).on('connection', () => (connections += 1));
  const port = await listen(hashing);
  const http = poolOf(`http://127.0.0.1:${port}`);
  try {
    await fc.assert(
      fc.asyncProperty(bodies, async (all) => {
        for (const { seed, sizes: lengths, isWhole } of all) {
          const size = lengths.reduce((sum, length) => sum + length, 0);
          const content = randomBytesOf(seed, size);
          const body = isWhole ? content : { size, pieces: overwritten(content, lengths) };
          const headers = { 'content-length': `${size}` };
          const answer = await ask(http, { method: 'PUT', path: '/', headers, body }).answer;
          expect(answer.body).toBe(createHash('md5').update(content).digest('hex'));
        }
      }),
      { numRuns: 20 },
    );
    expect(connections).toBe(1);
  } finally {
    http.destroy();
    hashing.close();
  }
});

test('a body that fails ends its request, and the connection with it', async () => {
  const failure = new Error('disk on fire');
  const pieces = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('begin');
    throw failure;
  };
  const http = await serve(() => {});
  const body = { size: 100, pieces: pieces() };
  const { answer } = ask(http, { method: 'PUT', path: '/', headers: { 'content-length': '100' }, body });
  await expect(answer).rejects.toBe(failure);
  await server?.idle();
});

/** Pieces of these lengths in one buffer, each overwritten once the next is asked for. */
async function* overwritten(content: Buffer, lengths: readonly number[]): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.alloc(Math.max(0, ...lengths));
  let at = 0;
  for (const length of lengths) {
    at += content.copy(buffer, 0, at, at + length);
    yield buffer.subarray(0, length);
    buffer.fill(0);
  }
}
