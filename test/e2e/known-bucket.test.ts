import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { datasetOf } from '../support/datasets.ts';
import { type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { type TestBucket, createEmbeddedBucket } from '../support/test-bucket.ts';

describe.skipIf(mountObstacle !== undefined)('a bucket that was mounted before', () => {
  let bucket: TestBucket;
  let cache: string;
  let mounted: Mounted | undefined;
  beforeEach(async () => {
    bucket = await createEmbeddedBucket();
    cache = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-cache-'));
  });
  afterEach(async () => {
    await mounted?.close();
    await rm(cache, { recursive: true, force: true });
  });

  const mountIt = async (): Promise<Mounted> => {
    mounted = await mount({ ...bucket.env, DTOOL_CACHE_DIRECTORY: cache }, [bucket.bucket]);
    return mounted;
  };

  test('costs the list the second time, and is shown while its store is away', async () => {
    await bucket.putDataset(datasetOf('known', { 'd/a': 'text' }));
    await bucket.putDataset(datasetOf('other', {}));
    const first = await mountIt();
    expect(await first.sh('ls; find known/data -type f')).toBe('known\nother\nstaging\nknown/data/d/a\n');
    await first.close();

    const second = await mountIt();
    expect(await second.sh('ls; find known/data -type f')).toBe('known\nother\nstaging\nknown/data/d/a\n');
    const { store } = await second.status();
    // The check at the start is a list, too.
    expect(store.requests).toMatchObject({ listPage: 2, get: 0, head: 0, getRange: 0 });
    await second.close();

    await bucket.close();
    const third = await mountIt();
    expect(await third.sh('ls; find known/data -type f -printf "%P %s\\n"')).toBe(
      'known\nother\nstaging\nd/a 4\n',
    );
    expect(await third.log()).toContain('what is known of it is shown');
  });
});
