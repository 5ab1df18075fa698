import { describe, expect, test } from 'vitest';
import { readRegistry, type Registry } from '../../../src/ecs/dtool/registry.ts';
import type { StoredObject } from '../../../src/ecs/object-store.ts';
import { PROBLEMS_TOLD_MAX, REGISTRATION_KEY_BODY_MAX_BYTES } from '../../../src/limits.ts';
import { MemoryObjectStore } from '../../support/memory-object-store.ts';

const uuidOf = (n: number): string => `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`;
const admin = (name: string, type = 'dataset'): string =>
  JSON.stringify({
    uuid: 'x',
    dtoolcore_version: '3.19.0',
    name,
    type,
    creator_username: 'olssont',
    created_at: 1795450116.5,
    frozen_at: 1795450117.5,
  });

function addDataset(store: MemoryObjectStore, n: number, prefix = '', name = `set-${n}`): string {
  const uuid = uuidOf(n);
  store.seed(`dtool-${uuid}`, prefix);
  store.seed(`${prefix}${uuid}/dtool`, admin(name));
  return uuid;
}

/** A store whose ETags are no MD5s, as with encryption, or are not sent at all. */
class OpaqueEtagStore extends MemoryObjectStore {
  readonly #etagOf: (etag: string) => string;

  constructor(etagOf: (etag: string) => string) {
    super();
    this.#etagOf = etagOf;
  }

  override async get(...args: Parameters<MemoryObjectStore['get']>): Promise<StoredObject> {
    const object = await super.get(...args);
    return { ...object, etag: this.#etagOf(object.etag) };
  }

  override async listPage(
    ...args: Parameters<MemoryObjectStore['listPage']>
  ): ReturnType<MemoryObjectStore['listPage']> {
    const page = await super.listPage(...args);
    return {
      ...page,
      objects: page.objects.map((object) => ({ ...object, etag: this.#etagOf(object.etag) })),
    };
  }
}

describe('requests', () => {
  test('200 datasets without prefix: one each, and the list', async () => {
    const store = new MemoryObjectStore();
    for (let n = 0; n < 200; n += 1) addDataset(store, n);
    const { datasets, problems } = await readRegistry(store);
    expect(problems).toEqual([]);
    expect(datasets.map(({ uuid }) => uuid)).toEqual(Array.from({ length: 200 }, (_, n) => uuidOf(n)));
    expect(store.requests).toMatchObject({ listPage: 1, get: 200, head: 0 });
  });

  test('200 datasets of two users: one each, and one for each prefix', async () => {
    const store = new MemoryObjectStore({ pageSize: 50, emptyPages: true });
    for (let n = 0; n < 200; n += 1) addDataset(store, n, n % 2 === 0 ? 'u/alice/' : 'u/bobby');
    const { datasets, problems } = await readRegistry(store);
    expect(problems).toEqual([]);
    expect(datasets.map(({ keyPrefix }) => keyPrefix)).toEqual(
      Array.from({ length: 200 }, (_, n) => `${n % 2 === 0 ? 'u/alice/' : 'u/bobby'}${uuidOf(n)}/`),
    );
    expect(store.requests).toMatchObject({ listPage: 7, get: 202 });
  });

  test('a likely prefix saves its registration key', async () => {
    const store = new MemoryObjectStore();
    for (let n = 0; n < 20; n += 1) addDataset(store, n, 'u/alice/');
    const { datasets } = await readRegistry(store, { likelyPrefix: 'u/alice/' });
    expect(datasets).toHaveLength(20);
    expect(store.requests.get).toBe(20);
  });

  test('a likely prefix that is wrong does no harm, though as long as the right one', async () => {
    const store = new MemoryObjectStore();
    addDataset(store, 1, 'u/alice/');
    const { datasets } = await readRegistry(store, { likelyPrefix: 'u/bobby/' });
    expect(datasets[0]?.registration.prefix).toBe('u/alice/');
  });

  test.each([
    ['no MD5', (etag: string): string => `${etag}-1`],
    ['the same for all', (): string => '0'.repeat(32)],
    ['absent', (): string => ''],
  ])('where ETags are %s every registration key is read: two each', async (_, etagOf) => {
    const store = new OpaqueEtagStore(etagOf);
    for (let n = 0; n < 200; n += 1) addDataset(store, n, n % 2 === 0 ? 'u/alice/' : 'u/bobby/');
    const { datasets, problems } = await readRegistry(store, { likelyPrefix: 'u/alice/' });
    expect(problems).toEqual([]);
    expect(datasets.map(({ registration }) => registration.prefix)).toEqual(
      Array.from({ length: 200 }, (_unused, n) => (n % 2 === 0 ? 'u/alice/' : 'u/bobby/')),
    );
    expect(store.requests).toMatchObject({ listPage: 1, get: 400 });
  });

  test('all run side by side', async () => {
    const store = new MemoryObjectStore();
    for (let n = 0; n < 100; n += 1) addDataset(store, n);
    const gate = store.hold('get');
    const reading = readRegistry(store);
    await gate.reached(100);
    gate.release();
    expect((await reading).datasets).toHaveLength(100);
  });
});

describe('refresh', () => {
  test('reads no registration key that is as it was', async () => {
    const store = new OpaqueEtagStore((etag) => `${etag}-1`);
    for (let n = 0; n < 10; n += 1) addDataset(store, n, `u/user${n}/`);
    const previous = await readRegistry(store);
    expect(store.requests.get).toBe(20);
    addDataset(store, 3, 'u/moved/');
    addDataset(store, 10, 'u/new/');
    const refreshed = await readRegistry(store, { previous });
    expect(store.requests.get).toBe(20 + 11 + 2);
    expect(refreshed.datasets).toHaveLength(11);
    expect(refreshed.datasets[3]?.keyPrefix).toBe(`u/moved/${uuidOf(3)}/`);
  });

  test('trusts no ETag that is not there', async () => {
    const store = new OpaqueEtagStore(() => '');
    addDataset(store, 1, 'u/alice/');
    const previous = await readRegistry(store);
    addDataset(store, 1, 'u/bobby/');
    const { datasets } = await readRegistry(store, { previous });
    expect(datasets[0]?.registration.prefix).toBe('u/bobby/');
  });

  test('works from a result that was JSON in between', async () => {
    const store = new MemoryObjectStore();
    for (let n = 0; n < 3; n += 1) addDataset(store, n, `u/user${n}/`);
    const previous: Registry = JSON.parse(JSON.stringify(await readRegistry(store)));
    const before = store.requests.get;
    const refreshed = await readRegistry(store, { previous, reuse: () => true });
    expect(store.requests.get).toBe(before);
    expect(refreshed.datasets).toEqual(previous.datasets);
  });

  test('takes entries over where told to, unless they were registered anew', async () => {
    const store = new MemoryObjectStore();
    for (let n = 0; n < 4; n += 1) addDataset(store, n, 'u/alice/');
    const previous = await readRegistry(store);
    addDataset(store, 1, 'u/alice/', 'renamed-1');
    addDataset(store, 2, 'u/alice/', 'renamed-2');
    addDataset(store, 3, 'u/bobby/', 'renamed-3');
    store.remove(`dtool-${uuidOf(0)}`);
    const { datasets } = await readRegistry(store, { previous, reuse: ({ uuid }) => uuid !== uuidOf(2) });
    expect(datasets.map((entry) => entry.admin.name)).toEqual(['set-1', 'renamed-2', 'renamed-3']);
  });

  test('keeps a dataset that the store fails to answer for, and reports it', async () => {
    const store = new MemoryObjectStore();
    addDataset(store, 1);
    const previous = await readRegistry(store);
    store.failNext('get', store.error('server-error', `${uuidOf(1)}/dtool`));
    const { datasets, problems } = await readRegistry(store, { previous });
    expect(datasets).toEqual(previous.datasets);
    expect(problems).toEqual([
      { key: `${uuidOf(1)}/dtool`, reason: 'injected server-error', uuid: uuidOf(1) },
    ]);
  });
});

describe('a dataset that is broken never hides the others', () => {
  test.each<
    [string, (store: MemoryObjectStore) => void, { key: string; reason: RegExp; uuid: string | undefined }]
  >([
    [
      'junk after dtool-',
      (store): void => store.seed('dtool-x', ''),
      { key: 'dtool-x', reason: /no uuid/, uuid: undefined },
    ],
    [
      'a prefix that starts with dtool-',
      (store): void => {
        for (let n = 0; n < 5; n += 1) store.seed(`dtool-data/item${n}`, '');
      },
      { key: 'dtool-data/', reason: /slash/, uuid: undefined },
    ],
    [
      'no admin metadata',
      (store): void => store.seed(`dtool-${uuidOf(9)}`, 'p/'),
      {
        key: `p/${uuidOf(9)}/dtool`,
        reason: /^the dataset is registered but its admin metadata is not there$/,
        uuid: uuidOf(9),
      },
    ],
    [
      'a line break that is not in the keys',
      (store): void => {
        addDataset(store, 9, 'p/');
        store.seed(`dtool-${uuidOf(9)}`, 'p/\n');
      },
      {
        key: `p/\n${uuidOf(9)}/dtool`,
        reason: /the line break .* comes from the registration key/,
        uuid: uuidOf(9),
      },
    ],
    [
      'broken admin metadata',
      (store): void => {
        addDataset(store, 9);
        store.seed(`${uuidOf(9)}/dtool`, '{');
      },
      { key: `${uuidOf(9)}/dtool`, reason: /^it is not JSON/, uuid: uuidOf(9) },
    ],
    [
      'a registration key that is not UTF-8',
      (store): void => store.seed(`dtool-${uuidOf(9)}`, Buffer.from([0xff])),
      { key: `dtool-${uuidOf(9)}`, reason: /not UTF-8/, uuid: uuidOf(9) },
    ],
    [
      'a registration key too long for a prefix',
      (store): void => store.seed(`dtool-${uuidOf(9)}`, 'p'.repeat(REGISTRATION_KEY_BODY_MAX_BYTES + 1)),
      { key: `dtool-${uuidOf(9)}`, reason: /too-large/, uuid: uuidOf(9) },
    ],
  ])('%s', async (_, breakIt, problem) => {
    const store = new MemoryObjectStore();
    addDataset(store, 1);
    breakIt(store);
    addDataset(store, 11, 'u/alice/');
    store.seed('dtool', '');
    store.seed('dtoolish', '');
    const registry = await readRegistry(store);
    expect(registry.datasets.map(({ uuid }) => uuid)).toEqual([uuidOf(1), uuidOf(11)]);
    expect(registry.problems).toHaveLength(1);
    const [told] = registry.problems;
    expect({ key: told?.key, uuid: told?.uuid }).toEqual({ key: problem.key, uuid: problem.uuid });
    expect(registry.problems[0]?.reason).toMatch(problem.reason);
  });

  test('thousands of keys that are none are counted, and stay as they are told', async () => {
    const store = new MemoryObjectStore();
    addDataset(store, 1);
    for (let n = 0; n < 2_500; n += 1) store.seed(`dtool-junk-${String(n).padStart(4, '0')}`, '');
    for (let n = 0; n < 2_500; n += 1) store.seed(`dtool-more-${String(n).padStart(4, '0')}/x`, '');
    const { datasets, problems } = await readRegistry(store);
    expect(datasets.map(({ uuid }) => uuid)).toEqual([uuidOf(1)]);
    expect(problems).toHaveLength(PROBLEMS_TOLD_MAX + 1);
    expect(problems.at(-1)).toEqual({ key: 'dtool-', reason: 'there are 4900 more problems of this kind' });
    expect((await readRegistry(store)).problems).toEqual(problems);
  });

  test('a line break that the keys have too is followed', async () => {
    const store = new MemoryObjectStore();
    addDataset(store, 1, 'p/\n');
    const { datasets, problems } = await readRegistry(store);
    expect(problems).toEqual([]);
    expect(datasets[0]?.keyPrefix).toBe(`p/\n${uuidOf(1)}/`);
  });

  test('uuids in upper case, and another uuid in the admin metadata', async () => {
    const store = new MemoryObjectStore();
    const uuid = uuidOf(0xabcdef).toUpperCase();
    store.seed(`dtool-${uuid}`, '');
    store.seed(`${uuid}/dtool`, admin('loud'));
    const { datasets } = await readRegistry(store);
    expect(datasets).toMatchObject([{ uuid, keyPrefix: `${uuid}/`, admin: { uuid: 'x' } }]);
  });

  test('a registration key that can be read by nobody leaves those with the same prefix', async () => {
    const store = new MemoryObjectStore();
    for (let n = 0; n < 5; n += 1) addDataset(store, n, 'u/alice/');
    store.failNext('get', store.error('access-denied', `dtool-${uuidOf(0)}`));
    const { datasets, problems } = await readRegistry(store);
    expect(datasets.map(({ uuid }) => uuid)).toEqual([1, 2, 3, 4].map(uuidOf));
    expect(problems).toEqual([
      { key: `dtool-${uuidOf(0)}`, reason: 'injected access-denied', uuid: uuidOf(0) },
    ]);
  });
});

describe('what is about more than one dataset is thrown', () => {
  test('the list fails', async () => {
    const store = new MemoryObjectStore({ pageSize: 1 });
    addDataset(store, 1);
    addDataset(store, 2);
    const error = store.error('access-denied', 'dtool-');
    store.failNext('listPage', error);
    await expect(readRegistry(store)).rejects.toBe(error);
  });

  test.each(['unreachable', 'wrong-secret-key', 'expired-credentials', 'throttled'] as const)(
    '%s',
    async (reason) => {
      const store = new MemoryObjectStore();
      addDataset(store, 1);
      addDataset(store, 2);
      const error = store.error(reason);
      store.failNext('get', error);
      await expect(readRegistry(store)).rejects.toBe(error);
    },
  );

  test('what is no error of the store at all', async () => {
    const store = new MemoryObjectStore();
    addDataset(store, 1);
    const error = new TypeError('a defect');
    store.failNext('get', error);
    await expect(readRegistry(store)).rejects.toBe(error);
  });

  test('the caller gives up', async () => {
    const store = new MemoryObjectStore();
    for (let n = 0; n < 10; n += 1) addDataset(store, n, 'u/alice/');
    const gate = store.hold('get');
    const controller = new AbortController();
    const reading = readRegistry(store, { signal: controller.signal });
    await gate.reached();
    controller.abort();
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
    expect(gate.waiting).toBe(0);
  });
});
