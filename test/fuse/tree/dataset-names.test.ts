import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isFileName } from '../../../src/file-name.ts';
import { type NamedDataset, assignNames, assignProtoNames } from '../../../src/fuse/tree/dataset-names.ts';
import { uuidOf } from '../../support/datasets.ts';

function dataset(name: string, createdAt = 0, uuid = uuidOf(`${name} ${createdAt}`)): NamedDataset {
  return { name, createdAt, uuid };
}
const short = ({ uuid }: NamedDataset): string => uuid.slice(0, 8);
const namesOf = (datasets: readonly NamedDataset[]): readonly (string | undefined)[] => {
  const assigned = new Map(Array.from(assignNames(datasets), ([name, given]) => [given, name as string]));
  return datasets.map((given) => assigned.get(given));
};

describe('names of frozen datasets', () => {
  test('the oldest has it plain, later ones with a part of their uuid', () => {
    const [young, old, oldest] = [dataset('a', 3), dataset('a', 2), dataset('a', 1)];
    expect(namesOf([young, old, oldest])).toEqual([`a~${short(young)}`, `a~${short(old)}`, 'a']);
    const [x, y] = [dataset('b', 1, '1'.repeat(36)), dataset('b', 1, '2'.repeat(36))];
    expect(namesOf([y, x])).toEqual(['b~22222222', 'b']);
  });

  test('what can be no name, is reserved or imitates a suffix is made safe', () => {
    const strange = ['', '.', '..', '.hidden', 'a/b', 'a\0b', 'staging', 'a~12345678', '\ud800'].map((name) =>
      dataset(name),
    );
    expect(namesOf(strange)).toEqual(
      ['', '_', '_.', '_hidden', 'a_b', 'a_b', 'staging', 'a~12345678', '_'].map(
        (name, index) => `${name}~${strange[index]?.uuid.slice(0, 8)}`,
      ),
    );
  });

  test('uuids that begin alike are written out', () => {
    const uuids = ['12345678-aaaa', '12345678-bbbb', '12345678-cccc'];
    expect(namesOf(uuids.map((uuid, index) => dataset('a', index, uuid)))).toEqual([
      'a',
      'a~12345678',
      'a~12345678-cccc',
    ]);
  });

  test('names of a megabyte take no time', () => {
    const began = performance.now();
    const [name] = assignNames([dataset('é'.repeat(500_000))]).keys();
    expect(Buffer.byteLength(name ?? '')).toBeLessThanOrEqual(255);
    expect(performance.now() - began).toBeLessThan(1_000);
  });
});

test('whatever datasets there are, all have a valid name of their own, in any order the same', () => {
  const name = fc.oneof(
    fc.string({ unit: fc.constantFrom('a', '~', '.', '/', '1'), maxLength: 4 }),
    fc.string({ unit: 'binary' }),
    fc.constantFrom('staging', 'x'.repeat(255), 'x'.repeat(256), 'é'.repeat(200), 'a~11111111'),
  );
  const uuid = fc
    .tuple(fc.constantFrom('1', 'a', 'A'), fc.nat(3))
    .map(([digit, n]) => `${digit.repeat(8)}-0000-4000-8000-00000000000${n}`);
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.record({ name, uuid, createdAt: fc.nat(2) }), { selector: (given) => given.uuid }),
      fc.nat(),
      (datasets, turn) => {
        for (const assign of [assignNames, assignProtoNames]) {
          const names = assign(datasets);
          expect(new Set(names.values()).size).toBe(datasets.length);
          for (const given of names.keys()) expect(isFileName(given)).toBe(true);
          const at = datasets.length === 0 ? 0 : turn % datasets.length;
          const turned = assign([...datasets.slice(at), ...datasets.slice(0, at)].toReversed());
          expect(new Map(turned)).toEqual(new Map(names));
        }
      },
    ),
  );
});
