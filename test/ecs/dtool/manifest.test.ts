import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FormatError } from '../../../src/ecs/dtool/format-error.ts';
import { identifierOf } from '../../../src/ecs/dtool/identifier.ts';
import { parseManifest, type Manifest } from '../../../src/ecs/dtool/manifest.ts';

const WHERE = { bucket: 'b', key: 'u/manifest.json' };
const ID = 'a'.repeat(40);
const ITEM = { relpath: 'dir/a', size_in_bytes: 3, hash: 'h', utc_timestamp: 1.5 };
const parse = (manifest: unknown) =>
  unpacked(
    parseManifest(Buffer.from(typeof manifest === 'string' ? manifest : JSON.stringify(manifest)), WHERE),
  );
const unpacked = ({ items, ...rest }: Manifest) => ({ ...rest, items: [...items] });
const withItem = (item: unknown, id = ID): unknown => ({ items: { [id]: item } });

describe('what dtool writes', () => {
  test('is read', () => {
    const manifest = parse({
      dtoolcore_version: '3.19.0',
      hash_function: 'md5sum_hexdigest',
      items: { [ID]: ITEM, ['0'.repeat(40)]: { ...ITEM, utc_timestamp: 7 } },
    });
    expect(manifest).toEqual({
      dtoolcoreVersion: '3.19.0',
      hashFunction: 'md5sum_hexdigest',
      items: [
        { identifier: ID, relpath: 'dir/a', size: 3, hash: 'h', timestamp: 1.5 },
        { identifier: '0'.repeat(40), relpath: 'dir/a', size: 3, hash: 'h', timestamp: 7 },
      ],
    });
  });

  test('without items', () => {
    expect(parse({ items: {} })).toEqual({ dtoolcoreVersion: undefined, hashFunction: undefined, items: [] });
  });

  test.each([
    '',
    '.',
    '..',
    '/abs',
    '../x',
    'a//b',
    'trailing/',
    'a\\b',
    'a\nb',
    'a\0b',
    '\ud800',
    '__proto__',
  ])('any string is a relpath: %j', (relpath) => {
    expect(parse(withItem({ ...ITEM, relpath })).items[0]?.relpath).toBe(relpath);
  });

  test('of an item that is there twice the last one counts, as in Python', () => {
    const first = JSON.stringify({ ...ITEM, relpath: 'first' });
    const last = JSON.stringify({ ...ITEM, relpath: 'last' });
    const { items } = parse(`{"items": {"${ID}": ${first}, "${ID}": ${last}}}`);
    expect(items.map(({ relpath }) => relpath)).toEqual(['last']);
  });
});

describe('what is broken is named', () => {
  test.each<[string, unknown, RegExp]>([
    ['empty', '', /^b\/u\/manifest.json: it is not JSON/],
    ['cut off', '{"items": {', /it is not JSON/],
    ['an array', [], /the manifest is an array where an object belongs/],
    ['without items', {}, /items is missing/],
    ['items as array', { items: [] }, /items is an array/],
    ['hash_function', { items: {}, hash_function: 1 }, /hash_function is 1 where a string/],
    ['dtoolcore_version', { items: {}, dtoolcore_version: null }, /dtoolcore_version is null/],
    ['identifier', withItem(ITEM, 'x'), /the identifier "x" is not 40/],
    ['identifier in upper case', withItem(ITEM, 'A'.repeat(40)), /is not 40 lower-case/],
    ['item', withItem(null), /item a{40} is null/],
    ['relpath', withItem({ ...ITEM, relpath: 1 }), /relpath of item a{40} is 1 where a string/],
    ['no relpath', withItem({ ...ITEM, relpath: undefined }), /relpath of item a{40} is missing/],
    ['negative size', withItem({ ...ITEM, size_in_bytes: -1 }), /size_in_bytes of item a{40} is -1/],
    ['half a byte', withItem({ ...ITEM, size_in_bytes: 0.5 }), /is 0\.5 where a whole number/],
    ['huge size', withItem({ ...ITEM, size_in_bytes: 2 ** 53 }), /is 9007199254740992 where/],
    ['size as text', withItem({ ...ITEM, size_in_bytes: '3' }), /is "3" where/],
    ['hash', withItem({ ...ITEM, hash: null }), /hash of item a{40} is null/],
    ['time', withItem({ ...ITEM, utc_timestamp: '1.5' }), /utc_timestamp of item a{40} is "1.5"/],
    [
      'infinite time',
      `{"items": {"${ID}": {"relpath":"","size_in_bytes":0,"hash":"","utc_timestamp":1e999}}}`,
      /Infinity/,
    ],
    ['a time no Date has', withItem({ ...ITEM, utc_timestamp: 8.65e12 }), /8650000000000 where seconds/],
    ['long values are cut', withItem({ ...ITEM, utc_timestamp: 'x'.repeat(10_000) }), /is "x{60}"… where/],
  ])('%s', (_, manifest, message) => {
    expect(() => parse(manifest)).toThrow(FormatError);
    expect(() => parse(manifest)).toThrow(message);
  });

  test('not UTF-8', () => {
    expect(() => parseManifest(Buffer.from([0xff]), WHERE)).toThrow('it is not UTF-8');
  });
});

describe('hostile input', () => {
  test('__proto__ is a key like any other', () => {
    expect(() => parse(`{"items": {"__proto__": ${JSON.stringify(ITEM)}}}`)).toThrow(
      'the identifier "__proto__"',
    );
    expect(() => parse(`{"__proto__": {"items": {}}}`)).toThrow('items is missing');
    expect(() => parse(`{"items": {"${ID}": {"__proto__": ${JSON.stringify(ITEM)}}}}`)).toThrow('is missing');
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  test('deep nesting neither crashes nor hides what is wrong', () => {
    const deep = '['.repeat(200_000) + ']'.repeat(200_000);
    expect(() => parse(deep)).toThrow('the manifest is an array');
    expect(() => parse(`{"items": {"${ID}": {"relpath": ${deep}}}}`)).toThrow('relpath');
    expect(parse(`{"items": {}, "more": ${deep}}`).items).toEqual([]);
  });

  test('nothing but FormatError is thrown, and nothing is polluted', () => {
    const item = fc.oneof(
      fc.record(
        {
          relpath: fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue()),
          size_in_bytes: fc.oneof(fc.nat(), fc.jsonValue()),
          hash: fc.oneof(fc.string(), fc.jsonValue()),
          utc_timestamp: fc.oneof(fc.double(), fc.jsonValue()),
        },
        { requiredKeys: [] },
      ),
      fc.jsonValue(),
    );
    const id = fc.oneof(
      fc.string().map(identifierOf),
      fc.constantFrom('__proto__', 'constructor', 'toString'),
    );
    const manifest = fc.oneof(
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(text)),
      fc.record({ items: fc.dictionary(id, item) }).map((value) => Buffer.from(JSON.stringify(value))),
    );
    fc.assert(
      fc.property(manifest, (body) => {
        try {
          for (const { size, timestamp } of parseManifest(body, WHERE).items) {
            expect(Number.isSafeInteger(size) && size >= 0).toBe(true);
            expect(Number.isNaN(new Date(timestamp * 1000).getTime())).toBe(false);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
        expect(Object.keys(Object.prototype)).toEqual([]);
      }),
    );
  });

  test('whatever dtool could have written is read as it was', () => {
    const relpaths = fc.uniqueArray(fc.string({ unit: 'grapheme' }), { maxLength: 20 });
    fc.assert(
      fc.property(
        relpaths,
        fc.maxSafeNat(),
        fc.double({ min: 0, max: 8e12, noNaN: true }),
        (paths, size, time) => {
          const items = Object.fromEntries(
            paths.map((relpath) => [
              identifierOf(relpath),
              { relpath, size_in_bytes: size, hash: 'h', utc_timestamp: time },
            ]),
          );
          expect(parse({ items }).items).toEqual(
            paths.map((relpath) => ({
              identifier: identifierOf(relpath),
              relpath,
              size,
              hash: 'h',
              timestamp: time,
            })),
          );
        },
      ),
    );
  });
});
