import { type Clock, systemClock } from '../clock.ts';
import {
  CONNECTION_KEEP_MS,
  CONNECT_TIMEOUT_MS,
  KiB,
  REQUEST_TIMEOUT_MS,
  STORE_REQUESTS_MAX,
  answerTimeoutMs,
} from '../limits.ts';
import type { AnswerHead } from './http/answer-parser.ts';
import type { HttpExchange, HttpRequest, RequestBody } from './http/connection.ts';
import { HttpPool } from './http/pool.ts';
import { RequestSigner, type S3Credentials } from './request-signer.ts';
import { type AnswerSink, TextSink } from './response-body.ts';
import { headOf, S3Refusal, type S3Head } from './s3-answer.ts';
import { StoreError } from './object-store.ts';
import { toStoreError } from './s3-errors.ts';
import { StoreClock } from './store-clock.ts';

export interface S3RequestsOptions {
  readonly bucket: string;
  readonly endpoint: string;
  readonly credentials: () => Promise<S3Credentials>;
  readonly region: string;
  readonly connectTimeoutMs?: number | undefined;
  readonly silenceTimeoutMs?: number | undefined;
  /** Default: {@link systemClock}. */
  readonly clock?: Clock | undefined;
}

/** A request for one object, or for the bucket. */
export interface S3Request {
  readonly method: HttpRequest['method'];
  /** Empty: the bucket itself. */
  readonly key: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Names in lower case. All are signed but those of a GET or HEAD without a query, whose range may differ. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  /** What the store may have to work through before it answers, in bytes; default: the size of the body. */
  readonly workBytes?: number;
}

/** An error answer is read up to this size; a longer one is no S3 error. */
const ERROR_BODY_MAX_BYTES = 64 * KiB;

/**
 * The requests to a bucket over connections of our own and without the layers of the AWS SDK, which cost several times
 * what the requests themselves do.
 */
export class S3Requests {
  readonly #bucket: string;
  readonly #basePath: string;
  readonly #silenceTimeoutMs: number;
  readonly #pool: HttpPool;
  readonly #signer: RequestSigner;
  readonly #date: StoreClock;

  constructor(options: S3RequestsOptions) {
    const { bucket, credentials, region, clock = systemClock } = options;
    const url = new URL(options.endpoint);
    this.#bucket = bucket;
    this.#basePath = `${url.pathname.replace(/\/+$/, '')}/${escaped(bucket)}`;
    this.#date = new StoreClock(clock);
    this.#signer = new RequestSigner({ credentials, region, host: url.host, clock: this.#date });
    this.#silenceTimeoutMs = options.silenceTimeoutMs ?? REQUEST_TIMEOUT_MS;
    this.#pool = new HttpPool({
      url,
      connectionsMax: STORE_REQUESTS_MAX,
      keepMs: CONNECTION_KEEP_MS,
      connectTimeoutMs: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      silenceTimeoutMs: this.#silenceTimeoutMs,
      clock,
    });
  }

  /**
   * Makes a request once.
   *
   * @param sinkFor takes the body of an answer that is no refusal; default: it is read and forgotten
   * @throws StoreError, or the signal's reason
   */
  async send<S extends AnswerSink>(
    s3Request: S3Request,
    signal: AbortSignal | undefined,
    sinkFor?: (head: S3Head) => S,
  ): Promise<S3Answer<S>> {
    const { method, key, query, headers = {}, body } = s3Request;
    signal?.throwIfAborted();
    try {
      const path = `${this.#basePath}/${escaped(key)}`;
      const signed =
        (method === 'GET' || method === 'HEAD') && !query
          ? { ...(await this.#signer.sign(method, path)), ...headers }
          : await this.#signer.signOnce({ method, path, query, headers, body });
      signal?.throwIfAborted();
      const request = {
        method,
        path: path + queryText(query),
        headers: signed,
        body,
        answerTimeoutMs: answerTimeoutMs(s3Request.workBytes ?? sizeOf(body), this.#silenceTimeoutMs),
      };
      return await new Promise((resolve, reject) => {
        new Exchange(sinkFor, signal, resolve, reject).begin(this.#pool, request);
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw this.storeErrorOf(error, s3Request);
    }
  }

  /**
   * Removes an object, or with a query what belongs to it. A web page removes nothing, whatever its status is: only the
   * answer of an S3 store counts, which is empty ("DeleteObject" of the Amazon S3 API reference).
   *
   * @throws StoreError as {@link send}; `no-such-key` and `no-such-upload` only where the store says so itself
   */
  async delete(key: string, query: S3Request['query'], signal: AbortSignal | undefined): Promise<void> {
    const where = { bucket: this.#bucket, key };
    const { head, sink } = await this.send(
      { method: 'DELETE', key, ...(query && { query }) },
      signal,
      () => new TextSink(where, ERROR_BODY_MAX_BYTES),
    );
    const isEmpty = sink?.text.trim() === '';
    if (head.status === 204 || (head.status === 200 && isEmpty && head.hasRequestId)) return;
    const detail = `the answer to a delete (status ${head.status}) is not from an S3 store`;
    throw new StoreError('bad-response', where, detail);
  }

  /**
   * What a request has failed with, as the port promises it. After `clock-skew` the next requests are signed anew, with
   * the date that the store has said to have. The answer to a HEAD can't say what is wrong, but has that date.
   */
  storeErrorOf(error: unknown, { method, key, query }: S3Request): Error {
    const where = { bucket: this.#bucket, key: key || (query?.['prefix'] ?? '') };
    const failed = toStoreError(error, where, this.#date.now());
    if (!(error instanceof S3Refusal && failed instanceof StoreError)) return failed;
    if (method === 'DELETE' && error.status === 404 && error.code === '') {
      return new StoreError(
        'bad-response',
        where,
        'the answer to a delete (status 404) is not from an S3 store',
      );
    }
    const { date } = error.head;
    const isSkewedHead = method === 'HEAD' && error.status === 403 && this.#date.isFarFrom(date);
    if (failed.reason !== 'clock-skew' && !isSkewedHead) return failed;
    this.#signer.forget();
    this.#date.learn(date);
    if (!isSkewedHead) return failed;
    return new StoreError('clock-skew', where, `the store refuses, and has another date, ${date}`);
  }

  /** Closes the connections; requests under way fail. */
  close(): void {
    this.#pool.destroy();
  }
}

/** What came back, and was no refusal. */
export interface S3Answer<S extends AnswerSink> {
  readonly head: S3Head;
  /** Filled; absent where nobody takes the body. */
  readonly sink: S | undefined;
}

/** One request and its answer. Once it has settled, whatever still arrives is let go. */
class Exchange<S extends AnswerSink> implements HttpExchange {
  readonly #sinkFor: ((head: S3Head) => S) | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (answer: S3Answer<S>) => void;
  readonly #reject: (error: unknown) => void;
  readonly #onAbort: () => void;
  #giveUp: (() => void) | undefined;
  #settled = false;
  #head: S3Head | undefined;
  #sink: S | undefined;
  /** The body of an error answer, and of one that nobody takes. */
  #text: Buffer[] | undefined;
  #textBytes = 0;

  constructor(
    sinkFor: ((head: S3Head) => S) | undefined,
    signal: AbortSignal | undefined,
    resolve: (answer: S3Answer<S>) => void,
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
    if (status >= 300 || !this.#sinkFor) {
      this.#text = [];
      return;
    }
    try {
      this.#sink = this.#sinkFor(this.#head);
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
    if (!this.#text) return this.#take(() => this.#sink?.write(bytes));
    if (this.#settled) return;
    this.#textBytes += bytes.length;
    if (this.#textBytes <= ERROR_BODY_MAX_BYTES) this.#text.push(Buffer.from(bytes));
    else this.#refuse('');
  }

  onEnd(): void {
    if (this.#settled) return;
    if (this.#status >= 300) {
      this.#refuse(Buffer.concat(this.#text ?? []).toString());
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
    else if (this.#status >= 300 && !isSilence) this.#refuse('');
    else this.#fail(error);
  }

  /** 0 before the head is there. */
  get #status(): number {
    return this.#head?.status ?? 0;
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

  #refuse(body: string): void {
    this.#fail(new S3Refusal(this.#head ?? headOf(0, []), body));
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

/** As S3 signs it: everything but unreserved characters and slashes is percent-encoded. */
function escaped(key: string): string {
  return encoded(key).replaceAll('%2F', '/');
}

function encoded(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function sizeOf(body: RequestBody | undefined): number {
  if (!body) return 0;
  return body instanceof Uint8Array ? body.length : body.size;
}

function queryText(query: Readonly<Record<string, string>> = {}): string {
  const pairs = Object.entries(query).map(([name, value]) => `${encoded(name)}=${encoded(value)}`);
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}
