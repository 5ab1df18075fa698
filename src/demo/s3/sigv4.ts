import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { CLOCK_SKEW_MAX_MS, PRESIGNED_MAX_SECONDS } from './limits.ts';
import type { S3Request } from './request.ts';
import { S3Error } from './s3-error.ts';

/** What a request says of its body: the value of `x-amz-content-sha256`, read. */
export type PayloadKind =
  | { readonly kind: 'plain' }
  | { readonly kind: 'hashed'; readonly sha256: string }
  | { readonly kind: 'chunked'; readonly trailer: boolean; readonly signing: ChunkSigning | undefined };

/** What the signature of the first chunk of a body builds on. */
export interface ChunkSigning {
  readonly key: Buffer;
  /** `x-amz-date`. */
  readonly date: string;
  readonly scope: string;
  /** Signature of the headers, in hexadecimal. */
  readonly seed: string;
}

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

interface Claim {
  readonly accessKeyId: string;
  /** `<day>/<region>/s3/aws4_request`. */
  readonly scope: readonly string[];
  readonly date: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  /** The `x-amz-content-sha256` that was signed. */
  readonly payload: string;
  /** Seconds; undefined for a signature in the Authorization header. */
  readonly expires: number | undefined;
}

/**
 * Checks a request's Signature Version 4, in the Authorization header or the query (presigned), as the section
 * "Authenticating Requests (AWS Signature Version 4)" of the S3 API reference describes it.
 *
 * @param now milliseconds since the epoch
 * @param find the user with an access key id
 * @returns the user who signed, and what the signature says of the body
 * @throws S3Error with the code that S3 has for each way to fail
 */
export function authenticate<User extends Credentials>(
  request: S3Request,
  region: string,
  now: number,
  find: (accessKeyId: string) => User | undefined,
): { readonly user: User; readonly payload: PayloadKind } {
  const claim = request.headers.authorization === undefined ? claimOfQuery(request) : claimOfHeader(request);
  checkScope(claim, region);
  if (request.header('x-amz-security-token') !== undefined) throw new S3Error('InvalidToken');
  const user = find(claim.accessKeyId);
  if (!user) throw new S3Error('InvalidAccessKeyId');
  checkTime(claim, now);
  for (const name of Object.keys(request.headers)) {
    if ((name.startsWith('x-amz-') || name === 'host') && !claim.signedHeaders.includes(name)) {
      throw new S3Error(
        'AccessDenied',
        `There were headers present in the request which were not signed: ${name}`,
      );
    }
  }
  const key = claim.scope.reduce<Buffer>(
    (secret, part) => hmac(secret, part),
    Buffer.from(`AWS4${user.secretAccessKey}`),
  );
  const scope = claim.scope.join('/');
  const expected = hmac(
    key,
    `AWS4-HMAC-SHA256\n${claim.date}\n${scope}\n${sha256(canonicalRequest(request, claim))}`,
  );
  const given = Buffer.from(claim.signature, 'hex');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new S3Error('SignatureDoesNotMatch');
  }
  return {
    user,
    payload: payloadKind(claim.payload, { key, date: claim.date, scope, seed: claim.signature }),
  };
}

/** The signature of a chunk of an aws-chunked body, in hexadecimal. */
export function signChunk(signing: ChunkSigning, previous: string, sha256OfChunk: string): string {
  return hmac(
    signing.key,
    `AWS4-HMAC-SHA256-PAYLOAD\n${signing.date}\n${signing.scope}\n${previous}\n${sha256('')}\n${sha256OfChunk}`,
  ).toString('hex');
}

/** The signature of the trailers of an aws-chunked body, in hexadecimal. */
export function signTrailer(signing: ChunkSigning, previous: string, trailers: string): string {
  return hmac(
    signing.key,
    `AWS4-HMAC-SHA256-TRAILER\n${signing.date}\n${signing.scope}\n${previous}\n${sha256(trailers)}`,
  ).toString('hex');
}

function claimOfHeader(request: S3Request): Claim {
  const authorization = request.headers.authorization ?? '';
  if (authorization.startsWith('AWS ')) {
    throw new S3Error(
      'InvalidRequest',
      'The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.',
    );
  }
  if (!authorization.startsWith('AWS4-HMAC-SHA256')) {
    throw new S3Error('InvalidArgument', 'Unsupported Authorization Type');
  }
  const fields = new Map(
    authorization
      .slice('AWS4-HMAC-SHA256'.length)
      .split(',')
      .map((field) => {
        const equals = field.indexOf('=');
        return [field.slice(0, equals).trim(), field.slice(equals + 1).trim()] as const;
      }),
  );
  const credential = (fields.get('Credential') ?? '').split('/');
  const signedHeaders = fields.get('SignedHeaders');
  const signature = fields.get('Signature') ?? '';
  if (credential.length < 5 || !signedHeaders || !/^[0-9a-f]{64}$/.test(signature)) {
    throw new S3Error('AuthorizationHeaderMalformed');
  }
  const payload = request.header('x-amz-content-sha256');
  if (payload === undefined) {
    throw new S3Error('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256');
  }
  return {
    accessKeyId: credential.slice(0, -4).join('/'),
    scope: credential.slice(-4),
    date: request.header('x-amz-date') ?? basicFormat(request.headers.date),
    signedHeaders: signedHeaders.split(';'),
    signature,
    payload,
    expires: undefined,
  };
}

/** An HTTP date in the form of `x-amz-date`; empty for what is no date. */
function basicFormat(date: string | undefined): string {
  const ms = Date.parse(date ?? '');
  return Number.isNaN(ms) ? '' : new Date(ms).toISOString().replace(/[-:]|\.\d{3}/g, '');
}

function claimOfQuery(request: S3Request): Claim {
  const param = (name: string): string => request.param(`X-Amz-${name}`) ?? '';
  // Without any signature the request is anonymous, and everything here is private.
  if (!param('Signature') && !param('Algorithm')) throw new S3Error('AccessDenied');
  const credential = param('Credential').split('/');
  const expires = /^\d{1,9}$/.test(param('Expires')) ? Number(param('Expires')) : Number.NaN;
  if (
    param('Algorithm') !== 'AWS4-HMAC-SHA256' ||
    credential.length < 5 ||
    !/^[0-9a-f]{64}$/.test(param('Signature')) ||
    !param('SignedHeaders') ||
    !(expires >= 1 && expires <= PRESIGNED_MAX_SECONDS)
  ) {
    throw new S3Error('AuthorizationQueryParametersError');
  }
  return {
    accessKeyId: credential.slice(0, -4).join('/'),
    scope: credential.slice(-4),
    date: param('Date'),
    signedHeaders: param('SignedHeaders').split(';'),
    signature: param('Signature'),
    payload: request.header('x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD',
    expires,
  };
}

function checkScope(claim: Claim, region: string): void {
  const malformed =
    claim.expires === undefined ? 'AuthorizationHeaderMalformed' : 'AuthorizationQueryParametersError';
  const [day, ownRegion, service, end] = claim.scope;
  if (ownRegion !== region) {
    throw new S3Error(malformed, `The region '${ownRegion}' is wrong; expecting '${region}'`);
  }
  if (service !== 's3' || end !== 'aws4_request') {
    throw new S3Error(malformed, 'The credential must end with /s3/aws4_request');
  }
  if (!/^\d{8}T\d{6}Z$/.test(claim.date)) {
    throw new S3Error('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header');
  }
  if (!claim.date.startsWith(`${day}T`)) {
    throw new S3Error(malformed, 'The date of the credential is not that of the request');
  }
  if (!claim.signedHeaders.includes('host')) throw new S3Error(malformed, 'The host header must be signed');
}

function checkTime(claim: Claim, now: number): void {
  const time = Date.parse(
    claim.date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'),
  );
  if (claim.expires === undefined) {
    // The negation takes dates that the calendar has not, too.
    if (!(Math.abs(now - time) <= CLOCK_SKEW_MAX_MS)) throw new S3Error('RequestTimeTooSkewed');
  } else {
    if (!(time - now <= CLOCK_SKEW_MAX_MS)) throw new S3Error('AccessDenied', 'Request is not yet valid');
    if (now > time + claim.expires * 1000) throw new S3Error('AccessDenied', 'Request has expired');
  }
}

function canonicalRequest(request: S3Request, claim: Claim): string {
  const query = request.query
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => [uriEncode(name), uriEncode(value)] as const)
    .toSorted(([a, x], [b, y]) => (a === b ? compare(x, y) : compare(a, b)))
    .map(([name, value]) => `${name}=${value}`);
  const headers = claim.signedHeaders.map((name) => {
    const value = request.headers[name];
    const text = Array.isArray(value) ? value.join(',') : (value ?? '');
    return `${name}:${text.replace(/[ \t]+/g, ' ').replace(/^ | $/g, '')}\n`;
  });
  return [
    request.method,
    uriEncode(request.resource).replaceAll('%2F', '/'),
    query.join('&'),
    headers.join(''),
    claim.signedHeaders.join(';'),
    claim.payload,
  ].join('\n');
}

function payloadKind(value: string, signing: ChunkSigning): PayloadKind {
  switch (value) {
    case 'UNSIGNED-PAYLOAD':
      return { kind: 'plain' };
    case 'STREAMING-UNSIGNED-PAYLOAD-TRAILER':
      return { kind: 'chunked', trailer: true, signing: undefined };
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD':
      return { kind: 'chunked', trailer: false, signing };
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER':
      return { kind: 'chunked', trailer: true, signing };
    default:
      if (/^[0-9a-f]{64}$/.test(value)) return { kind: 'hashed', sha256: value };
      throw new S3Error(
        'InvalidArgument',
        'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, one of the STREAMING- values, or a SHA-256 in hexadecimal',
      );
  }
}

/** Percent-encodes every byte but the unreserved ones of RFC 3986, as Signature Version 4 wants it. */
export function uriEncode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Header values hold one character for each byte that was sent, and it is the bytes that are signed. */
function sha256(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex');
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'latin1').digest();
}
