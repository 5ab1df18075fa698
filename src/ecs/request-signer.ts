import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../clock.ts';
import { SIGNATURES_MAX, SIGNATURE_KEEP_MS } from '../limits.ts';
import type { RequestBody } from './http/connection.ts';

/** What requests to S3 are signed with. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Only temporary credentials have one. */
  readonly sessionToken?: string;
}

export interface SignerOptions {
  /** Asked before every request; what it throws is passed on. */
  readonly credentials: () => Promise<S3Credentials>;
  readonly region: string;
  /** The Host header, with the port where the URL has one. */
  readonly host: string;
  /** The date that the store has, as far as it is known: signatures carry one. */
  readonly clock: Pick<Clock, 'now'>;
}

/** Values by name. */
type Headers = Readonly<Record<string, string>>;

interface Signable {
  readonly method: string;
  readonly path: string;
  readonly query?: Headers | undefined;
  readonly headers: Headers;
}

interface Signed {
  readonly headers: Headers;
  readonly credentials: S3Credentials;
  /** The date that it carries, in milliseconds since the epoch. */
  readonly date: number;
}

/** Signs requests (AWS Signature Version 4). */
export class RequestSigner {
  readonly #options: SignerOptions;
  readonly #signed = new LRUCache<string, Signed>({ max: SIGNATURES_MAX });

  constructor(options: SignerOptions) {
    this.#options = options;
  }

  /**
   * The headers to send with a request without a body, Host excepted. The range is not signed, so that all the parts of an
   * object that are read within {@link SIGNATURE_KEEP_MS} share one signature.
   *
   * @param path as it is sent, percent-encoded
   */
  async sign(method: 'GET' | 'HEAD', path: string): Promise<Headers> {
    const credentials = await this.#options.credentials();
    const known = this.#signed.get(`${method} ${path}`);
    const date = this.#options.clock.now();
    // Also one from the future is none any more: the clock was set back.
    if (known && Math.abs(date - known.date) < SIGNATURE_KEEP_MS && isSame(known.credentials, credentials)) {
      return known.headers;
    }
    const headers = await this.#sign(credentials, date, {
      method,
      path,
      headers: { [SHA256_HEADER]: EMPTY_SHA256 },
    });
    this.#signed.set(`${method} ${path}`, { headers, credentials, date });
    return headers;
  }

  /** Uses no signature again that was made so far. */
  forget(): void {
    this.#signed.clear();
  }

  /**
   * The headers to send with a request that is made once, Host excepted. The content of a PUT is not signed, but its MD5
   * is, where the headers have it; that of a POST is.
   *
   * @param request path as it is sent, percent-encoded; query as it is before that; names of headers in lower case
   */
  async signOnce({
    body,
    ...request
  }: Signable & { readonly body?: RequestBody | undefined }): Promise<Headers> {
    const credentials = await this.#options.credentials();
    const content =
      request.method === 'PUT' || (body && !(body instanceof Uint8Array))
        ? 'UNSIGNED-PAYLOAD'
        : createHash('sha256')
            .update(body ?? '')
            .digest('hex');
    return this.#sign(credentials, this.#options.clock.now(), {
      ...request,
      headers: { ...request.headers, [SHA256_HEADER]: content },
    });
  }

  async #sign(
    credentials: S3Credentials,
    date: number,
    { headers, query = {}, ...request }: Signable,
  ): Promise<Headers> {
    const { host, region } = this.#options;
    const signer = new SignatureV4({
      credentials,
      region,
      service: 's3',
      sha256: Sha256,
      // S3 signs the path as it is sent.
      uriEscapePath: false,
    });
    const { headers: signed } = await signer.sign(
      {
        ...request,
        protocol: 'http:',
        hostname: host,
        query: { ...query },
        headers: { host, ...headers },
      },
      { signingDate: new Date(date) },
    );
    const { host: _, ...others } = signed;
    return others;
  }
}

const SHA256_HEADER = 'x-amz-content-sha256';
const EMPTY_SHA256 = createHash('sha256').digest('hex');

function isSame(a: S3Credentials, b: S3Credentials): boolean {
  return (
    a.accessKeyId === b.accessKeyId &&
    a.secretAccessKey === b.secretAccessKey &&
    a.sessionToken === b.sessionToken
  );
}

/** The hash that the signer asks for: SHA-256, or HMAC of it where there is a secret. */
class Sha256 {
  readonly #hash: Hash | Hmac;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', keyOf(secret));
  }

  update(data: Uint8Array): void {
    this.#hash.update(data);
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }

  reset(): void {
    throw new Error('a hash is used once');
  }
}

function keyOf(secret: string | ArrayBuffer | ArrayBufferView): string | Uint8Array {
  if (typeof secret === 'string') return secret;
  return ArrayBuffer.isView(secret)
    ? new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength)
    : new Uint8Array(secret);
}
