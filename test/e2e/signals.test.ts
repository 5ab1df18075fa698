import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { datasetOf } from '../support/datasets.ts';
import { hasProgram, type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { createEmbeddedBucket, type TestBucket } from '../support/test-bucket.ts';

const STORE_TAKES_MS = 700;
const noPython = (await hasProgram('python3')) ? '' : ' [skipped: no python3]';
/** A handler that restarts calls, and a timer that calls it while the store is asked. */
const UNDER_TIMER = `
import os, signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
`;

describe.skipIf(mountObstacle !== undefined)('a signal while the store takes its time', () => {
  let bucket: TestBucket;
  let mounted: Mounted;

  beforeAll(async () => {
    bucket = await createEmbeddedBucket({
      intercept: async ({ method, key }) => {
        if (method === 'GET' && /manifest|data\//.test(key)) await sleep(STORE_TAKES_MS);
        return undefined;
      },
    });
    for (const name of ['tested', 'listed', 'opened'])
      await bucket.putDataset(datasetOf(name, { 'a.txt': 'green' }));
    mounted = await mount(bucket.env, [bucket.bucket]);
  });
  afterAll(async () => {
    await mounted?.close();
    await bucket?.close();
  });

  test('makes no file vanish that is there', async () => {
    expect(await mounted.sh('{ sleep 0.1 & test -e tested/data/a.txt && wait && echo there; }')).toBe(
      'there\n',
    );
  });

  test.skipIf(noPython !== '')(`fails neither listing nor opening nor reading${noPython}`, async () => {
    const python = async (code: string) =>
      mounted.sh(`python3 -c '${UNDER_TIMER}${code}\nsignal.setitimer(signal.ITIMER_REAL, 0)'`);
    expect(await python('print(os.listdir("listed/data"), os.stat("listed/data/a.txt").st_size)')).toBe(
      "['a.txt'] 5\n",
    );
    expect(await python('print(open("opened/data/a.txt").read())')).toBe('green\n');
  });
});
