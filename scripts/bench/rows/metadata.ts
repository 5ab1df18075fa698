import { join } from 'node:path';
import { manyDatasets, manyItems } from '../prepared.ts';
import type { Row } from '../row.ts';

const COMMAND = `
import subprocess, sys, time
start = time.perf_counter()
for command in (['find'], ['ls', '-lR'])[: int(sys.argv[2])]:
    subprocess.run([*command, sys.argv[1]], stdout=subprocess.DEVNULL, check=True)
print(time.perf_counter() - start)
`;

const LIST = `
import os, sys, time
start = time.perf_counter()
assert len([n for n in os.listdir(sys.argv[1]) if n.startswith('small-')]) == int(sys.argv[2])
print(time.perf_counter() - start)
`;

export const METADATA: readonly Row[] = [
  {
    name: 'find',
    title: '`find` and `ls -lR` of 100,000 items, cold mount',
    unit: 's',
    better: 'less',
    target: '10 times s3fs and rclone',
    limit: 'local directory',
    async measure(world, subject) {
      const { path, local } = await manyItems(world);
      if (subject === 'limit') return world.python(COMMAND, local, '2');
      const mounted = await world.mount(subject);
      if (!mounted) return undefined;
      try {
        // The others show the bucket's keys: all of them, in one directory of the dataset.
        return await world.python(COMMAND, subject === 'ours' ? join(mounted.path, path) : mounted.path, '2');
      } finally {
        await mounted.close();
      }
    },
  },
  {
    name: 'datasets',
    title: '`ls` of 200 datasets, 20 ms',
    unit: 's',
    better: 'less',
    target: '404 requests at most',
    async measure(world, subject) {
      // Nobody else knows datasets.
      if (subject !== 'ours') return undefined;
      const count = await manyDatasets(world);
      const mounted = await world.mount('ours', world.slowEndpoint);
      try {
        return mounted && (await world.python(LIST, mounted.path, String(count)));
      } finally {
        await mounted?.close();
      }
    },
  },
];
