import { XMLParser } from 'fast-xml-parser';
import type { AnswerHead } from './http/answer-parser.ts';
import type { ResponseHead } from './response-body.ts';

/** The head of an answer from S3. */
export interface S3Head extends ResponseHead {
  /** As it was sent, in quotes. */
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
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
    metadata,
  };
}

/** An ETag without the quotes that it is sent in. */
export function unquoted(etag: string | undefined): string {
  return (etag ?? '').replace(/^"|"$/g, '');
}

const parser = new XMLParser({ ignoreAttributes: true, parseTagValue: false, processEntities: true });

/** What an error answer says ("Error responses" of the Amazon S3 API reference), in the form of the SDK's errors. */
export function refusalOf(status: number, body: string): Error {
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
