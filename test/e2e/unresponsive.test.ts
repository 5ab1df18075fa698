import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isProcessAlive } from '../../src/process-alive.ts';
import { datasetOf, randomBytesOf } from '../support/datasets.ts';
import { type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { type TestBucket, createEmbeddedBucket } from '../support/test-bucket.ts';

describe.skipIf(mountObstacle !== undefined)('a store that stops answering', () => {
  const content = randomBytesOf(5, 3_000_000);
  let answers: boolean;
  /** Whether a dataset has its manifest: the store lists nothing any more then. */
  let hasManifest: boolean;
  let unansweredLists: number;
  let bucket: TestBucket;
  let mounted: Mounted;

  beforeEach(async () => {
    answers = true;
    hasManifest = false;
    unansweredLists = 0;
    bucket = await createEmbeddedBucket({
      intercept: async ({ operation, key }) => {
        if (operation === 'PutObject' && key?.endsWith('/manifest.json')) hasManifest = true;
        const isLost = operation === 'ListObjectsV2' && hasManifest;
        if (isLost) unansweredLists += 1;
        return isLost || (operation === 'GetObject' && !answers) ? { kind: 'no-answer' } : undefined;
      },
    });
    await bucket.putDataset(datasetOf('dataset', { 'known.bin': content, 'unknown.bin': content }));
    mounted = await mount(bucket.env, [bucket.bucket]);
    await mounted.sh('cat dataset/data/known.bin | wc -c');
    answers = false;
  });
  afterEach(async () => {
    await mounted.close();
    await bucket.close();
  });

  /** A reader in a process of its own, once its request is on its way. */
  const blockedReader = async (): Promise<{
    readonly kill: (signal: NodeJS.Signals) => void;
    readonly ended: Promise<unknown[]>;
  }> => {
    const reader = spawn('cat', [join(mounted.path, 'dataset/data/unknown.bin')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const ended = once(reader, 'exit');
    await expect
      .poll(async () => (await mounted.status()).queue.running, { timeout: 20_000 })
      .toBeGreaterThan(0);
    return { kill: (signal) => reader.kill(signal), ended };
  };

  for (const signal of ['SIGINT', 'SIGKILL'] as const) {
    test(`a waiting reader dies of ${signal}, and others go on beside it`, async () => {
      const reader = await blockedReader();
      expect(await mounted.sh('ls dataset/data | xargs; tail -c 10 dataset/data/known.bin | md5sum')).toMatch(
        /^known/,
      );
      reader.kill(signal);
      expect(await reader.ended).toEqual([null, signal]);
    });
  }

  test('umount ends everything', async () => {
    const reader = await blockedReader();
    expect(await mounted.user.run('umount', mounted.path)).toMatchObject({ exitCode: 0, stderr: '' });
    const [code] = await reader.ended;
    expect(code).toBe(1);
    expect(await isProcessAlive(mounted.pid)).toBe(false);
  });

  test('umount ends a freeze that is committed and not seen yet', async () => {
    await mounted.sh('mkdir staging/new && echo content > staging/new/file');
    [answers, hasManifest] = [true, false];
    const freezing = mounted.user.run('freeze', join(mounted.path, 'staging/new'));
    await expect.poll(() => unansweredLists).toBeGreaterThan(0);
    expect(await mounted.user.run('umount', mounted.path)).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await isProcessAlive(mounted.pid)).toBe(false);
    await freezing;
  });

  test('so does SIGTERM', async () => {
    const reader = await blockedReader();
    process.kill(mounted.pid, 'SIGTERM');
    const [code] = await reader.ended;
    expect(code).toBe(1);
    await expect.poll(async () => isProcessAlive(mounted.pid), { timeout: 10_000 }).toBe(false);
  });
});
