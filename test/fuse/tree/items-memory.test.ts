import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ItemsMemory } from '../../../src/fuse/tree/items-memory.ts';

test('keeps what was used last, and the last one whatever its size', () => {
  const memory = new ItemsMemory(20);
  const dropped: string[] = [];
  const owners = { a: {}, b: {}, c: {} };
  const keep = (name: keyof typeof owners, bytes: number): void =>
    memory.keep(owners[name], bytes, () => dropped.push(name));
  keep('a', 10);
  keep('b', 10);
  memory.use(owners.a);
  keep('c', 10);
  expect([dropped, memory.bytes]).toEqual([['b'], 20]);
  keep('b', 1_000);
  expect([dropped, memory.bytes]).toEqual([['b', 'a', 'c'], 1_000]);
});

test('who has other items, or drops them, is not told to drop them', () => {
  const memory = new ItemsMemory(10);
  const owner = {};
  const drop = (): void => expect.fail('told to drop');
  memory.keep(owner, 10, drop);
  memory.keep(owner, 10, drop);
  memory.remove(owner);
  memory.remove(owner);
  memory.use(owner);
  memory.keep({}, 100, drop);
  expect(memory.bytes).toBe(100);
});

test('borrows memory for what it keeps, and gives it back for what it drops', () => {
  const steps = fc.array(fc.record({ owner: fc.nat(4), bytes: fc.nat(30), isKept: fc.boolean() }));
  fc.assert(
    fc.property(steps, (all) => {
      let lent = 0;
      const memory = new ItemsMemory(50, (bytes) => {
        lent += bytes;
        return () => (lent -= bytes);
      });
      const owners = Array.from({ length: 5 }, () => ({}));
      const held = new Map<object, number>();
      for (const { owner: index, bytes, isKept } of all) {
        const owner = owners[index] ?? {};
        held.delete(owner);
        if (isKept) {
          held.set(owner, bytes);
          memory.keep(owner, bytes, () => held.delete(owner));
        } else memory.remove(owner);
        const sum = [...held.values()].reduce((total, one) => total + one, 0);
        expect([lent, memory.bytes]).toEqual([sum, sum]);
        expect(held.size < 2 || sum <= 50).toBe(true);
      }
    }),
  );
});
