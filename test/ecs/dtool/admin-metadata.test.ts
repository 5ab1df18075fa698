import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAdminMetadata, renderAdminMetadata } from '../../../src/ecs/dtool/admin-metadata.ts';
import { FormatError } from '../../../src/ecs/dtool/format-error.ts';

const WHERE = { bucket: 'b', key: 'u/dtool' };
const HEADERS = {
  uuid: 'x',
  dtoolcore_version: '3.19.0',
  name: 'from-headers',
  type: 'dataset',
  creator_username: 'alice',
  created_at: '1795450116.554818',
  frozen_at: '1795450117.0',
};
const BODY = {
  uuid: 'y',
  dtoolcore_version: '3.1.0',
  name: 'from-body',
  type: 'protodataset',
  creator_username: 'bob',
  created_at: 1,
  frozen_at: 2.5,
};
const FROM_HEADERS = {
  uuid: 'x',
  dtoolcoreVersion: '3.19.0',
  name: 'from-headers',
  type: 'dataset',
  creatorUsername: 'alice',
  createdAt: 1795450116.554818,
  frozenAt: 1795450117,
};
const FROM_BODY = {
  uuid: 'y',
  dtoolcoreVersion: '3.1.0',
  name: 'from-body',
  type: 'protodataset',
  creatorUsername: 'bob',
  createdAt: 1,
  frozenAt: 2.5,
};
const parse = (headers: Record<string, string>, body: unknown): ReturnType<typeof parseAdminMetadata> =>
  parseAdminMetadata(headers, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), WHERE);

describe('precedence', () => {
  test('headers win over the body', () => {
    expect(parse(HEADERS, BODY)).toEqual(FROM_HEADERS);
  });

  test('a complete set of headers needs no body, and takes no frozen_at from it', () => {
    expect(parse(HEADERS, '')).toEqual(FROM_HEADERS);
    const { frozen_at: _, ...headers } = HEADERS;
    expect(parse(headers, BODY)).toEqual({ ...FROM_HEADERS, frozenAt: undefined });
  });

  test('without headers the body counts', () => {
    expect(parse({}, BODY)).toEqual(FROM_BODY);
    expect(parse({ mtime: '123', 's3cmd-attrs': 'x' }, BODY)).toEqual(FROM_BODY);
  });

  test('headers whose underscores a gateway has turned into hyphens are the same headers', () => {
    const hyphened = Object.fromEntries(
      Object.entries(HEADERS).map(([name, value]) => [name.replaceAll('_', '-'), value]),
    );
    expect(parseAdminMetadata(hyphened, Buffer.from('not read'), WHERE)).toEqual(FROM_HEADERS);
  });

  test('a partial set is filled from the body', () => {
    expect(parse({ name: 'renamed', type: 'dataset' }, BODY)).toEqual({
      ...FROM_BODY,
      name: 'renamed',
      type: 'dataset',
    });
  });

  test('what was not always there may be missing', () => {
    const old = { uuid: 'y', name: 'n', type: 'dataset' };
    expect(parse({}, old)).toEqual({
      ...old,
      dtoolcoreVersion: undefined,
      creatorUsername: undefined,
      createdAt: undefined,
      frozenAt: undefined,
    });
  });

  test('times may be strings in the body too, and whole numbers', () => {
    const admin = parse({}, { ...BODY, created_at: '1505911372.25', frozen_at: 1505911373 });
    expect(admin.createdAt).toBe(1505911372.25);
    expect(admin.frozenAt).toBe(1505911373);
  });
});

describe('what is broken is named', () => {
  test.each<[string, Record<string, string>, unknown, RegExp]>([
    ['no JSON', {}, '{', /^b\/u\/dtool: it is not JSON/],
    ['not an object', {}, '[]', /an array, not an object/],
    ['null', {}, 'null', /null, not an object/],
    ['nothing in it', {}, {}, /uuid is missing .*name is missing .*type is missing/],
    ['another type', { ...HEADERS, type: 'collection' }, '', /type is "collection" where "dataset" or/],
    ['a name that is no string', {}, { ...BODY, name: ['x'] }, /name is an array where a string of/],
    ['a name that is too long', {}, { ...BODY, name: 'x'.repeat(256) }, /name is "x+"… where a string of/],
    [
      'a time that is none',
      { ...HEADERS, created_at: 'yesterday' },
      '',
      /created_at is "yesterday" where seconds/,
    ],
    ['NaN', { ...HEADERS, frozen_at: 'nan' }, '', /frozen_at is "nan"/],
    ['an empty time', { ...HEADERS, frozen_at: '' }, '', /frozen_at is ""/],
    [
      'a huge time',
      {},
      '{"uuid":"u","name":"n","type":"dataset","created_at":1e999}',
      /created_at is Infinity/,
    ],
  ])('%s', (_, headers, body, message) => {
    expect(() => parse(headers, body)).toThrow(FormatError);
    expect(() => parse(headers, body)).toThrow(message);
  });

  test('a body that is not UTF-8', () => {
    expect(() => parseAdminMetadata({}, Buffer.from([0x7b, 0xff, 0x7d]), WHERE)).toThrow('it is not UTF-8');
  });

  test('properties of Object.prototype are no fields', () => {
    const body = '{"__proto__": {"uuid": "u", "name": "n", "type": "dataset"}}';
    expect(() => parse({}, body)).toThrow('uuid is missing');
    expect(Object.hasOwn(Object.prototype, 'uuid')).toBe(false);
  });

  test('nothing but FormatError is thrown, and nothing is polluted', () => {
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom('dataset', 1, '1e3', -1e300));
    const body = fc.oneof(
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      fc.json({ stringUnit: 'binary' }).map((text) => Buffer.from(text)),
      fc
        .dictionary(fc.constantFrom(...Object.keys(BODY), '__proto__', 'constructor'), value)
        .map((object) => Buffer.from(JSON.stringify(object))),
    );
    const headers = fc.dictionary(fc.constantFrom(...Object.keys(HEADERS), 'mtime'), fc.string());
    fc.assert(
      fc.property(headers, body, (someHeaders, someBody) => {
        try {
          const admin = parseAdminMetadata(someHeaders, someBody, WHERE);
          expect(parse({}, renderAdminMetadata(admin))).toEqual(admin);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
        expect(Object.keys(Object.prototype)).toEqual([]);
      }),
    );
  });
});

describe('rendering', () => {
  test('as json.dumps does', () => {
    const admin = parse({}, { ...BODY, name: 'é"\\\u007f😀', created_at: 1e9 });
    expect(renderAdminMetadata(admin)).toBe(
      '{"uuid": "y", "dtoolcore_version": "3.1.0", "name": "\\u00e9\\"\\\\\\u007f\\ud83d\\ude00", ' +
        '"type": "protodataset", "creator_username": "bob", "created_at": 1000000000.0, "frozen_at": 2.5}',
    );
  });

  test('without what is not known', () => {
    expect(renderAdminMetadata(parse({}, { uuid: 'y', name: 'n', type: 'dataset' }))).toBe(
      '{"uuid": "y", "name": "n", "type": "dataset"}',
    );
  });

  test('any admin metadata comes back as it was', () => {
    const text = fc.string({ unit: 'binary' });
    const seconds = fc.option(
      fc.double({ min: -8.64e12, max: 8.64e12, noNaN: true }).map((n) => n + 0),
      {
        nil: undefined,
      },
    );
    const admin = fc.record({
      uuid: text,
      dtoolcoreVersion: text,
      name: text,
      type: fc.constantFrom('dataset' as const, 'protodataset' as const),
      creatorUsername: text,
      createdAt: seconds,
      frozenAt: seconds,
    });
    fc.assert(
      fc.property(admin, (some) => {
        const rendered = renderAdminMetadata(some);
        expect(rendered).toMatch(/^[ -~]*$/);
        expect(parse({}, rendered)).toEqual(some);
      }),
    );
  });
});
