import { beforeEach, describe, expect, test } from 'vitest';
import { createRekeyingObjectStore, KeptCredentials } from '../../src/ecs/kept-credentials.ts';
import { UserError } from '../../src/errors.ts';
import { CREDENTIALS_KEEP_MS, CREDENTIALS_LOOK_MS } from '../../src/limits.ts';
import { silentLogger } from '../../src/log.ts';
import { Secret } from '../../src/secret.ts';
import { describeObjectStore } from '../contract/object-store.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';

const OLD = { accessKeyId: 'old', secretAccessKey: new Secret('old secret') };
const NEW = { accessKeyId: 'new', secretAccessKey: new Secret('new secret') };

function setUp() {
  const memory = new MemoryObjectStore();
  memory.seed('key', 'content');
  const clock = new ManualClock();
  const file = { reads: 0, has: OLD, broken: false, hangs: false };
  const credentials = new KeptCredentials({
    initial: OLD,
    read: async () => {
      file.reads++;
      if (file.hangs) await new Promise(() => {});
      if (file.broken) throw new UserError('dtool.json is not JSON');
      return file.has;
    },
    clock,
    log: silentLogger,
  });
  return { memory, clock, file, credentials, store: createRekeyingObjectStore(memory, credentials) };
}

describeObjectStore('the rekeying store', async () => ({ store: setUp().store, dispose: async () => {} }));

describe('the rekeying store', () => {
  let all: ReturnType<typeof setUp>;
  beforeEach(() => {
    all = setUp();
  });

  test.each(['unknown-access-key', 'wrong-secret-key', 'expired-credentials'] as const)(
    '%s: the keys are looked up at once, and the request is repeated with others',
    async (reason) => {
      const { memory, file, store, credentials } = all;
      expect(credentials.current().accessKeyId).toBe('old');
      memory.failNext('get', memory.error(reason));
      file.has = NEW;
      expect((await store.get('key', 10)).body.toString()).toBe('content');
      expect(memory.requests.get).toBe(2);
      expect(credentials.current()).toEqual({ accessKeyId: 'new', secretAccessKey: 'new secret' });
    },
  );

  test('a secret key that was exchanged under the same access key', async () => {
    const { memory, file, store } = all;
    await store.head('key');
    memory.failNext('getRange', memory.error('wrong-secret-key'));
    file.has = { ...OLD, secretAccessKey: NEW.secretAccessKey };
    await store.getRange('key', 0, [Buffer.alloc(7)]);
    expect(memory.requests.getRange).toBe(2);
  });

  test('the same keys are refused once', async () => {
    const { memory, file, store } = all;
    memory.failNext('get', memory.error('unknown-access-key'));
    await expect(store.get('key', 10)).rejects.toMatchObject({ reason: 'unknown-access-key' });
    expect(memory.requests.get).toBe(1);
    expect(file.reads).toBe(1);
  });

  test('others that are refused, too, are not tried again', async () => {
    const { memory, file, store } = all;
    await store.head('key');
    file.has = NEW;
    memory.failNext('get', memory.error('wrong-secret-key'), 3);
    await expect(store.get('key', 10)).rejects.toMatchObject({ reason: 'wrong-secret-key' });
    expect(memory.requests.get).toBe(2);
  });

  test('many that are refused together look once and are all repeated', async () => {
    const { memory, file, store } = all;
    const gate = memory.hold('get');
    memory.failNext('get', memory.error('unknown-access-key'), 50);
    const reads = Array.from({ length: 50 }, async () => store.get('key', 10));
    await gate.reached(50);
    file.has = NEW;
    gate.release();
    await Promise.all(reads);
    expect(file.reads).toBe(1);
    expect(memory.requests.get).toBe(100);
  });

  test('access that is denied is about rights, except where a HEAD can’t tell', async () => {
    const { memory, file, store } = all;
    await store.head('key');
    file.has = NEW;
    memory.failNext('get', memory.error('access-denied'));
    await expect(store.get('key', 10)).rejects.toMatchObject({ reason: 'access-denied' });
    expect(file.reads).toBe(0);
    memory.failNext('head', memory.error('access-denied'));
    await store.head('key');
    expect(file.reads).toBe(1);
  });

  test('a put that must be the first is repeated: what was refused is not stored', async () => {
    const { memory, file, store } = all;
    await store.head('key');
    file.has = NEW;
    memory.failNext('put', memory.error('expired-credentials'));
    await store.put('other', Buffer.from('x'), { ifNoneMatch: '*' });
    expect(memory.requests.put).toBe(2);
  });

  test('a request that nobody waits for any more is not repeated', async () => {
    const { memory, file, store } = all;
    await store.head('key');
    file.has = NEW;
    const ending = new AbortController();
    const gate = memory.hold('get');
    memory.failNext('get', memory.error('unknown-access-key'));
    const read = store.get('key', 10, { signal: ending.signal });
    await gate.reached();
    ending.abort();
    gate.release();
    await expect(read).rejects.toMatchObject({ name: 'AbortError' });
    expect(memory.requests.get).toBe(1);
  });
});

describe('credentials', () => {
  test('are looked up again after a while, in the background', async () => {
    const { file, clock, credentials } = setUp();
    file.has = NEW;
    clock.advance(CREDENTIALS_KEEP_MS);
    credentials.current();
    expect(file.reads).toBe(0);
    clock.advance(1);
    expect(credentials.current().accessKeyId).toBe('old');
    await expect.poll(() => credentials.current().accessKeyId).toBe('new');
    expect(file.reads).toBe(1);
  });

  test('are looked up again after a suspend, and not because the wall clock was set', () => {
    const { file, clock, credentials } = setUp();
    for (const step of [1, -2]) {
      clock.step(step * 3_600_000);
      credentials.current();
    }
    expect(file.reads).toBe(0);
    clock.suspend(CREDENTIALS_KEEP_MS + 1);
    credentials.current();
    expect(file.reads).toBe(1);
  });

  test('stay in use while the configuration is broken', async () => {
    const { file, credentials } = setUp();
    const known = credentials.current();
    file.broken = true;
    expect(await credentials.areOtherThan(known)).toBe(false);
    expect(credentials.current()).toBe(known);
    file.broken = false;
    file.has = NEW;
    expect(await credentials.areOtherThan(known)).toBe(true);
  });

  test('stay in use while the configuration hangs, which is looked at once and holds up nobody', async () => {
    const { memory, file, clock, credentials, store } = setUp();
    file.hangs = true;
    clock.advance(CREDENTIALS_KEEP_MS + 1);
    for (let n = 0; n < 100; n++) expect((await store.get('key', 10)).body.toString()).toBe('content');
    expect(file.reads).toBe(1);
    memory.failNext('get', memory.error('unknown-access-key'));
    const refused = expect(store.get('key', 10)).rejects.toMatchObject({ reason: 'unknown-access-key' });
    for (let looks = 0; looks < 2; looks++) {
      await expect.poll(() => clock.sleeping).toBe(1);
      clock.advance(CREDENTIALS_LOOK_MS);
    }
    await refused;
    expect(file.reads).toBe(1);
    expect(credentials.current().accessKeyId).toBe('old');
  });

  test('are looked up once more where a look began before they were exchanged', async () => {
    const { file, clock, credentials } = setUp();
    const known = credentials.current();
    clock.advance(CREDENTIALS_KEEP_MS + 1);
    credentials.current();
    file.has = NEW;
    expect(await credentials.areOtherThan(known)).toBe(true);
    expect(file.reads).toBe(2);
  });
});
