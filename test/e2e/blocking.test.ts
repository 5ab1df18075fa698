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

/** The kernel takes a reply from memory, or refuses it. */
const KERNEL = 'src/fuse/transport/kernel/device.ts';
/** A local disk answers from memory; after one call that took long all go to a thread, and on network file systems always. */
const LOCAL_DISK = 'src/fuse/staging/pace.ts';
/** The log, which has a buffer. */
const LOG = 'node_modules/sonic-boom';

/** Files that may make synchronous calls on the main thread of a mount, because those do not wait. */
test.skipIf(mountObstacle !== undefined).each([
  ['a local disk', '0', [KERNEL, LOCAL_DISK, LOG]],
  ['a network file system', '1', [KERNEL, LOG]],
])(
  'a mount on %s makes no file call on its main thread that could wait',
  async (_name, isOnNetwork, doNotWait) => {
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
        RECORD_ON_NETWORK: isOnNetwork,
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
      await mounted.sh(
        'cd staging && chmod 600 new/data/small && truncate -s 9 new/data/small && ln new/data/small new/data/s && ' +
          '[ "$(stat -c "%a %s %h" new/data/small)" = "600 9 2" ] && rm new/data/s && [ "$(stat -c %h new/data/small)" = 1 ] && ' +
          'echo more >> new/data/small && [ "$(wc -c < new/data/small)" = 14 ] && [ "$(stat -c %s new/data/small)" = 14 ] && ' +
          'mkdir -p other/sub && mv other/sub third && mv third new/third && rmdir new/third other && test -w . && touch new/data/small',
      );
      const frozen = await mounted.user.run('freeze', join(mounted.path, 'staging/new'));
      expect(frozen).toMatchObject({ exitCode: 0 });
      expect(await mounted.sh('ls new/data/data')).toBe('large\nsmall\n');
      process.kill(mounted.pid, 'SIGHUP');
      expect((await mounted.user.run('status')).exitCode).toBe(0);
      expect((await mounted.user.run('umount', mounted.path)).exitCode).toBe(0);
      const calls = CALLS.parse(JSON.parse(await readFile(record, 'utf8')));
      expect(calls.filter(({ stack }) => stack.includes(KERNEL)).length).toBeGreaterThan(0);
      const others = calls.filter(({ stack }) => !doNotWait.some((file) => stack.includes(file)));
      expect(others).toEqual([]);
    } finally {
      await mounted.close();
      await bucket.close();
      await rm(directory, { recursive: true });
    }
  },
);
