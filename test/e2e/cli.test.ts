import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CREATED_AT, datasetOf, uuidOf } from '../support/datasets.ts';
import { User, mountObstacle } from '../support/mounted.ts';
import { type TestBucket, createTestBucket } from '../support/test-bucket.ts';

describe('ls, without a mount', () => {
  let bucket: TestBucket;
  let user: User;
  beforeAll(async () => {
    bucket = await createTestBucket();
    await bucket.putDataset(
      datasetOf('twin', { 'a.txt': 'aaaa', 'b/c.txt': 'cc' }, { uuid: uuidOf('elder') }),
    );
    await bucket.putDataset(datasetOf('twin', {}, { uuid: uuidOf('younger'), createdAt: CREATED_AT + 1 }));
    await bucket.putDataset(datasetOf('open', { 'x.txt': 'xyz' }, { frozenAt: null }));
    await bucket.putDataset(datasetOf('controls', { 'red\u001b[31m\nline': '!' }));
    user = await User.create(bucket.env);
  });
  afterAll(async () => {
    await user.remove();
    await bucket.close();
  });

  const json = async (...args: readonly string[]): Promise<unknown> => {
    const { stdout, stderr, exitCode } = await user.run('ls', '--json', ...args);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    return JSON.parse(stdout);
  };

  test('datasets: name, uuid, items, size, frozen', async () => {
    const frozen = { frozen: true, createdAt: CREATED_AT, frozenAt: CREATED_AT + 60, creator: 'demo' };
    expect(await json(bucket.bucket)).toEqual([
      {
        ...frozen,
        bucket: bucket.bucket,
        name: 'controls',
        uuid: uuidOf('controls'),
        items: 1,
        sizeInBytes: 1,
      },
      { ...frozen, bucket: bucket.bucket, name: 'twin', uuid: uuidOf('elder'), items: 2, sizeInBytes: 6 },
      {
        ...frozen,
        createdAt: CREATED_AT + 1,
        frozenAt: CREATED_AT + 61,
        bucket: bucket.bucket,
        name: `twin~${uuidOf('younger').slice(0, 8)}`,
        uuid: uuidOf('younger'),
        items: 0,
        sizeInBytes: 0,
      },
      {
        bucket: bucket.bucket,
        name: `open~${uuidOf('open').slice(0, 8)}`,
        uuid: uuidOf('open'),
        frozen: false,
        items: null,
        sizeInBytes: null,
        creator: 'demo',
        createdAt: CREATED_AT,
        frozenAt: null,
      },
    ]);
    const { stdout } = await user.run('ls');
    expect(stdout).toMatch(/^NAME +UUID +ITEMS +SIZE +FROZEN/);
    expect(stdout).toMatch(new RegExp(`^twin +${uuidOf('elder')} +2 +6 B +2026-01-01 00:01$`, 'm'));
    expect(stdout).toMatch(/^open~\S+ +\S+ +- +- +not frozen$/m);
  });

  test('the items of a dataset, however it is named', async () => {
    const hash = createHash('md5').update('aaaa').digest('hex');
    const uri = `ecs://${bucket.bucket}/${uuidOf('elder')}`;
    for (const target of [`${bucket.bucket}/twin`, `${bucket.bucket}/${uuidOf('elder')}`, uri]) {
      const items = (await json(target)) as { readonly relpath: string }[];
      expect(items.map(({ relpath }) => relpath).toSorted()).toEqual(['a.txt', 'b/c.txt']);
      expect(items).toContainEqual({
        relpath: 'a.txt',
        identifier: createHash('sha1').update('a.txt').digest('hex'),
        sizeInBytes: 4,
        hash,
        timestamp: CREATED_AT,
      });
    }
    expect(await json(`${bucket.bucket}/open~${uuidOf('open').slice(0, 8)}`)).toMatchObject([
      { relpath: 'x.txt' },
    ]);
  });

  test('shows control characters and does not obey them', async () => {
    const { stdout } = await user.run('ls', `${bucket.bucket}/controls`);
    expect(stdout).toContain('red\\u{1b}[31m\\u{a}line');
  });

  test('a dataset that is not there', async () => {
    const { stderr, exitCode } = await user.run('ls', `${bucket.bucket}/nothing`);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`bucket ${bucket.bucket} has no dataset nothing`);
  });
});

describe('the demo', () => {
  test('passes its own check, and leaves nothing behind', async () => {
    const before = await leftovers();
    const user = await User.create();
    const { stdout, stderr, exitCode } = await user.run('demo', '--check');
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    expect(stdout).toContain(mountObstacle === undefined ? 'Every step went as it should.' : 'SKIPPED');
    await user.remove();
    expect(await leftovers()).toEqual(before);
  });
});

async function leftovers(): Promise<readonly string[]> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith('dtool-ecs-mount-demo-')).toSorted();
}
