import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { KEY_MAX_BYTES } from './limits.ts';
import { S3Error } from './s3-error.ts';

/** An HTTP request, read as S3 reads one in path style: `/bucket/key?query`. */
export interface S3Request {
  readonly method: string;
  /** Empty for a request to the service itself. */
  readonly bucket: string;
  /** Empty for a request to a bucket. */
  readonly key: string;
  /** The decoded path, as error documents name it. */
  readonly resource: string;
  /** Names and values in the order they came in, decoded. */
  readonly query: readonly (readonly [name: string, value: string])[];
  readonly headers: IncomingHttpHeaders;
  /** The first query parameter of that name. */
  readonly param: (name: string) => string | undefined;
  /**
   * A header by its name in lower case. On a presigned request an `x-amz-` header may stand in the query instead.
   * The characters are the header's bytes.
   */
  readonly header: (name: string) => string | undefined;
  /** The names of all headers that `header` knows. */
  readonly headerNames: () => readonly string[];
  /** The bytes of the body as HTTP delivers them, to be read once. */
  readonly body: () => AsyncIterable<Buffer>;
}

/** Where a request goes to, before anything is known of its user. */
export type Target = Pick<S3Request, 'bucket' | 'key' | 'resource' | 'query'>;

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new S3Error('InvalidURI');
  }
}

/**
 * Parses the target of a request line.
 *
 * @param url as it was sent
 * @throws S3Error InvalidURI for what is no percent-encoded UTF-8, KeyTooLongError for a key over 1,024 bytes
 */
export function parseTarget(url: string): Target {
  // oxlint-disable-next-line no-control-regex -- bytes that no URL has
  const match = /^(?:http:\/\/[^/?#]*)?(\/[^?]*)(?:\?(.*))?$/s.exec(url);
  if (!match || /[^\x21-\x7e]/.test(url)) throw new S3Error('InvalidURI');
  const resource = decode(match[1] ?? '');
  const slash = resource.indexOf('/', 1);
  const bucket = slash === -1 ? resource.slice(1) : resource.slice(1, slash);
  const key = slash === -1 ? '' : resource.slice(slash + 1);
  if (bucket === '' && key !== '') throw new S3Error('InvalidBucketName');
  if (Buffer.byteLength(key) > KEY_MAX_BYTES) throw new S3Error('KeyTooLongError');
  const query = (match[2] ?? '')
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const text = pair.replaceAll('+', '%20');
      const equals = text.indexOf('=');
      return equals === -1
        ? ([decode(text), ''] as const)
        : ([decode(text.slice(0, equals)), decode(text.slice(equals + 1))] as const);
    });
  return { bucket, key, resource, query };
}

/**
 * Joins what is known of a request.
 *
 * @param beforeBody is called when somebody starts to read the body
 */
export function toS3Request(message: IncomingMessage, target: Target, beforeBody: () => void): S3Request {
  const { headers } = message;
  const params = new Map(target.query.toReversed());
  const presigned = params.has('X-Amz-Signature');
  const hoisted = new Map(
    presigned
      ? target.query
          .map(([name, value]) => [name.toLowerCase(), value] as const)
          .filter(([name]) => name.startsWith('x-amz-'))
      : [],
  );
  return {
    ...target,
    method: message.method ?? '',
    headers,
    param: (name) => params.get(name),
    header: (name) => {
      const value = headers[name];
      if (value !== undefined) return typeof value === 'string' ? value : value.join(',');
      const param = hoisted.get(name);
      return param === undefined ? undefined : headerBytes(param);
    },
    headerNames: () => [...new Set([...Object.keys(headers), ...hoisted.keys()])],
    body: () => {
      beforeBody();
      // The connection is still needed for the answer when a reader stops early.
      return message.iterator({ destroyOnReturn: false });
    },
  };
}

/** The form in which Node sends a text as header value in UTF-8: one character for each byte. */
export function headerBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
