import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startS3Server } from '../../src/demo/s3/server.ts';
import { BLOCK_BYTES } from '../../src/limits.ts';
import { datasetObjects } from '../../src/demo/dataset-objects.ts';
import { datasetOf, randomBytesOf } from '../support/datasets.ts';
import { mount, mountObstacle } from '../support/mounted.ts';
import { configurationOf } from '../support/test-bucket.ts';

test.skipIf(mountObstacle !== undefined)(
  'keys that were exchanged in dtool.json: reads go on at once, without a remount',
  async () => {
    const keys = ['first', 'second', 'third'].map((name) => ({
      accessKeyId: `key-${name}`,
      secretAccessKey: `secret-${name}`,
    }));
    let valid = 'key-first';
    let refused = 0;
    const server = await startS3Server({
      users: keys.map((key) => ({ name: key.accessKeyId, ...key })),
      buckets: ['test-bucket'],
      intercept: async ({ headers }) => {
        if (headers.authorization?.includes(`Credential=${valid}/`)) return undefined;
        refused++;
        return { kind: 'status', status: 403, code: 'InvalidAccessKeyId' };
      },
    });
    // Large enough that none is fetched ahead.
    const names = [...keys.map(({ accessKeyId }) => accessKeyId), 'late'];
    const content = Object.fromEntries(names.map((name, n) => [name, randomBytesOf(n, BLOCK_BYTES + 1)]));
    for (const { key, body, metadata } of datasetObjects(datasetOf('set', content)))
      await server.putObject('test-bucket', key, body, metadata ? { metadata } : {});

    const home = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-'));
    const write = async (index: number): Promise<void> => {
      const directory = join(home, '.config/dtool');
      await mkdir(directory, { recursive: true });
      const key = keys[index];
      if (!key) throw new Error('no such key');
      const text = JSON.stringify(configurationOf('test-bucket', server.endpoint, key));
      await writeFile(join(directory, 'new'), text, { mode: 0o600 });
      await rename(join(directory, 'new'), join(directory, 'dtool.json'));
    };
    await write(0);
    const mounted = await mount({ HOME: home }, ['test-bucket']);
    try {
      const sum = async (name: string): Promise<string> =>
        (await mounted.sh(`sha256sum set/data/${name}`)).slice(0, 64);
      const sumOf = (name: string): string =>
        createHash('sha256')
          .update(content[name] ?? '')
          .digest('hex');
      expect(await sum('key-first')).toBe(sumOf('key-first'));
      for (const index of [1, 2]) {
        const name = keys[index]?.accessKeyId ?? '';
        await write(index);
        valid = name;
        refused = 0;
        expect(await sum(name)).toBe(sumOf(name));
        expect(refused).toBeGreaterThan(0);
      }
      valid = 'none';
      const failed = await mounted.user.exec('cat', join(mounted.path, 'set/data/late'));
      expect(failed.stderr).toContain('Permission denied');
      expect(await mounted.log()).not.toContain('secret-');
    } finally {
      await mounted.close();
      await server.close();
      await rm(home, { recursive: true });
    }
  },
);
