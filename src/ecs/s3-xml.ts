import { XMLParser, XMLValidator } from 'fast-xml-parser';

/** Elements that there may be several of, in whatever answer. */
const REPEATED: ReadonlySet<string> = new Set(['Contents', 'CommonPrefixes', 'Upload']);

const parser = new XMLParser({
  ignoreAttributes: true,
  ignoreDeclaration: true,
  removeNSPrefix: true,
  parseTagValue: false,
  trimValues: false,
  // Quotes around an ETag are references by number in some stores.
  htmlEntities: true,
  isArray: (name) => REPEATED.has(name),
});

/**
 * Parses an answer in XML, around which a store may have put white space to keep the connection alive.
 *
 * @returns the root element by its name, or nothing where the text is no XML or not all of it
 */
export function xmlIn(text: string): Readonly<Record<string, unknown>> {
  const trimmed = text.trim();
  // The parser would make something of what is cut off, too, and no answer declares entities.
  if (trimmed.includes('<!DOCTYPE') || XMLValidator.validate(trimmed) !== true) return {};
  return parser.parse(trimmed);
}

/** Text as it stands in an element. */
export function escapedXml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
