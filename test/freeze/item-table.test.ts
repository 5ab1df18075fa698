import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ItemIdentifier } from '../../src/ecs/dtool/identifier.ts';
import { ItemTable } from '../../src/freeze/item-table.ts';

const FOLDER = { path: '/root', openFile: async () => Promise.reject(new Error('nothing is opened')) };

/** Few different starts, so that many identifiers share one. */
const identifier = fc
  .tuple(fc.constantFrom('00000000', '00000001', 'ffffffff', '80000000'), fc.stringMatching(/^[0-9a-f]{32}$/))
  .map((parts) => parts.join('') as ItemIdentifier);
const file = fc.record({
  size: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  mtimeNs: fc.oneof(
    fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }),
    fc.bigInt({ min: -(2n ** 63n) * 1_000_000_000n, max: (2n ** 63n - 1n) * 1_000_000_000n }),
  ),
  dev: fc.nat(),
  ino: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
});
const relpath = fc.string({ minLength: 1, maxLength: 700, unit: 'grapheme' });

test('property: what was added is there, in the order of the identifiers, and found by them', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(identifier, relpath, file), { selector: ([id]) => id }), (added) => {
      const table = new ItemTable(FOLDER, 'data/');
      for (const [id, path, attributes] of added) table.add(path, id, attributes);
      table.sort();
      const sorted = added.toSorted(([a], [b]) => (a < b ? -1 : 1));
      expect([...table]).toEqual(
        sorted.map(([id, path, attributes], index) =>
          expect.objectContaining({ ...attributes, identifier: id, relpath: path, index }),
        ),
      );
      expect([...table.identifiers()]).toEqual(sorted.map(([id]) => id));
      for (const [index, [id]] of sorted.entries()) expect(table.indexOf(id)).toBe(index);
      expect(table.totalBytes).toBe(added.reduce((sum, [, , { size }]) => sum + size, 0));
      for (const other of ['', 'x', `${'0'.repeat(38)}zz`, '7'.repeat(40)])
        expect(table.indexOf(other)).toBeUndefined();
    }),
  );
});

test('more than a page of records and of paths', () => {
  const table = new ItemTable(FOLDER, 'data/');
  const count = 40_000;
  for (let number = 0; number < count; number += 1) {
    const id = ((number * 2_654_435_761) % 2 ** 32)
      .toString(16)
      .padStart(8, '0')
      .padEnd(40, '0') as ItemIdentifier;
    table.add(`item ${number} ${'x'.repeat(number % 60)}`, id, {
      size: number,
      mtimeNs: 1n,
      dev: 1,
      ino: number,
    });
  }
  table.sort();
  let before = '';
  for (const { identifier: id, relpath: path, size, ino, path: full } of table) {
    expect(id > before).toBe(true);
    before = id;
    if (path !== `item ${size} ${'x'.repeat(size % 60)}` || ino !== size || full !== `/root/data/${path}`)
      throw new Error(`${path} is not item ${size}`);
  }
  expect(table.length).toBe(count);
});
