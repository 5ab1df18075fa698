import { XMLParser, XMLValidator } from 'fast-xml-parser';
import type { z } from 'zod';
import { S3Error } from './s3-error.ts';

/** What an element holds: text, child elements in the order of the properties, or several elements of one name. */
export type XmlContent =
  | string
  | number
  | boolean
  | undefined
  | readonly XmlContent[]
  | { readonly [name: string]: XmlContent };

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/**
 * Text as XML has it. Control characters, which a parser would normalise or XML 1.0 has no place for, become character
 * references as S3 writes them.
 */
function escapeText(text: string): string {
  return text.replace(
    // oxlint-disable-next-line no-control-regex -- they are what is looked for
    /[&<>"\u0000-\u001f\u007f-\u009f\u2028\ufffe\uffff]/g,
    (char) => ESCAPES[char] ?? `&#x${char.charCodeAt(0).toString(16)};`,
  );
}

function render(name: string, content: XmlContent): string {
  if (content === undefined) return '';
  if (Array.isArray(content)) return content.map((item: XmlContent) => render(name, item)).join('');
  return `<${name}>${renderContent(content)}</${name}>`;
}

function renderContent(content: XmlContent): string {
  if (typeof content !== 'object') return escapeText(String(content ?? ''));
  return Object.entries(content)
    .map(([name, child]) => render(name, child))
    .join('');
}

/**
 * An XML document in UTF-8. Properties that are undefined are left out, an array repeats its element.
 *
 * @param root the name of the root element
 */
export function xmlDocument(root: string, content: XmlContent): Buffer {
  const namespace = root === 'Error' ? '' : ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
  return Buffer.from(
    `<?xml version="1.0" encoding="UTF-8"?>\n<${root}${namespace}>${renderContent(content)}</${root}>`,
  );
}

const parser = new XMLParser({
  ignoreAttributes: true,
  ignoreDeclaration: true,
  ignorePiTags: true,
  removeNSPrefix: true,
  parseTagValue: false,
  trimValues: false,
  htmlEntities: true,
  // White space between elements is no content; an element without content is the empty string.
  isArray: (name) => name === 'Object' || name === 'Part',
});

/** References to control characters, which XML 1.0 has no place for; the parser would leave them out. */
const CONTROL_REFERENCE = /&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[124-9]|2\d|3[01]));/i;

/**
 * Parses the XML of a request's body and checks its shape. Text comes as it is, white space included.
 *
 * @throws S3Error MalformedXML for whatever is not well-formed, has a DTD, or has another shape
 */
export function parseXml<T>(body: Buffer, schema: z.ZodType<T>): T {
  const text = body.toString('utf8');
  // Entities could only be declared in a DTD, and no request of S3 has one.
  if (text.includes('<!DOCTYPE') || CONTROL_REFERENCE.test(text) || XMLValidator.validate(text) !== true) {
    throw new S3Error('MalformedXML');
  }
  let parsed: unknown;
  try {
    parsed = parser.parse(text);
  } catch {
    throw new S3Error('MalformedXML');
  }
  const result = schema.safeParse(parsed);
  if (!result.success) throw new S3Error('MalformedXML');
  return result.data;
}
