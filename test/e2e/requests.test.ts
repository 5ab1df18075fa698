import { afterEach, describe, expect, test } from 'vitest';
import { datasetOf, uuidOf } from '../support/datasets.ts';
import { type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { type TestBucket, createTestBucket } from '../support/test-bucket.ts';

describe.skipIf(mountObstacle !== undefined)('what it costs in requests', () => {
  let bucket: TestBucket | undefined;
  let mounted: Mounted | undefined;
  afterEach(async () => {
    await mounted?.close();
    await bucket?.close();
  });

  const requests = async (): Promise<{
    readonly total: number;
    readonly head: number;
    readonly get: number;
  }> => {
    const { store } = (await mounted?.status()) ?? { store: { requests: { head: 0, get: 0 } } };
    const total = Object.values(store.requests).reduce((sum, count) => sum + count, 0);
    return { total, head: store.requests.head, get: store.requests.get };
  };

  for (const prefix of ['', 'u/alice/']) {
    test(`ls of 200 datasets: at most 404, prefix ${JSON.stringify(prefix)}`, async () => {
      bucket = await createTestBucket();
      for (let index = 0; index < 200; index += 1) {
        await bucket.putDataset(
          datasetOf(`dataset-${index}`, {}, { uuid: uuidOf(`requests ${index}`), prefix }),
        );
      }
      mounted = await mount(bucket.env, [bucket.bucket]);
      expect((await mounted.sh('ls -l')).trimEnd().split('\n').length).toBe(202);
      expect((await requests()).total).toBeLessThanOrEqual(404);
      const before = (await requests()).total;
      await mounted.sh('ls -l; df .');
      expect((await requests()).total).toBe(before);
      const listed = await mounted.user.run('ls', '--json', bucket.bucket);
      expect(JSON.parse(listed.stdout)).toHaveLength(200);
    });
  }

  test('opening a dataset: one manifest, and no HEAD for any item', async () => {
    bucket = await createTestBucket();
    const items = Object.fromEntries(
      Array.from({ length: 300 }, (_, index) => [`d${index % 7}/item-${index}`, `${index}`]),
    );
    await bucket.putDataset(datasetOf('opened', items));
    mounted = await mount(bucket.env, [bucket.bucket]);
    await mounted.sh('ls');
    const before = await requests();
    expect((await mounted.sh('find opened/data -type f -size +0 | wc -l')).trim()).toBe('300');
    const after = await requests();
    expect({ total: after.total - before.total, get: after.get - before.get }).toEqual({ total: 1, get: 1 });
    expect(await mounted.sh('cat opened/data/d3/item-3')).toBe('3');
    expect((await requests()).total - after.total).toBe(1);
    expect((await requests()).head).toBe(0);
  });
});
