import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { seededRandom } from '../../src/demo/random.ts';
import { datasetOf, randomBytesOf } from '../support/datasets.ts';
import { scaled } from '../support/full.ts';
import {
  type FaultSchedule,
  type FaultyProxy,
  type NetworkFault,
  passingFaults,
  startFaultyProxy,
} from '../support/faulty-proxy.ts';
import { type CommandResult, type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { createEmbeddedBucket, type TestBucket } from '../support/test-bucket.ts';

const READER = resolve(import.meta.dirname, '../support/range-reader.mjs');
const READERS = 4;
const READS = scaled({ usual: 60, full: 2_000 });
const SEED = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000) + 1;

const ITEMS = Object.fromEntries(
  Array.from({ length: 40 }, (_, index) => [
    `${index}.bin`,
    randomBytesOf(index + 1, 1 + ((index * 7_919 * 13) % 900_000)),
  ]),
);
const RESULT = z.object({
  right: z.number(),
  wrong: z.array(z.string()),
  errors: z.record(z.string(), z.number()),
});
type Result = z.infer<typeof RESULT>;

describe.skipIf(mountObstacle !== undefined)(
  'a mount over a network that fails',
  { timeout: 600_000 },
  () => {
    let bucket: TestBucket;
    let proxy: FaultyProxy;
    let mounted: Mounted;
    let truth: string;

    beforeAll(async () => {
      process.stderr.write(`FAULT_SEED=${SEED - 1}\n`);
      truth = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-truth-'));
      for (const [name, content] of Object.entries(ITEMS)) await writeFile(join(truth, name), content);
      bucket = await createEmbeddedBucket();
      await bucket.putDataset(datasetOf('set', ITEMS));
      proxy = await startFaultyProxy(bucket.server?.endpoint ?? '');
      const env = { ...bucket.env, [`DTOOL_ECS_ENDPOINT_${bucket.bucket}`]: proxy.endpoint };
      // A cache that has to let go: nearly every read asks the store.
      mounted = await mount(env, [bucket.bucket], '--cache-memory', '1M', '--cache-size', 'none');
      await mounted.sh('ls set/data');
    });
    afterEach(() => {
      proxy.setAway(false);
      proxy.setSchedule(undefined);
    });
    afterAll(async () => {
      await mounted?.close();
      await proxy?.close();
      await bucket?.close();
      await rm(truth, { recursive: true });
    });

    const readers = (reads = READS): readonly Promise<CommandResult>[] =>
      Array.from({ length: READERS }, async (_, reader) =>
        mounted.user.exec(
          process.execPath,
          READER,
          join(mounted.path, 'set/data'),
          truth,
          String(SEED + reader),
          String(reads),
        ),
      );
    const resultOf = async (all: readonly Promise<CommandResult>[]): Promise<Result> => {
      const results = (await Promise.all(all)).map(({ stdout, stderr }) => {
        expect(stderr).toBe('');
        return RESULT.parse(JSON.parse(stdout));
      });
      const errors: Record<string, number> = {};
      for (const result of results)
        for (const [code, count] of Object.entries(result.errors)) errors[code] = (errors[code] ?? 0) + count;
      return {
        right: results.reduce((sum, { right }) => sum + right, 0),
        wrong: results.flatMap(({ wrong }) => wrong),
        errors,
      };
    };
    /** Everything is as if nothing had happened. */
    const expectWell = async (): Promise<void> => {
      proxy.setAway(false);
      proxy.setSchedule(undefined);
      expect(await resultOf(readers(20))).toEqual({ right: READERS * 20, wrong: [], errors: {} });
      expect(await mounted.sh(`diff -r set/data '${truth}'`)).toBe('');
      await expect
        .poll(
          async () => {
            const { queue, openHandles } = await mounted.status();
            return { ...queue, openHandles };
          },
          { timeout: 30_000 },
        )
        .toMatchObject({ running: 0, openHandles: 0 });
    };
    const isItem = (url: string): boolean => url.includes('/data/');
    const always =
      (fault: NetworkFault): FaultSchedule =>
      (_, url) =>
        isItem(url) ? fault : undefined;

    test('reads what is right, whatever passes by itself', async () => {
      const random = seededRandom(SEED);
      const upTo = (count: number): number => Math.floor(random() * count);
      const passing: readonly (() => NetworkFault)[] = [...passingFaults(upTo, 20), () => ({ kind: 'page' })];
      proxy.setSchedule((_, url) =>
        isItem(url) && random() < 0.3 ? passing[upTo(passing.length)]?.() : undefined,
      );
      const result = await resultOf(readers());
      expect(result).toEqual({ right: READERS * READS, wrong: [], errors: {} });
      expect((await mounted.status()).store.retries).toBeGreaterThan(0);
      await expectWell();
    });

    test('waits while the store is away for a moment', async () => {
      proxy.setAway(true);
      const reading = readers(10);
      await expect.poll(() => proxy.counts.get('away') ?? 0).toBeGreaterThan(READERS);
      proxy.setAway(false);
      expect(await resultOf(reading)).toEqual({ right: READERS * 10, wrong: [], errors: {} });
      await expectWell();
    });

    for (const [fault, code] of [
      [{ kind: 'status', status: 403, code: 'AccessDenied' }, 'EACCES'],
      [{ kind: 'status', status: 403, code: 'ExpiredToken' }, 'EACCES'],
      [{ kind: 'status', status: 404, code: 'NoSuchKey' }, 'EIO'],
    ] as const) {
      test(`says ${code} at once while it is ${fault.code}, and reads again afterwards`, async () => {
        proxy.setSchedule(always(fault));
        const { right, wrong, errors } = await resultOf(readers(20));
        expect(wrong).toEqual([]);
        // What lies beyond the end of a file, and what is in the cache, needs nobody.
        expect(Object.keys(errors)).toEqual([code]);
        expect(right + (errors[code] ?? 0)).toBe(READERS * 20);
        await expectWell();
      });
    }

    test('leaves no reader behind that was killed while nothing came', async () => {
      proxy.setSchedule(always({ kind: 'stall' }));
      const waiting = Array.from({ length: READERS }, () =>
        mounted.user.startProgram(
          process.execPath,
          READER,
          join(mounted.path, 'set/data'),
          truth,
          String(SEED),
          '5',
        ),
      );
      await expect
        .poll(async () => (await mounted.status()).queue.running, { timeout: 30_000 })
        .toBeGreaterThan(0);
      const ended = waiting.map(
        async (reader) => new Promise((done) => reader.once('exit', (_, signal) => done(signal))),
      );
      for (const reader of waiting) reader.kill('SIGKILL');
      expect(await Promise.all(ended)).toEqual(waiting.map(() => 'SIGKILL'));
      await expectWell();
    });
  },
);
