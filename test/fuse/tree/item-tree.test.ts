import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ItemOwner,
  type ItemTree,
  type TreeItem,
  buildItemTree,
} from '../../../src/fuse/tree/item-tree.ts';
import { Directory } from '../../../src/fuse/tree/directory.ts';
import type { Node } from '../../../src/fuse/tree/node.ts';
import { OWNERSHIP, TIME, filesBelow, never, nodeAt, treeOf } from '../../support/tree.ts';
import { readOnlyAttributes } from '../../../src/fuse/tree/attributes.ts';
import { uuidOf } from '../../support/datasets.ts';

const owner: ItemOwner = {
  uuid: uuidOf('owner'),
  ownership: OWNERSHIP,
  source: treeOf().context.source,
  time: TIME,
  keyOf: (identifier) => `data/${identifier}`,
};

/** Items with these relpaths; each has its place in the list as its size. */
function itemsOf(relpaths: readonly string[]): readonly TreeItem[] {
  return relpaths.map((relpath, index) => ({
    identifier: createHash('sha1').update(`${index} ${relpath}`).digest('hex'),
    relpath,
    size: index,
    hash: '',
    timestamp: 0,
  }));
}

const rootOf = (tree: ItemTree): Directory =>
  new Directory(readOnlyAttributes('directory', OWNERSHIP, 1, 0, TIME), 'forever', [tree.data]);
const build = (...relpaths: string[]): ItemTree => buildItemTree(owner, itemsOf(relpaths));
const displaced = (tree: ItemTree): readonly number[] =>
  Array.from(tree.unrepresentable.values(), (node) => node.attributes().size);
const placed = async (tree: ItemTree): Promise<Record<string, number>> =>
  Object.fromEntries(
    Array.from(await filesBelow(rootOf(tree)), ([path, file]) => [path, file.attributes().size]),
  );

describe('items', () => {
  test('are where their relpaths say', async () => {
    const tree = build('a', 'd/b', 'd/e/c');
    expect(await placed(tree)).toEqual({ a: 0, 'd/b': 1, 'd/e/c': 2 });
    expect(tree).toMatchObject({ bytes: 3, files: 3 });
    expect(tree.unrepresentable.size).toBe(0);
  });

  test('that clash with a directory or another item are kept aside, and why is told', async () => {
    for (const relpaths of [
      ['a', 'a/b', 'a', 'a/b/c'],
      ['a/b/c', 'a/b', 'a', 'a'],
    ]) {
      const tree = build(...relpaths);
      expect(await placed(tree)).toEqual({ 'a/b/c': relpaths.indexOf('a/b/c') });
      expect(displaced(tree).length).toBe(3);
      expect([...tree.flaws.keys()].toSorted()).toEqual([...tree.unrepresentable.keys()].toSorted());
    }
    expect([...build('a', 'a/b').flaws.values()]).toEqual([
      'the relpath "a" is also a directory of other items',
    ]);
    expect([...build('a', 'a').flaws.values()]).toEqual(['the relpath "a" stands for another item, too']);
  });

  test('whose relpath is no path are kept aside', () => {
    const bad = ['', '/a', 'a/', 'a//b', '.', '..', '../a', 'a/./b', 'a\0', '\ud800', 'x'.repeat(256)];
    expect(displaced(build(...bad))).toEqual(bad.map((_, index) => index));
    expect(displaced(build('a/'.repeat(2_048) + 'a'))).toEqual([0]);
  });

  test('may be as deep as a path can be', async () => {
    const path = `${'a/'.repeat(2_046)}abc`;
    expect((await nodeAt(rootOf(build(path)), path)).kind).toBe('file');
  });

  test('named like properties of objects are ordinary', async () => {
    expect(await placed(build('__proto__/constructor', 'toString'))).toEqual(
      Object.fromEntries([
        ['__proto__/constructor', 0],
        ['toString', 1],
      ]),
    );
  });
});

const isPath = (path: string): boolean => path.split('/').every((part) => part === 'a' || part === 'b');

test('every item is reachable once, at its relpath or aside, and never elsewhere', async () => {
  const name = fc.constantFrom('a', 'b', '..', '.', '', 'c\0');
  const relpath = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join('/'));
  await fc.assert(
    fc.asyncProperty(fc.array(relpath, { maxLength: 12 }), async (relpaths) => {
      const tree = build(...relpaths);
      const found = await placed(tree);
      for (const [path, index] of Object.entries(found)) expect(relpaths[index]).toBe(path);
      const all = [...Object.values(found), ...displaced(tree)].toSorted((a, b) => a - b);
      expect(all).toEqual(relpaths.map((_, index) => index));
      // What can have its place has it.
      for (const path of relpaths.filter(isPath)) {
        const clashes = relpaths.some((other) => isPath(other) && other.startsWith(`${path}/`));
        expect(Object.hasOwn(found, path)).toBe(!clashes);
      }
    }),
  );
});

describe('a tree that follows another', () => {
  test('has the same nodes for the same items and directories', async () => {
    const items = itemsOf(['d/a', 'd/e/b', 'c', '..']);
    const first = buildItemTree(owner, items);
    const [a, directory] = await Promise.all(['d/a', 'd'].map((path) => nodeAt(rootOf(first), path)));
    const changed = items.map((item) => (item.relpath === 'c' ? { ...item, hash: 'other' } : item));
    const more = itemsOf(['', '', '', '', 'd/new']).slice(4);
    const second = buildItemTree(owner, [...changed, ...more], first);
    expect(await nodeAt(rootOf(second), 'd/a')).toBe(a);
    expect(await nodeAt(rootOf(second), 'd')).toBe(directory);
    expect(await nodeAt(rootOf(second), 'c')).not.toBe(await nodeAt(rootOf(first), 'c'));
    expect([...second.unrepresentable.values()]).toEqual([...first.unrepresentable.values()]);
    // Who was in the directory before sees what is new there.
    if (directory?.kind !== 'directory') expect.fail('no directory');
    const lookedUp: Node = await directory.lookup('new', never);
    expect(lookedUp.attributes().size).toBe(4);
    const third = buildItemTree(owner, itemsOf(['d']), second);
    expect((await nodeAt(rootOf(third), 'd')).kind).toBe('file');
  });
});
