import { requestsOf } from '../mounts.ts';
import { manyDatasets } from '../prepared.ts';
import type { RowOf } from '../row.ts';
import { atMost } from '../target.ts';
import { DELAY_MS, type World } from '../world.ts';

export const datasets: RowOf = ({ fewDatasets, manyDatasets: count }) => {
  const title = `\`ls\` of ${count.toLocaleString('en')} datasets, ${DELAY_MS} ms`;
  const growth = count / fewDatasets;
  return {
    name: 'datasets',
    lines: {
      first: { title: `${title}, the first`, unit: 's', better: 'less' },
      firstRequests: {
        title: `${title}, the first`,
        unit: 'requests',
        better: 'less',
        target: atMost('firstRequests', 2 * count),
      },
      second: { title: `${title}, in the second mount`, unit: 's', better: 'less' },
      secondRequests: {
        title: `${title}, in the second mount`,
        unit: 'requests',
        better: 'less',
        target: atMost('secondRequests', 20),
      },
      growth: {
        title: `the first, from ${fewDatasets.toLocaleString('en')} datasets on`,
        unit: 'times',
        better: 'less',
        target: atMost('growth', growth, `linear: ${growth}`),
      },
    },
    async measure(world, subject) {
      if (subject !== 'ours') return undefined;
      const few = await listed(world, fewDatasets, world.newDirectory());
      const cache = world.newDirectory();
      const first = await listed(world, count, cache);
      const second = await listed(world, count, cache);
      return {
        first: first.seconds,
        firstRequests: first.requests,
        second: second.seconds,
        secondRequests: second.requests,
        growth: first.seconds / few.seconds,
      };
    },
  };
};

const LIST = `
import json, os, sys, time
start = time.perf_counter()
names = os.listdir(sys.argv[1])
assert sum(name.startswith('dataset-') for name in names) == int(sys.argv[2]), len(names)
print(json.dumps({'seconds': time.perf_counter() - start}))
`;

/** A mount with what is in a cache directory. */
async function listed(
  world: World,
  count: number,
  cache: string,
): Promise<{ readonly seconds: number; readonly requests: number }> {
  const mount = await world.mount('ours', { bucket: await manyDatasets(world, count), isSlow: true, cache });
  if (!mount) throw new Error('our mount is not there');
  try {
    const { seconds = 0 } = await world.python(LIST, mount.path, count);
    return { seconds, requests: await requestsOf(mount) };
  } finally {
    await mount.close();
  }
}
