import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { identifierOf } from '../../../src/ecs/dtool/identifier.ts';
import { datasetKeyPrefix, isDatasetUuid } from '../../../src/ecs/dtool/keys.ts';
import { readProtoItems, relpathOfHandle } from '../../../src/ecs/dtool/proto-items.ts';
import { MemoryObjectStore } from '../../support/memory-object-store.ts';

const UUID = '0476091d-93ac-47f0-acd2-97ae0f1b982e';
if (!isDatasetUuid(UUID)) throw new Error('no uuid');
const PREFIX = datasetKeyPrefix('p/', UUID);
const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('handles', () => {
  test('are plain or base64, whichever fits the identifier', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'grapheme' }), fc.base64String()), (relpath) => {
        const identifier = identifierOf(relpath);
        expect(relpathOfHandle(relpath, identifier)).toBe(relpath);
        expect(relpathOfHandle(base64(relpath), identifier)).toBe(relpath);
        expect(relpathOfHandle(Buffer.from(relpath).toString('latin1'), identifier)).toBe(relpath);
      }),
    );
  });

  test('a plain one that looks like base64', () => {
    expect(relpathOfHandle('YWJj', identifierOf('YWJj'))).toBe('YWJj');
    expect(relpathOfHandle('YWJj', identifierOf('abc'))).toBe('abc');
  });

  test('that fit in no way', () => {
    expect(relpathOfHandle('YWJj', identifierOf('abcd'))).toBeUndefined();
    expect(relpathOfHandle('', identifierOf('a'))).toBeUndefined();
  });
});

describe('items of a proto dataset', () => {
  const store = new MemoryObjectStore({ pageSize: 7, now: () => 1_795_450_116_250 });
  const add = (relpath: string, metadata: Record<string, string>, content = relpath): void =>
    store.seed(`${PREFIX}data/${identifierOf(relpath)}`, content, metadata);
  const relpaths = Array.from({ length: 300 }, (_, n) => `dir/ü-${n}`);
  for (const relpath of relpaths) add(relpath, { handle: base64(relpath), checksum: 'c' });
  add('legacy', { handle: 'legacy' }, '');
  add('nameless', {});
  add('mismatch', { handle: base64('other') });
  store.seed(`${PREFIX}data/`, '');
  store.seed(`${PREFIX}data/sub/x`, '', { handle: 'sub/x' });
  store.seed(`${PREFIX}dtool`, '{}');

  test('are listed, and what is wrong with the others', async () => {
    const { items, problems } = await readProtoItems(store, PREFIX);
    expect(items.map(({ relpath }) => relpath).toSorted()).toEqual([...relpaths, 'legacy'].toSorted());
    expect(items.map(({ identifier }) => identifier)).toEqual(
      items.map(({ identifier }) => identifier).toSorted(),
    );
    expect(items.find(({ relpath }) => relpath === 'legacy')).toEqual({
      identifier: identifierOf('legacy'),
      relpath: 'legacy',
      handleIsBase64: false,
      size: 0,
      hash: undefined,
      timestamp: 1_795_450_116.25,
    });
    expect(items.find(({ relpath }) => relpath === 'dir/ü-7')).toMatchObject({ size: 8, hash: 'c' });
    expect(problems).toEqual(
      [
        { key: `${PREFIX}data/`, reason: 'its name is no item identifier' },
        { key: `${PREFIX}data/sub/x`, reason: 'its name is no item identifier' },
        {
          key: `${PREFIX}data/${identifierOf('nameless')}`,
          reason: 'it has no `handle` in its user metadata that would say its relpath',
        },
        {
          key: `${PREFIX}data/${identifierOf('mismatch')}`,
          reason: 'its `handle` does not belong to its identifier',
        },
      ].toSorted((a, b) => (a.key < b.key ? -1 : 1)),
    );
  });

  test('one object that is refused does not hide the others, a store that is away does', async () => {
    store.failNext('head', store.error('access-denied', 'k'));
    const { items, problems } = await readProtoItems(store, PREFIX);
    expect(items.length + problems.length).toBe(305);
    expect(problems).toContainEqual({ key: 'k', reason: 'injected access-denied' });
    const error = store.error('unreachable');
    store.failNext('head', error);
    await expect(readProtoItems(store, PREFIX)).rejects.toBe(error);
  });
});
