import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { listPage } from '../../../src/demo/s3/listing.ts';
import { compareUtf8, SortedMap } from '../../../src/demo/s3/sorted-map.ts';

const byBytes = (a: string, b: string): number => Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b)));
/** A tiny alphabet, so that prefixes collide; the last two are in another order in UTF-8 than in UTF-16. */
const key = fc
  .array(fc.constantFrom('a', 'b', '/', '-', '\ufb01', '😀'), { minLength: 1, maxLength: 6 })
  .map((parts) => parts.join(''));

test('keys are ordered by their bytes in UTF-8', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (a, b) => {
      expect(Math.sign(compareUtf8(a, b))).toBe(byBytes(a, b));
    }),
  );
});

test('a sorted map is a map whose keys are in order', () => {
  const change = fc.oneof(
    fc.record({ kind: fc.constant('set'), key }),
    fc.record({ kind: fc.constant('delete'), key }),
    fc.record({ kind: fc.constant('look'), key }),
  );
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
      const map = new SortedMap<string>();
      const model = new Map<string, string>();
      for (const [i, { kind, key: name }] of changes.entries()) {
        if (kind === 'set') {
          map.set(name, `${i}`);
          model.set(name, `${i}`);
        } else if (kind === 'delete') expect(map.delete(name)).toBe(model.delete(name));
        else expect(map.keys()).toEqual([...model.keys()].toSorted(byBytes));
      }
      expect(map.size).toBe(model.size);
      expect(map.keys().map((name) => map.get(name))).toEqual(
        [...model.keys()].toSorted(byBytes).map((name) => model.get(name)),
      );
    }),
  );
});

test('the pages of a listing together are the keys, folded at the delimiter', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(key, { maxLength: 30 }),
      fc.oneof(fc.constant(''), key),
      fc.constantFrom('', '/', 'ab'),
      fc.integer({ min: 1, max: 7 }),
      (keys, prefix, delimiter, max) => {
        const map = new SortedMap<string>();
        for (const name of keys) map.set(name, name);
        const folded = keys
          .filter((name) => name.startsWith(prefix))
          .map((name) => {
            const at = delimiter === '' ? -1 : name.indexOf(delimiter, prefix.length);
            return at === -1 ? `key ${name}` : `prefix ${name.slice(0, at + delimiter.length)}`;
          });
        const found: string[] = [];
        let after: string | undefined = '';
        while (after !== undefined) {
          const page: ReturnType<typeof listPage<string>> = listPage(map, { prefix, delimiter, after, max });
          const size = page.entries.length + page.commonPrefixes.length;
          expect(size).toBeLessThanOrEqual(max);
          if (page.next !== undefined) expect(size).toBe(max);
          found.push(
            ...page.entries.map((name) => `key ${name}`),
            ...page.commonPrefixes.map((name) => `prefix ${name}`),
          );
          after = page.next;
        }
        expect(found.toSorted()).toEqual([...new Set(folded)].toSorted());
      },
    ),
  );
});

test('a page of many keys costs comparisons by the logarithm, not a sort', () => {
  let compared = 0;
  class Counted extends SortedMap<number> {
    override keys(): readonly string[] {
      return new Proxy(super.keys(), {
        get: (target, name) => {
          if (typeof name === 'string' && /^\d+$/.test(name)) compared++;
          return Reflect.get(target, name) as unknown;
        },
      });
    }
  }
  const counted = new Counted();
  for (let i = 0; i < 100_000; i++) counted.set(`d/${String((i * 7919) % 100_000).padStart(6, '0')}`, i);
  const page = listPage(counted, { prefix: 'd/', delimiter: '', after: 'd/050000', max: 1000 });
  expect(page.entries.length).toBe(1000);
  expect(compared).toBeLessThan(1100);
  expect(listPage(counted, { prefix: '', delimiter: '/', after: '', max: 1000 }).commonPrefixes).toEqual([
    'd/',
  ]);
  expect(compared).toBeLessThan(1300);
});
