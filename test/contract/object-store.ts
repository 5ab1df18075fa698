import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isAbort } from '../../src/errors.ts';
import {
  listAll,
  StoreError,
  type ListPage,
  type ObjectInfo,
  type ObjectStore,
  type StoreErrorReason,
} from '../../src/ecs/object-store.ts';

export interface ObjectStoreSetup {
  /** Of an empty bucket. */
  readonly store: ObjectStore;
  dispose(): Promise<void>;
}

/** Everything that S3 allows in a key and somebody stumbles over. */
const ODD_KEYS = [
  ' leading and trailing ',
  'plus+and space',
  '100%25',
  '%2F',
  'grüße/Ünïcode',
  'gru\u0308\u00dfe-nfd',
  '//double//slashes//',
  '/leading',
  'trailing/',
  '.',
  '..',
  'a/../b',
  './c',
  'question?mark#hash',
  'quote\'and"&<xml>;',
  'back\\slash',
  'emoji😀',
  'private\ue000\uffee',
  'new\nline\ttab\rreturn',
  'control\u0001\u007f',
  'k'.repeat(1024),
];

/** Holds an implementation of the port to the text of `src/ecs/object-store.ts`. */
export function describeObjectStore(name: string, setup: () => Promise<ObjectStoreSetup>): void {
  describe(`${name} is an object store`, () => {
    let context: ObjectStoreSetup;
    let store: ObjectStore;
    const content = pseudoRandomBytes(100_000);

    beforeAll(async () => {
      context = await setup();
      store = context.store;
      await store.put('ranges/object', content);
      await store.put('ranges/empty', new Uint8Array(0));
    });
    afterAll(() => context.dispose());

    describe('put, get and head', () => {
      test.each([0, 1, 1_000, 300_000])('round trip of %i bytes', async (size) => {
        const body = pseudoRandomBytes(size);
        const before = Date.now();
        await store.put(`round/${size}`, body);
        const object = await store.get(`round/${size}`, size);
        expect(object.body.equals(body)).toBe(true);
        expect(object.size).toBe(size);
        expect(object.etag).toBe(md5(body).toString('hex'));
        expect(Math.abs(object.lastModified - before)).toBeLessThan(60_000);
        const { body: _, ...info } = object;
        expect(await store.head(`round/${size}`)).toEqual(info);
      });

      test('a put replaces what was there', async () => {
        await store.put('replaced', Buffer.from('old'), { metadata: { a: '1' } });
        await store.put('replaced', Buffer.from('new'));
        const { body, metadata } = await store.get('replaced', 10);
        expect([body.toString(), metadata]).toEqual(['new', {}]);
      });

      test('a stream, opened anew for every put', async () => {
        const body = pseudoRandomBytes(3_000_000);
        let opened = 0;
        const source = {
          size: body.length,
          open: () => {
            opened++;
            return [body.subarray(0, 1), body.subarray(1, 2_000_000), body.subarray(2_000_000)];
          },
        };
        await store.put('stream', source, { md5: md5(body) });
        await store.put('stream', source, { md5: md5(body) });
        expect(opened).toBe(2);
        expect((await store.get('stream', body.length)).body.equals(body)).toBe(true);
      });

      test('an empty stream', async () => {
        await store.put('empty-stream', { size: 0, open: () => [] });
        expect((await store.get('empty-stream', 0)).size).toBe(0);
      });

      test('a stream whose pieces are overwritten once the next is asked for', async () => {
        const body = Buffer.concat(Array.from({ length: 9 }, (_, index) => Buffer.alloc(900_001, index + 1)));
        const open = async function* (): AsyncGenerator<Uint8Array> {
          const buffer = Buffer.alloc(1_000_000);
          for (let at = 0; at < body.length; at += buffer.length) {
            yield buffer.subarray(0, body.copy(buffer, 0, at));
            buffer.fill(0);
            await new Promise((resolve) => setImmediate(resolve));
          }
        };
        await store.put('overwritten', { size: body.length, open });
        expect((await store.get('overwritten', body.length)).body.equals(body)).toBe(true);
      });

      test("a stream's error is the put's, and nothing is stored", async () => {
        const broken = new Error('disk on fire');
        const open = function* (): Generator<Uint8Array> {
          yield Buffer.from('begin');
          throw broken;
        };
        await expect(store.put('broken-stream', { size: 1_000, open })).rejects.toBe(broken);
        await expectReason(store.head('broken-stream'), 'no-such-key');
      });

      test.each([
        ['shorter', 6],
        ['longer', 4],
      ])('a stream %s than announced', async (key, size) => {
        const put = store.put(key, { size, open: () => [Buffer.from('12345')] });
        await expectReason(put, 'bad-request');
        await expectReason(store.head(key), 'no-such-key');
      });

      test('metadata', async () => {
        const metadata = {
          uuid: 'af6727bf-29c7-43dd-b42f-a5d7ede28337',
          number: '1700000000.25',
          handle: 'Z3LDvMOfZQ==',
          odd: '~!@#$%^&*()_+ "quoted", a=b; c',
          'with-dash': '1',
        };
        await store.put('metadata', Buffer.from('x'), { metadata });
        expect((await store.head('metadata')).metadata).toEqual(metadata);
        expect((await store.get('metadata', 1)).metadata).toEqual(metadata);
        expect((await store.getRange('metadata', 0, [new Uint8Array(1)])).metadata).toEqual(metadata);
      });

      test.each(['grün', ' leading', 'trailing ', 'new\nline', '\u0000'])(
        'metadata %j is refused',
        async (value) => {
          const put = store.put('bad-metadata', Buffer.from('x'), { metadata: { value } });
          await expectReason(put, 'bad-request');
          await expectReason(store.head('bad-metadata'), 'no-such-key');
        },
      );

      test('content that does not match its MD5 is not stored', async () => {
        const put = store.put('bad-md5', Buffer.from('content'), { md5: md5(Buffer.from('other')) });
        await expectReason(put, 'bad-digest');
        await expectReason(store.head('bad-md5'), 'no-such-key');
      });

      test('ifNoneMatch stores once', async () => {
        await store.put('once', Buffer.from('first'), { ifNoneMatch: '*' });
        const second = store.put('once', Buffer.from('second'), { ifNoneMatch: '*' });
        await expectReason(second, 'precondition-failed');
        expect((await store.get('once', 10)).body.toString()).toBe('first');
      });

      test('maxBytes', async () => {
        await store.put('limit', Buffer.alloc(10));
        await expectReason(store.get('limit', 9), 'too-large');
        expect((await store.get('limit', 10)).size).toBe(10);
      });

      test('a missing key', async () => {
        await expectReason(store.get('missing', 10), 'no-such-key');
        await expectReason(store.head('missing'), 'no-such-key');
        await expectReason(store.getRange('missing', 0, [new Uint8Array(1)]), 'no-such-key');
      });

      test('the empty key', async () => {
        const calls = [
          store.get('', 1),
          store.head(''),
          store.getRange('', 0, [new Uint8Array(1)]),
          store.put('', Buffer.from('x')),
          store.delete(''),
        ];
        for (const call of calls) await expectReason(call, 'bad-request');
      });

      test('errors name the bucket and the key', async () => {
        const error = await store.get('path/to/missing', 10).catch((thrown: unknown) => thrown);
        expect(error).toMatchObject({ bucket: store.bucket, key: 'path/to/missing', code: 'ENOENT' });
        expect(error).toHaveProperty('message', expect.stringContaining(`${store.bucket}/path/to/missing`));
      });
    });

    describe('getRange', () => {
      const last = content.length - 1;
      test.each([
        [0, 1],
        [0, content.length],
        [1, last],
        [last, 1],
        [last - 1, 2],
        [65_535, 2],
        [4_096, 4_096],
      ])('from %i, %i bytes', async (offset, length) => {
        const target = new Uint8Array(length);
        const info = await store.getRange('ranges/object', offset, [target]);
        expect(info).toEqual(await store.head('ranges/object'));
        expect(Buffer.from(target).equals(content.subarray(offset, offset + length))).toBe(true);
      });

      test.each([
        ['ranges/object', last, 2],
        ['ranges/object', content.length, 1],
        ['ranges/object', content.length + 1_000, 1],
        ['ranges/object', 0, content.length + 1],
        ['ranges/empty', 0, 1],
      ])('%s is too short for %i, %i', async (key, offset, length) => {
        await expectReason(store.getRange(key, offset, [new Uint8Array(length)]), 'short');
      });

      test('targets but the last are told to be full, in their order, and stay so when the reader gives up', async () => {
        const lengths = [50_000, 1, 30_000, 7];
        const targets = lengths.map((length) => Buffer.alloc(length));
        const told: number[] = [];
        const infos: ObjectInfo[] = [];
        const info = await store.getRange('ranges/object', 5, targets, {
          onFilled: (count, found) => {
            told.push(count);
            infos.push(found);
            const full = Buffer.concat(targets.slice(0, count));
            expect(full.equals(content.subarray(5, 5 + full.length))).toBe(true);
          },
        });
        expect(told).toEqual(told.toSorted((a, b) => a - b));
        expect(told.at(-1)).toBe(3);
        for (const found of infos) expect(found).toEqual(info);
        const enough = new Error('enough');
        const others = lengths.map((length) => Buffer.alloc(length));
        let full = 0;
        const reading = store.getRange('ranges/object', 5, others, {
          onFilled: (count) => {
            full = count;
            throw enough;
          },
        });
        await expect(reading).rejects.toThrow('enough');
        const kept = Buffer.concat(others.slice(0, full));
        expect(kept.equals(content.subarray(5, 5 + kept.length))).toBe(true);
      });

      test('any range into any targets, and not a byte beside them', async () => {
        await fc.assert(
          fc.asyncProperty(
            fc.nat({ max: content.length - 1 }),
            fc.array(fc.nat({ max: 3_000 }), { minLength: 1, maxLength: 6 }),
            async (offset, lengths) => {
              const total = lengths.reduce((sum, length) => sum + length, 0);
              fc.pre(total > 0 && offset + total <= content.length);
              const backing = lengths.map((length) => Buffer.alloc(length + 2, 0xee));
              const targets = backing.map((buffer) => buffer.subarray(1, -1));
              await store.getRange('ranges/object', offset, targets);
              expect(Buffer.concat(targets).equals(content.subarray(offset, offset + total))).toBe(true);
              expect(backing.every((buffer) => buffer[0] === 0xee && buffer.at(-1) === 0xee)).toBe(true);
            },
          ),
          { numRuns: 50 },
        );
      });
    });

    describe('listPage', () => {
      const keys = Array.from({ length: 25 }, (_, index) => `page/${String(index).padStart(2, '0')}`);
      beforeAll(async () => {
        await Promise.all(keys.map((key) => store.put(key, Buffer.from(key))));
        await Promise.all(ODD_KEYS.map((key) => store.put(`odd/${key}`.slice(0, 1024), Buffer.from(key))));
        for (const key of ['tree/a', 'tree/b/1', 'tree/b/2', 'tree/c d+e/1', 'tree/z']) {
          await store.put(key, Buffer.from('x'));
        }
      });

      test.each([undefined, 1, 2, 7, 25, 1_000])('every key once with maxKeys %s', async (maxKeys) => {
        const pages = await allPages(store, { prefix: 'page/', ...(maxKeys && { maxKeys }) });
        expect(pages.flatMap((page) => page.objects.map(({ key }) => key))).toEqual(keys);
        expect(Math.max(...pages.map((page) => page.objects.length))).toBeLessThanOrEqual(maxKeys ?? 1_000);
      });

      test('what is listed is what head says', async () => {
        for await (const { key, size, etag, lastModified } of listAll(store, 'page/1')) {
          const head = await store.head(key);
          expect({ size, etag }).toEqual({ size: head.size, etag: head.etag });
          // A list may have the fraction of the second that the header can not have.
          expect(Math.abs(lastModified - head.lastModified)).toBeLessThan(1_000);
        }
      });

      test('nothing under a prefix', async () => {
        const [page, ...more] = await allPages(store, { prefix: 'nothing here/' });
        expect(page).toEqual({ objects: [], commonPrefixes: [], continuationToken: undefined });
        expect(more).toEqual([]);
      });

      test.each([1, 1_000])('a delimiter folds, maxKeys %i', async (maxKeys) => {
        const pages = await allPages(store, { prefix: 'tree/', delimiter: '/', maxKeys });
        expect(pages.flatMap((page) => page.objects.map(({ key }) => key))).toEqual(['tree/a', 'tree/z']);
        expect(pages.flatMap((page) => page.commonPrefixes)).toEqual(['tree/b/', 'tree/c d+e/']);
      });

      test.each([3, 1_000])('odd keys survive, maxKeys %i', async (maxKeys) => {
        const pages = await allPages(store, { prefix: 'odd/', maxKeys });
        const listed = pages.flatMap((page) => page.objects.map(({ key }) => key));
        const expected = ODD_KEYS.map((key) => `odd/${key}`.slice(0, 1024));
        expect(listed.toSorted()).toEqual(expected.toSorted());
      });

      test.each(ODD_KEYS)('odd key %j', async (odd) => {
        const key = `odd/${odd}`.slice(0, 1024);
        expect((await store.get(key, 2_000)).body.toString()).toBe(odd);
        const target = Buffer.alloc(Buffer.byteLength(odd));
        await store.getRange(key, 0, [target]);
        expect(target.toString()).toBe(odd);
        const page = await store.listPage({ prefix: key });
        expect(page.objects.map((object) => object.key)).toContain(key);
        await store.put(odd, Buffer.from('itself'));
        expect((await store.get(odd, 10)).body.toString()).toBe('itself');
        await store.delete(odd);
        await expectReason(store.head(odd), 'no-such-key');
      });
    });

    describe('delete', () => {
      test('removes an object, and a missing one is no error', async () => {
        await store.put('deleted', Buffer.from('x'));
        await store.delete('deleted');
        await expectReason(store.head('deleted'), 'no-such-key');
        await store.delete('deleted');
        await store.delete('never was');
      });
    });

    describe('an upload in parts', () => {
      // S3 takes smaller parts only at the end.
      const parts = [pseudoRandomBytes(5 << 20), pseudoRandomBytes(100_000)] as const;
      const [first, last] = parts;
      const metadata = { handle: 'Z3LDvMOfZQ==', checksum: 'c'.repeat(32) };

      test('becomes an object when it is completed, with the metadata of its beginning', async () => {
        const key = 'parts/grüße + 100%';
        const id = await store.createUpload(key, { metadata });
        const body = { size: last.length, open: () => [last.subarray(0, 10), last.subarray(10)] };
        const lastTag = await store.putPart({ key, id, number: 7 }, body, { md5: md5(last) });
        await store.putPart({ key, id, number: 2 }, Buffer.from('replaced'));
        const firstTag = await store.putPart({ key, id, number: 2 }, first, { md5: md5(first) });
        await expectReason(store.head(key), 'no-such-key');
        expect(await store.listUploads('parts/')).toEqual([{ key, id }]);
        const chosen = [
          { number: 2, etag: firstTag },
          { number: 7, etag: lastTag },
        ];
        await store.completeUpload({ key, id }, chosen);
        const object = await store.get(key, 6 << 20);
        expect(object.body.equals(Buffer.concat(parts))).toBe(true);
        expect(object.metadata).toEqual(metadata);
        expect(object.etag).not.toMatch(/^[0-9a-f]{32}$/);
        expect(await store.listUploads('parts/')).toEqual([]);
      });

      test('content that does not match its MD5, or its size, is no part', async () => {
        const key = 'parts/bad';
        const id = await store.createUpload(key);
        const part = { key, id, number: 1 };
        await expectReason(store.putPart(part, last, { md5: md5(first) }), 'bad-digest');
        const open = (): readonly Uint8Array[] => [Buffer.from('12345')];
        await expectReason(store.putPart(part, { size: 6, open }), 'bad-request');
        await expectReason(store.putPart(part, { size: 4, open }), 'bad-request');
        const etag = md5(last).toString('hex');
        await expectReason(store.completeUpload({ key, id }, [{ number: 1, etag }]), 'bad-request');
        await expectReason(store.head(key), 'no-such-key');
        await store.abortUpload({ key, id });
      });

      test('aborted or never begun: there is none', async () => {
        const key = 'parts/aborted';
        const id = await store.createUpload(key);
        const etag = await store.putPart({ key, id, number: 1 }, last);
        await store.abortUpload({ key, id });
        expect(await store.listUploads('parts/')).toEqual([]);
        await store.abortUpload({ key, id });
        await expectReason(store.putPart({ key, id, number: 1 }, last), 'no-such-upload');
        // Ceph says with status 500 that the completion is in progress.
        const completed = store.completeUpload({ key, id }, [{ number: 1, etag }]);
        await expect(completed).rejects.toMatchObject({
          reason: expect.stringMatching(/^(no-such-upload|server-error)$/),
        });
        await expectReason(store.head(key), 'no-such-key');
      });

      test('metadata that could not arrive, and the empty key', async () => {
        const bad = store.createUpload('parts/metadata', { metadata: { value: 'grün' } });
        await expectReason(bad, 'bad-request');
        await expectReason(store.createUpload(''), 'bad-request');
        expect(await store.listUploads('parts/')).toEqual([]);
      });

      test('what the source of a part fails with is passed on', async () => {
        const key = 'parts/broken';
        const id = await store.createUpload(key);
        const broken = new Error('disk on fire');
        // oxlint-disable-next-line require-yield -- it fails before
        const open = function* (): Generator<Uint8Array> {
          throw broken;
        };
        await expect(store.putPart({ key, id, number: 1 }, { size: 9, open })).rejects.toBe(broken);
        await store.abortUpload({ key, id });
      });
    });

    describe('abort', () => {
      const upload = { key: 'aborted', id: 'none' };
      const endless = {
        size: 1_000_000,
        open: async function* (): AsyncGenerator<Uint8Array> {
          yield Buffer.from('begin');
          await new Promise(() => {});
        },
      };
      const calls: readonly (readonly [string, (signal: AbortSignal) => Promise<unknown>])[] = Object.entries(
        {
          getRange: (signal: AbortSignal) =>
            store.getRange('ranges/object', 0, [new Uint8Array(9)], { signal }),
          get: (signal: AbortSignal) => store.get('ranges/object', 1_000_000, { signal }),
          head: (signal: AbortSignal) => store.head('ranges/object', { signal }),
          listPage: (signal: AbortSignal) => store.listPage({ prefix: '' }, { signal }),
          put: (signal: AbortSignal) => store.put('aborted', Buffer.from('x'), { signal }),
          'put of a stalled stream': (signal: AbortSignal) => store.put('stalled', endless, { signal }),
          delete: (signal: AbortSignal) => store.delete('nothing', { signal }),
          createUpload: (signal: AbortSignal) => store.createUpload('aborted', { signal }),
          'putPart of a stalled stream': (signal: AbortSignal) =>
            store.putPart({ ...upload, number: 1 }, endless, { signal }),
          completeUpload: (signal: AbortSignal) =>
            store.completeUpload(upload, [{ number: 1, etag: 'x' }], { signal }),
          abortUpload: (signal: AbortSignal) => store.abortUpload(upload, { signal }),
          listUploads: (signal: AbortSignal) => store.listUploads('', { signal }),
        },
      );
      test.each(calls)('%s', async (_operation, call) => {
        await expect(call(AbortSignal.abort())).rejects.toSatisfy(isAbort);
        const controller = new AbortController();
        const promise = call(controller.signal);
        controller.abort();
        await expect(promise).rejects.toSatisfy(isAbort);
      });

      test('an upload whose source has stalled, and is closed when it goes on', async () => {
        const controller = new AbortController();
        const stalled = deferred();
        const released = deferred();
        const closed = deferred();
        const open = async function* (): AsyncGenerator<Uint8Array> {
          try {
            yield Buffer.alloc(10);
            stalled.done();
            await released.promise;
            yield Buffer.alloc(10);
            throw new Error('more was asked for');
          } finally {
            closed.done();
          }
        };
        const put = store.put('stalled', { size: 30, open }, { signal: controller.signal });
        const aborted = expect(put).rejects.toSatisfy(isAbort);
        await stalled.promise;
        controller.abort();
        await aborted;
        released.done();
        await closed.promise;
        await expectReason(store.head('stalled'), 'no-such-key');
      });

      test("the reason is the signal's", async () => {
        const reason = new Error('enough');
        await expect(store.head('ranges/object', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      });
    });
  });
}

/** A promise, and what fulfils it. */
function deferred(): { readonly promise: Promise<void>; readonly done: () => void } {
  let done = (): void => {};
  const promise = new Promise<void>((resolve) => {
    done = resolve;
  });
  return { promise, done };
}

/** Expects a StoreError with this reason. */
export async function expectReason(promise: Promise<unknown>, reason: StoreErrorReason): Promise<StoreError> {
  const error = await promise.then(
    () => new Error('the request succeeded'),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof StoreError)) throw error;
  expect(`${error.reason}: ${error.message}`).toBe(`${reason}: ${error.message}`);
  return error;
}

async function allPages(
  store: ObjectStore,
  query: { readonly prefix: string; readonly delimiter?: string; readonly maxKeys?: number },
): Promise<readonly ListPage[]> {
  const pages: ListPage[] = [];
  let continuationToken: string | undefined;
  do {
    const page = await store.listPage({ ...query, continuationToken });
    pages.push(page);
    continuationToken = page.continuationToken;
  } while (continuationToken !== undefined);
  return pages;
}

/** The same bytes for the same size, without structure that would hide a shifted copy. */
export function pseudoRandomBytes(size: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(size / 32) }, (_, index) =>
    createHash('sha256').update(`${size}:${index}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, size);
}

function md5(content: Uint8Array): Buffer {
  return createHash('md5').update(content).digest();
}
