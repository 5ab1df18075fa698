import { describe, expect, test } from 'vitest';
import { InodeTable } from '../../../../src/fuse/transport/kernel/inode-table.ts';
import type { DirectoryNode } from '../../../../src/fuse/tree/node.ts';
import { createFixture } from '../../../support/fixture-tree.ts';

const { root } = createFixture({ uid: 0, gid: 0 }).tree;
const child = (): DirectoryNode => ({ ...root });

describe('inode table', () => {
  test('the root is number 1 and never forgotten', () => {
    const table = new InodeTable(root);
    expect(table.node(1)).toBe(root);
    table.forget(1, 1_000_000);
    expect(table.node(1)).toBe(root);
    expect(table.size).toBe(1);
  });

  test('a node keeps its number while any reference is left', () => {
    const table = new InodeTable(root);
    const node = child();
    const id = table.remember(node);
    expect(table.remember(node)).toBe(id);
    table.forget(id, 1);
    expect(table.idOf(node)).toBe(id);
    table.forget(id, 1);
    expect(table.idOf(node)).toBeUndefined();
    expect(() => table.node(id)).toThrow(expect.objectContaining({ code: 'ESTALE' }));
  });

  test('a number that is given again has a new generation', () => {
    const table = new InodeTable(root);
    const first = table.remember(child());
    const generation = table.generation(first);
    table.forget(first, 1);
    const second = table.remember(child());
    expect(second).toBe(first);
    expect(table.generation(second)).toBe(generation + 1);
  });

  test('numbers that nobody has and too many references are harmless', () => {
    const table = new InodeTable(root);
    const id = table.remember(child());
    table.forget(77, 1);
    table.forget(0, 1);
    table.forget(Number.MAX_SAFE_INTEGER, 1);
    table.forget(id, 5);
    table.forget(id, 5);
    expect(table.size).toBe(1);
    const [one, two] = [table.remember(child()), table.remember(child())];
    expect(one).not.toBe(two);
  });

  test('10 million lookups and forgets leave it where it was', () => {
    const table = new InodeTable(root);
    const nodes = Array.from({ length: 1000 }, child);
    let highest = 0;
    for (let round = 0; round < 10_000; round++) {
      const ids = nodes.map((node) => table.remember(node));
      for (const id of ids) {
        highest = Math.max(highest, id);
        table.forget(id, 1);
      }
    }
    expect(table.size).toBe(1);
    expect(highest).toBe(1 + nodes.length);
  });
});
