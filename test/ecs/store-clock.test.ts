import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { type S3Server, startS3Server } from '../../src/demo/s3/server.ts';
import { createS3ObjectStore, type S3ObjectStore } from '../../src/ecs/s3-object-store.ts';
import { createSkewCorrectingObjectStore } from '../../src/ecs/store-clock.ts';
import type { ObjectStore } from '../../src/ecs/object-store.ts';
import { describeObjectStore, expectReason } from '../contract/object-store.ts';
import { httpAnswer, startFakeServer } from '../support/fake-server.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { makeBucket } from '../support/s3-bucket.ts';

const ALICE = { accessKeyId: 'ALICE', secretAccessKey: 'secret-of-alice', name: 'alice' };
const HOUR_MS = 3_600_000;

function open(endpoint: string, bucket: string, clock: { now(): number }): S3ObjectStore {
  const credentials = async () => ALICE;
  return createS3ObjectStore({
    bucket,
    endpoint,
    credentials,
    clock: { ...systemClock, now: () => clock.now() },
  });
}

describe('with a clock that is an hour behind', () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await startS3Server({ users: [ALICE] });
  });
  afterAll(() => server.close());

  describeObjectStore('the skew-correcting store', async () => {
    const made = await makeBucket({ endpoint: server.endpoint, credentials: ALICE });
    const s3 = open(server.endpoint, made.bucket, { now: () => Date.now() - HOUR_MS });
    return {
      store: createSkewCorrectingObjectStore(s3),
      dispose: async () => {
        s3.close();
        await made.remove();
      },
    };
  });
});

describe('the date of requests', () => {
  /** That of the store is right; ours may be set. */
  let right: ManualClock;
  let ours: ManualClock;
  let server: S3Server;
  let s3: S3ObjectStore;
  let store: ObjectStore;
  beforeEach(async () => {
    right = new ManualClock();
    ours = new ManualClock();
    server = await startS3Server({ users: [ALICE], buckets: ['bucket'], clock: right });
    await server.putObject('bucket', 'key', 'content');
    s3 = open(server.endpoint, 'bucket', ours);
    store = createSkewCorrectingObjectStore(s3);
  });
  afterEach(async () => {
    s3.close();
    await server.close();
  });

  async function requestsOf(request: () => Promise<unknown>): Promise<number> {
    const count = (): number => Object.values(server.requestCounts()).reduce((sum, one) => sum + one, 0);
    const before = count();
    await request();
    return count() - before;
  }
  const read = async (): Promise<void> => {
    const target = Buffer.alloc(7);
    await store.getRange('key', 0, [target]);
    expect(target.toString()).toBe('content');
  };
  const REQUESTS: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['getRange', read],
    ['get', async () => store.get('key', 100)],
    ['head', async () => store.head('key')],
    ['listPage', async () => store.listPage({ prefix: '' })],
    ['put of a stream', async () => store.put('new', { size: 3, open: () => [Buffer.from('abc')] })],
    ['delete', async () => store.delete('new')],
    ['createUpload', async () => store.createUpload('large')],
    ['listUploads', async () => store.listUploads('')],
  ];

  test('a signature is kept for the time that passes, not for the time awake', async () => {
    await read();
    for (const clock of [right, ours]) clock.suspend(HOUR_MS);
    expect(await requestsOf(read)).toBe(1);
  });

  test.each(REQUESTS)('%s: a date that is refused is corrected, once', async (_name, request) => {
    ours.step(-HOUR_MS);
    expect(await requestsOf(request)).toBe(2);
    expect(await requestsOf(request)).toBe(1);
    expect(await requestsOf(read)).toBe(1);
  });

  test('our clock may step to anywhere, and back, before and after a correction', async () => {
    for (const step of [HOUR_MS, -2 * HOUR_MS, 400 * 24 * HOUR_MS, -400 * 24 * HOUR_MS, HOUR_MS, 59_000]) {
      ours.step(step);
      for (const [name, request] of REQUESTS)
        expect(await requestsOf(request), `${name} after ${step}`).toBeLessThanOrEqual(2);
    }
  });

  test('the clock of the store may step, too', async () => {
    for (const step of [HOUR_MS, -2 * HOUR_MS]) {
      right.step(step);
      for (const [name, request] of REQUESTS)
        expect(await requestsOf(request), `${name} after ${step}`).toBeLessThanOrEqual(2);
    }
  });

  test('many that are refused together are all repeated', async () => {
    await read();
    ours.step(-HOUR_MS);
    expect(await requestsOf(async () => Promise.all(Array.from({ length: 20 }, read)))).toBeLessThanOrEqual(
      40,
    );
  });

  test('a HEAD that is refused for another reason, near our date, is asked once', async () => {
    s3.close();
    s3 = createS3ObjectStore({
      bucket: 'bucket',
      endpoint: server.endpoint,
      credentials: async () => ({ ...ALICE, secretAccessKey: 'wrong' }),
      clock: { ...systemClock, now: () => ours.now() },
    });
    store = createSkewCorrectingObjectStore(s3);
    expect(await requestsOf(() => expectReason(store.head('key'), 'access-denied'))).toBe(1);
  });
});

test.each([
  ['without a Date', undefined],
  ['with one that is none', 'yesterday'],
  ['with one that it refuses', 'Thu, 01 Jan 1970 00:00:00 GMT'],
])('a store that refuses any date, %s, is believed the second time', async (_name, date) => {
  const body = '<Error><Code>RequestTimeTooSkewed</Code></Error>';
  const fields = { 'Content-Length': body.length, ...(date !== undefined && { Date: date }) };
  const server = await startFakeServer((socket) => socket.write(httpAnswer(403, fields, body)));
  const s3 = open(server.endpoint, 'bucket', systemClock);
  await expectReason(createSkewCorrectingObjectStore(s3).get('key', 1), 'clock-skew');
  expect(server.requests.length).toBe(2);
  s3.close();
  await server.close();
});
