import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { JsonFlaw, JsonScanner, decodeString } from '../../../src/ecs/dtool/json-scanner.ts';

const MAX_BYTES = 1_000;

/** The text in chunks of the given size. */
function scannerOf(text: Buffer | string, chunkBytes: number, maxBytes = MAX_BYTES): JsonScanner {
  const bytes = Buffer.from(text);
  let at = 0;
  return new JsonScanner(() => {
    if (at >= bytes.length) return undefined;
    at += chunkBytes;
    return bytes.subarray(at - chunkBytes, at);
  }, maxBytes);
}

/** Reads all of a value with nothing but the scanner's public calls. */
function read(scanner: JsonScanner): unknown {
  const byte = scanner.peek();
  if (byte === 0x7b) {
    scanner.expect(byte);
    const entries: [string, unknown][] = [];
    if (scanner.isEmpty(0x7d)) return {};
    do {
      const key = decodeString(scanner.string());
      scanner.expect(0x3a);
      entries.push([key, read(scanner)]);
    } while (scanner.another(0x7d));
    return Object.fromEntries(entries);
  }
  if (byte === 0x5b) {
    scanner.expect(byte);
    const values: unknown[] = [];
    if (scanner.isEmpty(0x5d)) return values;
    do values.push(read(scanner));
    while (scanner.another(0x5d));
    return values;
  }
  return scanner.value();
}

const chunk = fc.integer({ min: 1, max: 20 });

test('reads what JSON.parse reads, whatever the chunks', () => {
  const value = fc.jsonValue({ stringUnit: 'binary' });
  const text = fc
    .tuple(value, fc.constantFrom(undefined, 1, '\t'))
    .map(([json, space]) => JSON.stringify(json, null, space));
  fc.assert(
    fc.property(text, chunk, fc.boolean(), (json, size, escaped) => {
      const source = escaped
        ? json.replaceAll(
            /[\u0080-\uffff]/g,
            (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
          )
        : json;
      const scanner = scannerOf(source, size, 100_000);
      expect(read(scanner)).toEqual(JSON.parse(Buffer.from(source).toString()));
      scanner.finish();
    }),
    { numRuns: 500 },
  );
});

test('refuses what JSON.parse refuses, and skips what it takes', () => {
  const damaged = fc
    .tuple(
      fc.json(),
      fc.nat(),
      fc.constantFrom(
        '',
        '"',
        '\\',
        '{',
        '}',
        '[',
        ']',
        ',',
        ':',
        '0',
        '-',
        '.',
        'e',
        'tru',
        '\n',
        '\u0001',
        'ä',
        '\\u12',
        '\\u00e4',
        '\\x',
      ),
    )
    .map(([json, at, what]) => {
      const place = at % (json.length + 1);
      return json.slice(0, place) + what + json.slice(place + (at % 2));
    });
  fc.assert(
    fc.property(damaged, chunk, (text, size) => {
      let isJson = true;
      try {
        JSON.parse(Buffer.from(text).toString());
      } catch {
        isJson = false;
      }
      for (const take of [read, (scanner: JsonScanner) => scanner.skip()]) {
        let flaw: unknown;
        try {
          const scanner = scannerOf(text, size, 100_000);
          take(scanner);
          scanner.finish();
        } catch (error) {
          flaw = error;
        }
        if (isJson) expect(flaw).toBeUndefined();
        else expect(flaw).toBeInstanceOf(JsonFlaw);
      }
    }),
    { numRuns: 2_000 },
  );
});

test('bytes that are no UTF-8 are told, in whatever chunks they come', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), chunk, (bytes, size) => {
      const text = Buffer.concat([
        Buffer.from('"'),
        bytes.map((byte) => (byte < 0x30 || byte === 0x5c ? 0x41 : byte)),
        Buffer.from('"'),
      ]);
      const isText = Buffer.from(text.toString()).equals(text);
      const scan = (): string => decodeString(scannerOf(text, size).string());
      if (isText) expect(scan()).toBe(JSON.parse(text.toString()));
      else expect(scan).toThrow('it is not UTF-8');
    }),
    { numRuns: 1_000 },
  );
});

test('strings and numbers that are asked for are bounded, others of any length are skipped', () => {
  for (const text of [`"${'x'.repeat(2_000)}"`, `"${'\\n'.repeat(2_000)}"`]) {
    expect(() => scannerOf(text, 10).string()).toThrow('longer than 1000 bytes');
    scannerOf(text, 10).skip();
  }
  expect(() => scannerOf('1'.repeat(2_000), 10).number()).toThrow('longer than 1000 bytes');
});

test('depth costs a bit a level', () => {
  const depth = 3_000_000;
  const scanner = scannerOf('[{"a":'.repeat(depth) + '1' + '}]'.repeat(depth), 1_000_000);
  scanner.skip();
  scanner.finish();
  expect(() => scannerOf('[{]}', 1).skip()).toThrow('] is unexpected');
});
