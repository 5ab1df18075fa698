import type { Clock } from '../../clock.ts';
import type { ChecksumName } from './checksum.ts';
import { PAGE_MAX, PUT_MAX_BYTES } from './limits.ts';
import { receive, type Received } from './payload.ts';
import type { S3Request } from './request.ts';
import { S3Error } from './s3-error.ts';
import type { PayloadKind } from './sigv4.ts';
import type { ContentReader, ContentWriter } from './storage.ts';
import type { Store } from './store.ts';

/** What a handler works with: a request that is authenticated and allowed. */
export interface Context {
  readonly store: Store;
  readonly clock: Clock;
  readonly region: string;
  readonly request: S3Request;
  readonly payload: PayloadKind;
  /** The user's name. */
  readonly user: string;
  /** Whether the user may do something to a bucket or, with a key, to an object of it. */
  readonly isAllowed: (action: string, bucket: string, key?: string) => boolean;
}

/** What a handler answers with. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Bytes in memory, or a part of an object's content, whose reader is closed when it was sent. */
  readonly body?: Buffer | { readonly reader: ContentReader; readonly start: number; readonly end: number };
}

export type Handler = (context: Context) => Answer | Promise<Answer>;

/** An answer with an XML document. */
export function xmlAnswer(body: Buffer, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status: 200, headers: { 'Content-Type': 'application/xml', ...headers }, body };
}

/**
 * A query parameter that is a whole number.
 *
 * @throws S3Error InvalidArgument for what is none, or is out of range
 */
export function numberParam(
  request: S3Request,
  name: string,
  fallback: number,
  min: number,
  max: number,
): number {
  const text = request.param(name);
  if (text === undefined) return fallback;
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw new S3Error('InvalidArgument', `${name} must be a number between ${min} and ${max}`);
  }
  return value;
}

/** The size of a page that a listing asks for; more than S3 gives is no error. */
export function pageSize(request: S3Request, name: string): number {
  return Math.min(PAGE_MAX, numberParam(request, name, PAGE_MAX, 0, 2 ** 31 - 1));
}

/**
 * Receives the content of an upload, with all checks. The writer that comes back is to be finished or discarded.
 *
 * @param computed checksum to compute where the client sends none
 */
export async function receiveContent(
  { store, request, payload }: Context,
  computed?: ChecksumName,
): Promise<{ readonly writer: ContentWriter; readonly received: Received }> {
  if (payload.kind !== 'chunked' && request.header('content-length') === undefined) {
    // By HTTP that is an empty body; S3 wants it said, so that a broken upload makes no empty object.
    if (request.header('transfer-encoding') === undefined) throw new S3Error('MissingContentLength');
  }
  const writer = await store.newContent();
  try {
    const received = await receive(
      request,
      payload,
      PUT_MAX_BYTES,
      'EntityTooLarge',
      (piece) => writer.write(piece),
      computed,
    );
    return { writer, received };
  } catch (error) {
    await writer.discard();
    throw error;
  }
}
