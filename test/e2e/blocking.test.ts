import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { BLOCK_BYTES } from '../../src/limits.ts';
import { datasetOf, randomBytesOf } from '../support/datasets.ts';
import { mount, mountObstacle } from '../support/mounted.ts';
import { createEmbeddedBucket } from '../support/test-bucket.ts';

const CALLS = z.array(z.object({ call: z.string(), path: z.string(), stack: z.string() }));

/** The only files that may make synchronous calls on the main thread of a mount, because those do not wait. */
const DO_NOT_WAIT = [
  // The kernel takes a reply from memory, or refuses it.
  'src/fuse/transport/kernel/device.ts',
  // A local disk answers from memory; after one call that took long, and on network file systems, all go to a thread.
  'src/fuse/staging/pace.ts',
  'node_modules/sonic-boom',
];

test.skipIf(mountObstacle !== undefined)(
  'a mount makes no file call on its main thread that could wait',
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-calls-'));
    const record = join(directory, 'calls.json');
    const bucket = await createEmbeddedBucket();
    await bucket.putDataset(
      datasetOf('set', { small: 'text', large: randomBytesOf(1, 3 * BLOCK_BYTES + 1) }),
    );
    const mounted = await mount(
      {
        ...bucket.env,
        RECORD_SYNC_CALLS: record,
        NODE_OPTIONS: `--enable-source-maps --require ${resolve(import.meta.dirname, '../support/record-sync-calls.cjs')}`,
      },
      [bucket.bucket],
    );
    try {
      await mounted.sh(
        'ls -lR . && cat set/data/* set/README.yml && cat set/data/large && df . && stat -f .',
      );
      await mounted.sh('mkdir staging/new && cp -r set/data staging/new/ && ln -s data staging/new/link');
      await mounted.sh('mv staging/new/link staging/new/l && rm staging/new/l && ls -lR staging');
      const frozen = await mounted.user.run('freeze', join(mounted.path, 'staging/new'));
      expect(frozen).toMatchObject({ exitCode: 0 });
      expect(await mounted.sh('ls new/data/data')).toBe('large\nsmall\n');
      process.kill(mounted.pid, 'SIGHUP');
      expect((await mounted.user.run('status')).exitCode).toBe(0);
      expect((await mounted.user.run('umount', mounted.path)).exitCode).toBe(0);
      const calls = CALLS.parse(JSON.parse(await readFile(record, 'utf8')));
      expect(calls.filter(({ stack }) => stack.includes(DO_NOT_WAIT[0] ?? '')).length).toBeGreaterThan(0);
      const others = calls.filter(({ stack }) => !DO_NOT_WAIT.some((file) => stack.includes(file)));
      expect(others).toEqual([]);
    } finally {
      await mounted.close();
      await bucket.close();
      await rm(directory, { recursive: true });
    }
  },
);
