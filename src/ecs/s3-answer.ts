import { XMLParser } from 'fast-xml-parser';
import type { AnswerHead } from './http/answer-parser.ts';
import type { ResponseHead } from './response-body.ts';

/** The head of an answer from S3. */
export interface S3Head extends ResponseHead {
  /** As it was sent, in quotes. */
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
  readonly date: string | undefined;
  readonly retryAfter: string | undefined;
  /** Whether the store has given the request an id, as all S3 stores do and web pages don't. */
  readonly hasRequestId: boolean;
  /** User metadata, by lower-case names. */
  readonly metadata: Readonly<Record<string, string>>;
}

const META = 'x-amz-meta-';

/** The headers in question; of one that is repeated, the first. */
export function headOf(status: number, fields: AnswerHead['fields']): S3Head {
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
    date: values.get('date'),
    retryAfter: values.get('retry-after'),
    hasRequestId: values.has('x-amz-request-id'),
    metadata,
  };
}

/**
 * The wait that an answer asks for with Retry-After (RFC 9110, 10.2.3), in milliseconds from now on; undefined where it
 * asks for none. A date is held against that of the answer.
 *
 * @param now milliseconds since the epoch, for an answer without a date
 */
export function retryAfterMsOf({ retryAfter, date }: S3Head, now: number): number | undefined {
  if (retryAfter === undefined) return undefined;
  if (/^\d{1,9}$/.test(retryAfter)) return Number(retryAfter) * 1_000;
  const answered = Date.parse(date ?? '');
  const ms = Date.parse(retryAfter) - (Number.isNaN(answered) ? now : answered);
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

/** An ETag without the quotes that it is sent in. */
export function unquoted(etag: string | undefined): string {
  return (etag ?? '').replace(/^"|"$/g, '');
}

const parser = new XMLParser({ ignoreAttributes: true, parseTagValue: false, processEntities: true });

/** An answer that refuses what was asked for ("Error responses" of the Amazon S3 API reference). */
export class S3Refusal extends Error {
  override readonly name = 'S3Refusal';
  /** Of the answer; 200 for an error that an answer began without. */
  readonly status: number;
  /** As `NoSuchKey`; empty where the body names none. */
  readonly code: string;
  readonly head: S3Head;

  constructor(head: S3Head, body: string) {
    const { Code = '', Message = '' } = errorIn(body);
    super(Message);
    this.head = head;
    this.status = head.status;
    this.code = Code;
  }
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
