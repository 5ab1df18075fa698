import { describe, expect, test } from 'vitest';
import { identifierOf } from '../../../src/ecs/dtool/identifier.ts';
import { datasetKeyPrefix, isDatasetUuid } from '../../../src/ecs/dtool/keys.ts';
import { readProtoItems } from '../../../src/ecs/dtool/proto-items.ts';
import {
  findStuckFreeze,
  healStuckFreeze,
  takesHandlesAsTheyAre,
  type StuckFreeze,
} from '../../../src/ecs/dtool/stuck-freeze.ts';
import { MemoryObjectStore } from '../../support/memory-object-store.ts';

const UUID = '0476091d-93ac-47f0-acd2-97ae0f1b982e';
if (!isDatasetUuid(UUID)) throw new Error('no uuid');
const uuid = UUID;
const keyPrefix = datasetKeyPrefix('u/', uuid);
const STRUCTURE = `${keyPrefix}structure.json`;

function storeWith(
  structure: string | undefined,
  handles: Readonly<Record<string, 'plain' | 'base64'>>,
): MemoryObjectStore {
  const store = new MemoryObjectStore();
  if (structure !== undefined) store.seed(STRUCTURE, structure);
  for (const [relpath, kind] of Object.entries(handles)) {
    const handle = kind === 'plain' ? relpath : Buffer.from(relpath).toString('base64');
    store.seed(`${keyPrefix}data/${identifierOf(relpath)}`, 'content', { handle });
  }
  return store;
}

async function find(store: MemoryObjectStore): Promise<StuckFreeze | undefined> {
  return findStuckFreeze(store, keyPrefix, (await readProtoItems(store, keyPrefix)).items);
}

const versioned = (version: unknown): string =>
  JSON.stringify({ a: 1, storage_broker_version: version, z: [2] });

describe('a freeze that dtool can’t finish', () => {
  test('is one with base64 handles and a version that stands for plain ones', async () => {
    for (const version of ['0.5.0', '0.13.9', '0.4', undefined, null, 'x'])
      expect(await find(storeWith(versioned(version), { a: 'base64' })), String(version)).toMatchObject({
        key: STRUCTURE,
        healable: true,
      });
    expect(await find(storeWith(undefined, { a: 'base64' }))).toMatchObject({ healable: true });
    for (const version of ['0.14.0', '0.14.1', '0.15.0', '1.0.0'])
      expect(await find(storeWith(versioned(version), { a: 'base64' })), version).toBeUndefined();
    expect(await find(storeWith(versioned('0.5.0'), { a: 'plain' }))).toBeUndefined();
    expect(await find(storeWith(versioned('0.5.0'), {}))).toBeUndefined();
  });

  test('with handles of both kinds is not healed by another version', async () => {
    const stuck = await find(storeWith(versioned('0.5.0'), { a: 'base64', b: 'plain', c: 'plain' }));
    expect(stuck?.healable).toBe(false);
    expect(stuck?.reason).toContain('2 of its 3 items');
  });

  test('costs no request where no handle is base64', async () => {
    const store = storeWith(versioned('0.5.0'), { a: 'plain' });
    const { items } = await readProtoItems(store, keyPrefix);
    const before = store.requestCount;
    await findStuckFreeze(store, keyPrefix, items);
    expect(store.requestCount).toBe(before);
  });

  test('a structure that is no JSON is an error with its key', async () => {
    for (const text of ['{', '[]', '7'])
      await expect(find(storeWith(text, { a: 'base64' }))).rejects.toMatchObject({ key: STRUCTURE });
  });

  test('is healed by that one field', async () => {
    const store = storeWith(versioned('0.5.0'), { a: 'base64' });
    await healStuckFreeze(store, { uuid, keyPrefix });
    const { body } = await store.get(STRUCTURE, 1_000_000);
    expect(body.toString()).toBe(JSON.stringify({ a: 1, storage_broker_version: '0.14.1', z: [2] }, null, 2));
    expect(await find(store)).toBeUndefined();
    const without = storeWith(undefined, { a: 'base64' });
    await healStuckFreeze(without, { uuid, keyPrefix });
    expect(await takesHandlesAsTheyAre(without, keyPrefix)).toBe(false);
  });
});
