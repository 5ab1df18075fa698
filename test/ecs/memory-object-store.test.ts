import { describe, expect, test } from 'vitest';
import { describeObjectStore } from '../contract/object-store.ts';
import { MemoryObjectStore, type MemoryStoreOptions } from '../support/memory-object-store.ts';

const variants: Readonly<Record<string, MemoryStoreOptions>> = {
  'the memory store': {},
  'the memory store in UTF-16 order': { order: 'utf-16' },
  'the memory store with short and empty pages': { pageSize: 3, emptyPages: true },
};
for (const [name, options] of Object.entries(variants)) {
  describeObjectStore(name, async () => ({
    store: new MemoryObjectStore(options),
    dispose: async () => {},
  }));
}

describe('the memory store for tests', () => {
  test('the two orders differ where UTF-16 has surrogates', () => {
    const keys = ['\uffee', '😀'];
    const store = (order: 'utf-8' | 'utf-16'): MemoryObjectStore => {
      const memory = new MemoryObjectStore({ order });
      for (const key of keys) memory.seed(key, 'x');
      return memory;
    };
    expect(store('utf-8').keys).toEqual(['\uffee', '😀']);
    expect(store('utf-16').keys).toEqual(['😀', '\uffee']);
  });

  test('a gate holds requests until it is released', async () => {
    const store = new MemoryObjectStore();
    store.seed('key', 'x');
    const gate = store.hold('head');
    const heads = [store.head('key'), store.head('key')];
    await gate.reached(2);
    expect(gate.waiting).toBe(2);
    gate.release();
    expect((await Promise.all(heads)).length).toBe(2);
    expect(gate.waiting).toBe(0);
    await store.head('key');
    expect(store.requests.head).toBe(3);
  });

  test('failures come in order, then it works again', async () => {
    const store = new MemoryObjectStore();
    store.seed('key', 'x');
    store.failNext('get', store.error('throttled'), 2);
    store.failNext('get', store.error('timeout'));
    await expect(store.get('key', 1)).rejects.toMatchObject({ reason: 'throttled' });
    await expect(store.get('key', 1)).rejects.toMatchObject({ reason: 'throttled' });
    await expect(store.get('key', 1)).rejects.toMatchObject({ reason: 'timeout' });
    expect((await store.get('key', 1)).size).toBe(1);
  });
});
