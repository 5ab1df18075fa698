import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock, type Clock } from '../../src/clock.ts';
import { startS3Server } from '../../src/demo/s3/server.ts';
import { UserError } from '../../src/errors.ts';
import {
  createS3ObjectStore,
  type S3ObjectStore,
  type S3StoreOptions,
} from '../../src/ecs/s3-object-store.ts';
import { describeObjectStore, expectReason } from '../contract/object-store.ts';
import { externalS3, makeBucket, type S3Endpoint } from '../support/s3-bucket.ts';

interface RunningServer extends S3Endpoint {
  close(): Promise<void>;
}

const ALICE = { accessKeyId: 'ALICE', secretAccessKey: 'secret-of-alice', name: 'alice' };
const external = externalS3();

async function startEmbedded(clock: Clock = systemClock): Promise<RunningServer> {
  const server = await startS3Server({ port: 0, users: [ALICE], clock });
  return { endpoint: server.endpoint, credentials: ALICE, close: () => server.close() };
}

async function findExternal(): Promise<RunningServer> {
  if (external === undefined) throw new Error('DTOOL_ECS_TEST_ENDPOINT is not set');
  return { ...external, close: async () => {} };
}

describeS3('the embedded server', () => startEmbedded());
describe.skipIf(external === undefined)('where DTOOL_ECS_TEST_ENDPOINT says', () =>
  describeS3('an external store', findExternal),
);

test('a clock that is wrong', async () => {
  const hourAhead = { ...systemClock, now: () => systemClock.now() + 3_600_000 };
  const server = await startEmbedded(hourAhead);
  const store = createS3ObjectStore({
    bucket: 'bucket',
    endpoint: server.endpoint,
    credentials: async () => server.credentials,
  });
  await expectReason(store.get('key', 1), 'clock-skew');
  store.close();
  await server.close();
});

function describeS3(name: string, start: () => Promise<RunningServer>): void {
  describe(name, () => {
    let server: RunningServer;
    beforeAll(async () => {
      server = await start();
    });
    afterAll(() => server.close());
    const open = (bucket: string, options: Partial<S3StoreOptions> = {}): S3ObjectStore =>
      createS3ObjectStore({
        bucket,
        endpoint: server.endpoint,
        credentials: async () => server.credentials,
        ...options,
      });

    describeObjectStore(`S3 on ${name}`, async () => {
      const made = await makeBucket(server);
      const store = open(made.bucket);
      return {
        store,
        async dispose() {
          store.close();
          await made.remove();
        },
      };
    });

    describe('error reasons', () => {
      let made: Awaited<ReturnType<typeof makeBucket>>;
      const stores: S3ObjectStore[] = [];
      const track = (store: S3ObjectStore): S3ObjectStore => {
        stores.push(store);
        return store;
      };
      beforeAll(async () => {
        made = await makeBucket(server);
      });
      afterAll(async () => {
        for (const store of stores) store.close();
        await made.remove();
      });

      test('a missing bucket', async () => {
        const store = track(open('no-such-bucket-anywhere'));
        await expectReason(store.get('key', 1), 'no-such-bucket');
        await expectReason(store.listPage({ prefix: '' }), 'no-such-bucket');
        await expectReason(store.put('key', Buffer.from('x')), 'no-such-bucket');
      });

      test('an unknown access key', async () => {
        const nobody = { accessKeyId: 'NOBODY', secretAccessKey: 'secret-of-nobody' };
        const store = track(open(made.bucket, { credentials: async () => nobody }));
        const error = await expectReason(store.listPage({ prefix: '' }), 'unknown-access-key');
        expect(error.message).toContain('InvalidAccessKeyId');
        await expectReason(store.head('key'), 'access-denied');
      });

      test('a wrong secret key, which no error shows', async () => {
        const wrong = { ...server.credentials, secretAccessKey: 'not-the-secret' };
        const store = track(open(made.bucket, { credentials: async () => wrong }));
        const error = await expectReason(store.get('key', 1), 'wrong-secret-key');
        expect(error.message).toContain('SignatureDoesNotMatch');
        expect(JSON.stringify(error) + error.stack).not.toMatch(/not-the-secret|Signature=|X-Amz-/i);
      });

      test('new credentials count from the next request on', async () => {
        let credentials = { ...server.credentials, secretAccessKey: 'outdated' };
        const store = track(open(made.bucket, { credentials: async () => credentials }));
        await expectReason(store.listPage({ prefix: '' }), 'wrong-secret-key');
        await expectReason(store.getRange('key', 0, [Buffer.alloc(1)]), 'wrong-secret-key');
        credentials = { ...server.credentials };
        await expectReason(store.getRange('key', 0, [Buffer.alloc(1)]), 'no-such-key');
        expect((await store.listPage({ prefix: '' })).objects).toEqual([]);
      });

      test('what the credentials fail with is passed on', async () => {
        const error = new UserError('no secret key', 'Set it.');
        const store = track(open(made.bucket, { credentials: () => Promise.reject(error) }));
        await expect(store.head('key')).rejects.toBe(error);
      });

      test.each([
        ['a lone surrogate', 'a\ud800b'],
        ['longer than 1,024 bytes', 'k'.repeat(1_025)],
      ])('a key that is %s', async (_, key) => {
        const store = track(open(made.bucket));
        await expectReason(store.get(key, 1), 'bad-request');
      });
    });
  });
}
