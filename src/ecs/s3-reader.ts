import { isUtf8 } from 'node:buffer';
import { XMLParser } from 'fast-xml-parser';
import { type Dispatcher, Pool } from 'undici';
import {
  CONNECTION_KEEP_MS,
  CONNECT_TIMEOUT_MS,
  KiB,
  REQUEST_TIMEOUT_MS,
  STORE_REQUESTS_MAX,
} from '../limits.ts';
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
 * socket's buffers straight into the targets. The promises are those of the port.
 */
export class S3Reader {
  readonly #bucket: string;
  readonly #basePath: string;
  readonly #pool: Pool;
  readonly #signer: RequestSigner;

  constructor(options: S3ReaderOptions) {
    const { bucket, credentials, region } = options;
    const url = new URL(options.endpoint);
    const silenceTimeoutMs = options.silenceTimeoutMs ?? REQUEST_TIMEOUT_MS;
    this.#bucket = bucket;
    this.#basePath = `${url.pathname.replace(/\/+$/, '')}/${escaped(bucket)}`;
    this.#signer = new RequestSigner({ credentials, region, host: url.host });
    this.#pool = new Pool(url.origin, {
      connections: STORE_REQUESTS_MAX,
      pipelining: 1,
      keepAliveTimeout: CONNECTION_KEEP_MS,
      headersTimeout: silenceTimeoutMs,
      bodyTimeout: silenceTimeoutMs,
      connect: {
        timeout: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
        // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED=0 does not undo it.
        rejectUnauthorized: true,
      },
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
    // Who waits for a request hears of it there.
    this.#pool.destroy().catch(() => {});
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
        // Without `reset` undici closes the connection after every HEAD.
        this.#pool.dispatch({ method, path, headers: { ...signed, ...headers }, reset: false }, exchange);
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
class Exchange implements Dispatcher.DispatchHandler {
  readonly #sinkFor: ((head: Head) => BodySink) | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (answer: Answer) => void;
  readonly #reject: (error: unknown) => void;
  readonly #onAbort: () => void;
  #controller: Dispatcher.DispatchController | undefined;
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

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#settled) controller.abort(new Error('given up'));
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (this.#settled || status < 200) return;
    this.#head = headOf(status, controller.rawHeaders);
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

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#settled) return;
    if (this.#refusal) {
      this.#refusalBytes += chunk.length;
      if (this.#refusalBytes <= ERROR_BODY_MAX_BYTES) this.#refusal.push(chunk);
      else this.#fail(refusalOf(this.#head?.status ?? 0, ''));
      return;
    }
    try {
      if (this.#sink?.write(chunk)) this.#succeed('and the rest is not wanted');
    } catch (error) {
      this.#fail(error);
    }
  }

  onResponseEnd(): void {
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

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const isSilence = 'code' in error && error.code === 'UND_ERR_BODY_TIMEOUT';
    if (this.#sink && !isSilence) this.#fail(this.#sink.broken('broke off'));
    else if (this.#refusal && !isSilence) this.#fail(refusalOf(this.#head?.status ?? 0, ''));
    else this.#fail(error);
  }

  #succeed(rest?: 'and the rest is not wanted'): void {
    if (!this.#head) return this.#fail(new Error('an answer without a head'));
    this.#settle();
    this.#resolve({ head: this.#head, sink: this.#sink });
    if (rest) this.#controller?.abort(new Error(rest));
  }

  #fail(error: unknown): void {
    if (this.#settled) return;
    this.#settle();
    this.#reject(error);
    // Closes the connection, unless the answer is at its end.
    this.#controller?.abort(new Error('given up'));
  }

  #settle(): void {
    this.#settled = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }
}

const META = 'x-amz-meta-';

/** The headers in question; of one that is repeated, the first. */
function headOf(status: number, rawHeaders: Dispatcher.DispatchController['rawHeaders']): Head {
  const values = new Map<string, string>();
  const metadata: Record<string, string> = {};
  const list = Array.isArray(rawHeaders) ? rawHeaders : [];
  for (let index = 0; index + 1 < list.length; index += 2) {
    const name = String(list[index]).toLowerCase();
    const value = asSent(Buffer.from(list[index + 1] ?? ''));
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
  const lastModified = Date.parse(head.lastModified ?? '');
  if (size === undefined || Number.isNaN(lastModified)) {
    throw new StoreError('bad-response', where, 'the answer has no Content-Length or no Last-Modified');
  }
  return { size, etag: unquoted(head.etag), lastModified, metadata: head.metadata };
}

/** An ETag without the quotes that it is sent in. */
export function unquoted(etag: string | undefined): string {
  return (etag ?? '').replace(/^"|"$/g, '');
}

function asSent(value: Buffer): string {
  return isUtf8(value) ? value.toString('utf8') : value.toString('latin1');
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
