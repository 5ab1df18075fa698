import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { listen } from './listen.ts';

/** Bytes that are made when they are asked for. */
export interface GeneratedObject {
  readonly size: number;
  /** May be a promise, which keeps the reader waiting. */
  read(offset: number, length: number): Buffer | Promise<Buffer>;
}

/** A text that repeats: a head, records of one length, a tail. */
export class RepeatedText implements GeneratedObject {
  readonly size: number;
  readonly #head: Buffer;
  readonly #tail: Buffer;
  readonly #record: (index: number) => string;
  readonly #recordBytes: number;
  readonly #tailStart: number;

  /** @param record of the same length for every index */
  constructor(head: string, record: (index: number) => string, count: number, tail: string) {
    this.#head = Buffer.from(head);
    this.#tail = Buffer.from(tail);
    this.#record = record;
    this.#recordBytes = Buffer.byteLength(record(0));
    this.#tailStart = this.#head.length + count * this.#recordBytes;
    this.size = this.#tailStart + this.#tail.length;
  }

  read(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    const put = (piece: Buffer, start: number): void => {
      const from = Math.max(0, offset - start);
      if (from < piece.length && start < offset + length) piece.copy(bytes, start + from - offset, from);
    };
    put(this.#head, 0);
    const first = Math.max(0, Math.floor((offset - this.#head.length) / this.#recordBytes));
    for (let index = first; ; index += 1) {
      const start = this.#head.length + index * this.#recordBytes;
      if (start >= Math.min(this.#tailStart, offset + length)) break;
      put(Buffer.from(this.#record(index)), start);
    }
    put(this.#tail, this.#tailStart);
    return bytes;
  }
}

/** Keys that a list of their common prefix has; nothing is at them. */
export interface GeneratedKeys {
  readonly count: number;
  /** Ascending. */
  readonly key: (index: number) => string;
}

export interface GeneratingProxy {
  readonly endpoint: string;
  close(): Promise<void>;
}

const PIECE_BYTES = 1 << 20;

/**
 * A proxy in front of an S3 server on this computer that has some objects, by key, and some lists, by prefix, of which the
 * server knows nothing. It checks no signatures of requests for these.
 */
export async function startGeneratingProxy(
  target: string,
  bucket: string,
  generated: {
    readonly objects: ReadonlyMap<string, GeneratedObject>;
    readonly lists: ReadonlyMap<string, GeneratedKeys>;
  },
): Promise<GeneratingProxy> {
  const { hostname, port } = new URL(target);
  const agent = new Agent({ keepAlive: true });
  const handle = async (from: IncomingMessage, answer: ServerResponse): Promise<void> => {
    const url = new URL(from.url ?? '', target);
    const object = generated.objects.get(decodeURIComponent(url.pathname).slice(`/${bucket}/`.length));
    const prefix = url.searchParams.get('prefix');
    const list = prefix === null ? undefined : generated.lists.get(prefix);
    if (object) return sendObject(object, from, answer);
    if (list) {
      answer.end(pageOf(bucket, list, Number(url.searchParams.get('continuation-token') ?? 0)));
      return;
    }
    const { method, headers, url: path } = from;
    const to = request({ hostname, port, agent, method, path, headers });
    from.pipe(to);
    const [received]: IncomingMessage[] = await once(to, 'response');
    if (!received) throw new Error('no answer');
    answer.writeHead(received.statusCode ?? 500, received.headers);
    await pipeline(received, answer);
  };
  const server = createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, (from, answer) => {
    // Whoever gives up before the end ends nothing but this.
    handle(from, answer).catch(() => answer.destroy());
  });
  const ownPort = await listen(server);
  return {
    endpoint: `http://127.0.0.1:${ownPort}`,
    close: async () => {
      server.close();
      server.closeAllConnections();
      agent.destroy();
      await once(server, 'close');
    },
  };
}

async function sendObject(
  object: GeneratedObject,
  { method, headers }: IncomingMessage,
  answer: ServerResponse,
): Promise<void> {
  const [, first = '0', last = String(object.size - 1)] =
    /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
  const [start, end] = [Number(first), Math.min(Number(last), object.size - 1) + 1];
  answer.writeHead(headers.range === undefined ? 200 : 206, {
    'content-length': end - start,
    'last-modified': 'Wed, 01 Jan 2025 00:00:00 GMT',
    etag: '"generated"',
    ...(headers.range !== undefined && { 'content-range': `bytes ${start}-${end - 1}/${object.size}` }),
  });
  if (method === 'HEAD') {
    answer.end();
    return;
  }
  async function* pieces(): AsyncGenerator<Buffer, void, undefined> {
    for (let at = start; at < end; at += PIECE_BYTES) yield object.read(at, Math.min(PIECE_BYTES, end - at));
  }
  await pipeline(Readable.from(pieces()), answer);
}

/** An answer to ListObjectsV2; its token is the index of the next key. */
function pageOf(bucket: string, { count, key }: GeneratedKeys, from: number): string {
  const to = Math.min(count, from + 1_000);
  const objects = Array.from(
    { length: to - from },
    (_, index) =>
      `<Contents><Key>${key(from + index)}</Key><LastModified>2025-01-01T00:00:00.000Z</LastModified>` +
      '<ETag>&quot;generated&quot;</ETag><Size>0</Size></Contents>',
  );
  const next = to < count ? `<NextContinuationToken>${to}</NextContinuationToken>` : '';
  return (
    `<?xml version="1.0"?><ListBucketResult><Name>${bucket}</Name><EncodingType>url</EncodingType>` +
    `<IsTruncated>${to < count}</IsTruncated>${next}${objects.join('')}</ListBucketResult>`
  );
}
