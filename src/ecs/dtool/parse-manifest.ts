import { isTimestamp } from './timestamp.ts';
import { ItemTableBuilder } from './item-table-builder.ts';
import { IDENTIFIER_BYTES, type ItemColumns } from './item-table.ts';
import { describe } from './json.ts';
import {
  type ByteSource,
  CLOSE_OBJECT,
  COLON,
  decodeString,
  JsonFlaw,
  JsonScanner,
  OPEN_OBJECT,
  QUOTE,
  type StringToken,
} from './json-scanner.ts';
import { MANIFEST_ITEMS_MAX, MANIFEST_TEXT_MAX_BYTES } from '../../limits.ts';

/** A manifest as plain data. */
export interface ParsedManifest {
  readonly dtoolcoreVersion: string | undefined;
  readonly hashFunction: string | undefined;
  readonly columns: ItemColumns;
}

/** Flaws of single items that are remembered: an item that comes later with the same identifier mends one. */
const REMEMBERED_FLAWS_MAX = 1_000;

/**
 * Reads the text of `manifest.json` while it comes in. Memory is bounded by what the items take packed, plus the chunk
 * at hand; see {@link ItemColumns}.
 *
 * @returns the manifest, or what is wrong, as a sentence without a full stop: what is no JSON at all counts first, then
 *   what has the wrong kind, the first item and field that is
 */
export function parseManifestText(next: ByteSource): ParsedManifest | { readonly flaw: string } {
  const scanner = new JsonScanner(next, MANIFEST_TEXT_MAX_BYTES);
  try {
    return new ManifestParser(scanner).parse();
  } catch (error) {
    if (error instanceof JsonFlaw) return { flaw: error.message };
    throw error;
  }
}

const FIELDS = ['relpath', 'size_in_bytes', 'hash', 'utc_timestamp'] as const;
const [RELPATH, SIZE, HASH] = [0, 1, 2];
const FIELD_BYTES = FIELDS.map((name) => Buffer.from(name));
const EXPECTED = [
  'a string',
  'a whole number, 0 to 2^53 - 1,',
  'a string',
  'seconds since the epoch',
] as const;

class ManifestParser {
  readonly #scanner: JsonScanner;
  #items = new ItemTableBuilder();
  /** What is wrong with `items` as a whole. */
  #itemsFlaw: string | undefined = wrong('items', undefined, 'an object');
  /** The first key of `items` that is no identifier, and the row that came next. */
  #keyFlaw: { readonly row: number; readonly flaw: string } | undefined;
  /** What is wrong with items, by row. */
  #flaws = new Map<number, string>();
  /** Whether there are more than could be remembered. */
  #hasMoreFlaws = false;
  /** What each field of the present item is, in words, where that is wrong. */
  readonly #wrongFields: (string | undefined)[] = FIELDS.map(() => undefined);

  constructor(scanner: JsonScanner) {
    this.#scanner = scanner;
  }

  parse(): ParsedManifest | { readonly flaw: string } {
    const scanner = this.#scanner;
    if (scanner.peek() !== OPEN_OBJECT) {
      const value = scanner.value();
      scanner.finish();
      return { flaw: wrong('the manifest', value, 'an object') };
    }
    const texts = new Map<string, unknown>();
    this.#eachMember((key) => {
      const name = decodeString(key);
      scanner.expect(COLON);
      if (name === 'items') this.#readItems();
      else if (name === 'hash_function' || name === 'dtoolcore_version') texts.set(name, scanner.value());
      else scanner.skip();
    });
    scanner.finish();
    if (this.#itemsFlaw !== undefined) return { flaw: this.#itemsFlaw };
    const hashFunction = texts.get('hash_function');
    if (hashFunction !== undefined && typeof hashFunction !== 'string') {
      return { flaw: wrong('hash_function', hashFunction, 'a string') };
    }
    const dtoolcoreVersion = texts.get('dtoolcore_version');
    if (dtoolcoreVersion !== undefined && typeof dtoolcoreVersion !== 'string') {
      return { flaw: wrong('dtoolcore_version', dtoolcoreVersion, 'a string') };
    }
    const { columns, origins } = this.#items.build();
    const flaw = this.#firstFlaw(origins);
    return flaw === undefined ? { dtoolcoreVersion, hashFunction, columns } : { flaw };
  }

  /** Of `items` that is there twice, the last one counts. */
  #readItems(): void {
    const scanner = this.#scanner;
    this.#items = new ItemTableBuilder();
    this.#flaws = new Map();
    this.#keyFlaw = undefined;
    this.#itemsFlaw = undefined;
    if (scanner.peek() !== OPEN_OBJECT) {
      this.#itemsFlaw = wrong('items', scanner.value(), 'an object');
      return;
    }
    this.#eachMember((key) => {
      const isIdentifier = this.#takeIdentifier(key);
      if (!isIdentifier) {
        const flaw = `the identifier ${describe(decodeString(key))} is not 40 lower-case hex digits`;
        this.#keyFlaw ??= { row: this.#items.rows, flaw };
      }
      scanner.expect(COLON);
      if (isIdentifier) this.#readItem();
      else scanner.skip();
    });
  }

  #takeIdentifier(key: StringToken): boolean {
    if (!key.isEscaped) {
      return key.end - key.start === 2 * IDENTIFIER_BYTES && this.#items.setIdentifier(key.bytes, key.start);
    }
    const decoded = Buffer.from(decodeString(key));
    return decoded.length === 2 * IDENTIFIER_BYTES && this.#items.setIdentifier(decoded, 0);
  }

  /** Fills a row with an item, broken or not: another one with the same identifier may follow. */
  #readItem(): void {
    const scanner = this.#scanner;
    const item = (): string => `item ${this.#items.identifier}`;
    if (scanner.peek() === OPEN_OBJECT) {
      this.#wrongFields.fill('missing');
      this.#eachMember((key) => {
        const field = fieldOf(key);
        scanner.expect(COLON);
        if (field < 0) scanner.skip();
        else this.#wrongFields[field] = this.#readField(field);
      });
      const field = this.#wrongFields.findIndex((what) => what !== undefined);
      if (field >= 0) {
        const what = this.#wrongFields[field] ?? '';
        this.#rememberFlaw(
          `${FIELDS[field] ?? ''} of ${item()} is ${what} where ${EXPECTED[field] ?? ''} belongs`,
        );
      }
    } else this.#rememberFlaw(wrong(item(), scanner.value(), 'an object'));
    this.#items.next();
    if (this.#items.rows > MANIFEST_ITEMS_MAX)
      throw new JsonFlaw(`it has more than ${MANIFEST_ITEMS_MAX} items`);
  }

  /** @returns what there is, in words, where something else belongs */
  #readField(field: number): string | undefined {
    const items = this.#items;
    const scanner = this.#scanner;
    if (field === RELPATH || field === HASH) {
      if (scanner.peek() !== QUOTE) return describe(scanner.value());
      const token = scanner.string();
      const { bytes, start, end, isEscaped } = token;
      if (field === RELPATH) {
        if (isEscaped) items.setRelpath(decodeString(token));
        else items.setRelpathUtf8(bytes, start, end);
      } else if (isEscaped || !items.setMd5(bytes, start, end)) items.setHash(decodeString(token));
      return undefined;
    }
    const value = scanner.value();
    if (typeof value !== 'number') return describe(value);
    if (field === SIZE) {
      items.setSize(value);
      return Number.isSafeInteger(value) && value >= 0 ? undefined : describe(value);
    }
    items.setTimestamp(value);
    return isTimestamp(value) ? undefined : describe(value);
  }

  #rememberFlaw(flaw: string): void {
    if (this.#flaws.size < REMEMBERED_FLAWS_MAX) this.#flaws.set(this.#items.rows, flaw);
    else this.#hasMoreFlaws = true;
  }

  #firstFlaw(origins: Uint32Array | undefined): string | undefined {
    const [first] = this.#flaws.keys();
    const row = origins ? origins.find((origin) => this.#flaws.has(origin)) : first;
    if (this.#keyFlaw && (row === undefined || this.#keyFlaw.row <= row)) return this.#keyFlaw.flaw;
    if (row !== undefined) return this.#flaws.get(row);
    return this.#hasMoreFlaws ? `more than ${REMEMBERED_FLAWS_MAX} of its items are broken` : undefined;
  }

  #eachMember(visit: (key: StringToken) => void): void {
    const scanner = this.#scanner;
    scanner.expect(OPEN_OBJECT);
    if (scanner.isEmpty(CLOSE_OBJECT)) return;
    do visit(scanner.string());
    while (scanner.another(CLOSE_OBJECT));
  }
}

/** Which of the fields a key is; -1 for others. */
function fieldOf(key: StringToken): number {
  if (key.isEscaped) return FIELDS.findIndex((name) => name === decodeString(key));
  const { bytes, start, end } = key;
  return FIELD_BYTES.findIndex((name) => {
    if (name.length !== end - start) return false;
    for (let at = 0; at < name.length; at++) if (name[at] !== bytes[start + at]) return false;
    return true;
  });
}

function wrong(what: string, value: unknown, belongs: string): string {
  return `${what} is ${describe(value)} where ${belongs} belongs`;
}
