import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import { LRUCache } from 'lru-cache';
import { SIGNATURES_MAX, SIGNATURE_KEEP_MS } from '../limits.ts';

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
}

type Headers = Readonly<Record<string, string>>;

interface Signed {
  readonly headers: Headers;
  readonly credentials: S3Credentials;
  /** On the clock of `performance.now`. */
  readonly until: number;
}

/**
 * Signs requests without a body (AWS Signature Version 4). The range is not signed, so that all the parts of an object
 * that are read within {@link SIGNATURE_KEEP_MS} share one signature.
 */
export class RequestSigner {
  readonly #options: SignerOptions;
  readonly #signed = new LRUCache<string, Signed>({ max: SIGNATURES_MAX });

  constructor(options: SignerOptions) {
    this.#options = options;
  }

  /**
   * The headers to send, Host excepted.
   *
   * @param path as it is sent, percent-encoded
   */
  async sign(method: 'GET' | 'HEAD', path: string): Promise<Headers> {
    const credentials = await this.#options.credentials();
    const known = this.#signed.get(`${method} ${path}`);
    if (known && known.until > performance.now() && isSame(known.credentials, credentials)) {
      return known.headers;
    }
    const { host, region } = this.#options;
    const signer = new SignatureV4({
      credentials,
      region,
      service: 's3',
      sha256: Sha256,
      // S3 signs the path as it is sent.
      uriEscapePath: false,
    });
    const request = await signer.sign({
      method,
      protocol: 'http:',
      hostname: host,
      path,
      query: {},
      headers: { host, 'x-amz-content-sha256': EMPTY_SHA256 },
    });
    const { host: _, ...headers } = request.headers;
    this.#signed.set(`${method} ${path}`, {
      headers,
      credentials,
      until: performance.now() + SIGNATURE_KEEP_MS,
    });
    return headers;
  }
}

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
