import { XMLParser } from 'fast-xml-parser';
import {
  CONNECTION_KEEP_MS,
  CONNECT_TIMEOUT_MS,
  KiB,
  REQUEST_TIMEOUT_MS,
  STORE_REQUESTS_MAX,
} from '../limits.ts';
import type { AnswerHead } from './http/answer-parser.ts';
import type { HttpExchange, HttpRequest } from './http/connection.ts';
import { HttpPool } from './http/pool.ts';
import { type ObjectInfo, type RangeOptions, type StoredObject, StoreError } from './object-store.ts';
import { RequestSigner, type S3Credentials } from './request-signer.ts';
import { type BodySink, type ResponseHead, rangeSink, wholeSink } from './response-body.ts';
import { toStoreError } from './s3-errors.ts';

export interface S3ReaderOptions {
  readonly bucket: string;
  readonly endpoint: string;
  readonly credentials: () => Promise<S3Credentials>;
  readonly region: string;
  readonly connectTimeoutMs?: number | undefined;
  readonly silenceTimeoutMs?: number | undefined;
}

/** An error answer is read up to this size; a longer one is no S3 error. */
const ERROR_BODY_MAX_BYTES = 64 * KiB;

/**
 * What reads objects, for every file that is read and every dataset that is found. It does what the SDK does for GET
 * and HEAD without the SDK's layers, which cost several times what the request itself does: the bytes go from the
 * socket straight into the targets. The promises are those of the port.
 */
export class S3Reader {
  readonly #bucket: string;
  readonly #basePath: string;
  readonly #pool: HttpPool;
  readonly #signer: RequestSigner;

  constructor(options: S3ReaderOptions) {
    const { bucket, credentials, region } = options;
    const url = new URL(options.endpoint);
    this.#bucket = bucket;
    this.#basePath = `${url.pathname.replace(/\/+$/, '')}/${escaped(bucket)}`;
    this.#signer = new RequestSigner({ credentials, region, host: url.host });
    this.#pool = new HttpPool({
      url,
      connectionsMax: STORE_REQUESTS_MAX,
      keepMs: CONNECTION_KEEP_MS,
      connectTimeoutMs: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      silenceTimeoutMs: options.silenceTimeoutMs ?? REQUEST_TIMEOUT_MS,
    });
  }

  async getRange(
    key: string,
    offset: number,
    targets: readonly Uint8Array[],
    signal: AbortSignal | undefined,
    onFilled: RangeOptions['onFilled'],
  ): Promise<ObjectInfo> {
    const where = { bucket: this.#bucket, key };
    const length = targets.reduce((sum, target) => sum + target.length, 0);
    const range = `bytes=${offset}-${offset + length - 1}`;
    const { head, sink } = await this.#request('GET', key, signal, { range }, (answer) => {
      // First of all: the size of a page that a proxy answers with says nothing of the object's.
      lastModifiedOf(where, answer);
      const filling = rangeSink(answer, where, offset, targets, (count) =>
        onFilled?.(count, infoOf(where, answer, filling.size)),
      );
      return filling;
    });
    return infoOf(where, head, sink?.size);
  }

  async get(key: string, maxBytes: number, signal: AbortSignal | undefined): Promise<StoredObject> {
    const where = { bucket: this.#bucket, key };
    let body: Buffer = Buffer.alloc(0);
    const { head } = await this.#request('GET', key, signal, {}, (answer) => {
      lastModifiedOf(where, answer);
      const { sink, content } = wholeSink(answer, where, maxBytes);
      body = content;
      return sink;
    });
    return { ...infoOf(where, head, body.length), body };
  }

  async head(key: string, signal: AbortSignal | undefined): Promise<ObjectInfo> {
    const { head } = await this.#request('HEAD', key, signal, {});
    return infoOf({ bucket: this.#bucket, key }, head, head.contentLength);
  }

  /** Closes the connections; requests under way fail. */
  close(): void {
    this.#pool.destroy();
  }

  async #request(
    method: 'GET' | 'HEAD',
    key: string,
    signal: AbortSignal | undefined,
    headers: Readonly<Record<string, string>>,
    sinkFor?: (head: Head) => BodySink,
  ): Promise<Answer> {
    signal?.throwIfAborted();
    const where = { bucket: this.#bucket, key };
    try {
      const path = `${this.#basePath}/${escaped(key)}`;
      const signed = await this.#signer.sign(method, path);
      signal?.throwIfAborted();
      return await new Promise((resolve, reject) => {
        const exchange = new Exchange(sinkFor, signal, resolve, reject);
        exchange.begin(this.#pool, { method, path, headers: { ...signed, ...headers } });
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw toStoreError(error, where);
    }
  }
}

interface Head extends ResponseHead {
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

interface Answer {
  readonly head: Head;
  /** Filled; absent for HEAD. */
  readonly sink: BodySink | undefined;
}

/** One request and its answer. Once it has settled, whatever still arrives is let go. */
class Exchange implements HttpExchange {
  readonly #sinkFor: ((head: Head) => BodySink) | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (answer: Answer) => void;
  readonly #reject: (error: unknown) => void;
  readonly #onAbort: () => void;
  #giveUp: (() => void) | undefined;
  #settled = false;
  #head: Head | undefined;
  #sink: BodySink | undefined;
  /** The body of an error answer; undefined when the answer is what was asked for. */
  #refusal: Buffer[] | undefined;
  #refusalBytes = 0;

  constructor(
    sinkFor: ((head: Head) => BodySink) | undefined,
    signal: AbortSignal | undefined,
    resolve: (answer: Answer) => void,
    reject: (error: unknown) => void,
  ) {
    this.#sinkFor = sinkFor;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#onAbort = () => this.#fail(signal?.reason);
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  begin(pool: HttpPool, request: HttpRequest): void {
    this.#giveUp = pool.request(request, this);
  }

  onHead({ status, fields }: AnswerHead): void {
    if (this.#settled) return;
    this.#head = headOf(status, fields);
    if (status >= 300) {
      this.#refusal = [];
      return;
    }
    try {
      this.#sink = this.#sinkFor?.(this.#head);
    } catch (error) {
      this.#fail(error);
    }
  }

  room(): Uint8Array | undefined {
    return this.#settled ? undefined : this.#sink?.room;
  }

  onLanded(count: number): void {
    this.#take(() => this.#sink?.landed(count));
  }

  onData(bytes: Uint8Array): void {
    if (!this.#refusal) return this.#take(() => this.#sink?.write(bytes));
    if (this.#settled) return;
    this.#refusalBytes += bytes.length;
    if (this.#refusalBytes <= ERROR_BODY_MAX_BYTES) this.#refusal.push(Buffer.from(bytes));
    else this.#fail(refusalOf(this.#head?.status ?? 0, ''));
  }

  onEnd(): void {
    if (this.#settled) return;
    if (this.#refusal) {
      this.#fail(refusalOf(this.#head?.status ?? 0, Buffer.concat(this.#refusal).toString()));
      return;
    }
    try {
      this.#sink?.end();
      this.#succeed();
    } catch (error) {
      this.#fail(error);
    }
  }

  onError(error: Error): void {
    const isSilence = 'code' in error && error.code === 'ETIMEDOUT';
    if (this.#sink && !isSilence) this.#fail(this.#sink.broken('broke off'));
    else if (this.#refusal && !isSilence) this.#fail(refusalOf(this.#head?.status ?? 0, ''));
    else this.#fail(error);
  }

  /** Takes bytes of the body, and ends with them where no more are wanted. */
  #take(bytes: () => boolean | undefined): void {
    if (this.#settled) return;
    try {
      if (!bytes()) return;
      this.#succeed();
      this.#giveUp?.();
    } catch (error) {
      this.#fail(error);
    }
  }

  #succeed(): void {
    if (!this.#head) return this.#fail(new Error('an answer without a head'));
    this.#settle();
    this.#resolve({ head: this.#head, sink: this.#sink });
  }

  #fail(error: unknown): void {
    if (this.#settled) return;
    this.#settle();
    this.#reject(error);
    this.#giveUp?.();
  }

  #settle(): void {
    this.#settled = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }
}

const META = 'x-amz-meta-';

/** The headers in question; of one that is repeated, the first. */
function headOf(status: number, fields: AnswerHead['fields']): Head {
  const values = new Map<string, string>();
  const metadata: Record<string, string> = {};
  for (const [name, value] of fields) {
    if (name.startsWith(META)) metadata[name.slice(META.length)] ??= value;
    else if (!values.has(name)) values.set(name, value);
  }
  const length = values.get('content-length');
  return {
    status,
    contentLength: length !== undefined && /^\d+$/.test(length) ? Number(length) : undefined,
    contentRange: values.get('content-range'),
    etag: values.get('etag'),
    lastModified: values.get('last-modified'),
    metadata,
  };
}

function infoOf(
  where: { readonly bucket: string; readonly key: string },
  head: Head,
  size: number | undefined,
): ObjectInfo {
  const lastModified = lastModifiedOf(where, head);
  if (size === undefined) throw new StoreError('bad-response', where, 'the answer has no Content-Length');
  return { size, etag: unquoted(head.etag), lastModified, metadata: head.metadata };
}

/** What the answer about an object always has, and a web page mostly has not. */
function lastModifiedOf(where: { readonly bucket: string; readonly key: string }, head: Head): number {
  const lastModified = Date.parse(head.lastModified ?? '');
  if (!Number.isNaN(lastModified)) return lastModified;
  throw new StoreError(
    'bad-response',
    where,
    'the answer has no Last-Modified: it may not be from an S3 store',
  );
}

/** An ETag without the quotes that it is sent in. */
export function unquoted(etag: string | undefined): string {
  return (etag ?? '').replace(/^"|"$/g, '');
}

const parser = new XMLParser({ ignoreAttributes: true, parseTagValue: false, processEntities: true });

/** What an error answer says ("Error responses" of the Amazon S3 API reference), in the form of the SDK's errors. */
function refusalOf(status: number, body: string): Error {
  const { Code = '', Message = '' } = errorIn(body);
  return Object.assign(new Error(Message), { name: '', Code, $metadata: { httpStatusCode: status } });
}

function errorIn(body: string): { readonly Code?: string; readonly Message?: string } {
  if (!body.includes('<Error')) return {};
  try {
    const { Error: said }: { Error?: unknown } = parser.parse(body);
    if (typeof said !== 'object' || said === null) return {};
    return {
      ...('Code' in said && typeof said.Code === 'string' && { Code: said.Code }),
      ...('Message' in said && typeof said.Message === 'string' && { Message: said.Message }),
    };
  } catch {
    return {};
  }
}

/** As S3 signs it: everything but unreserved characters and slashes is percent-encoded. */
function escaped(key: string): string {
  return encodeURIComponent(key)
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%2F', '/');
}
