import { requestsOf } from '../mounts.ts';
import { manyDatasets } from '../prepared.ts';
import { DTOOL } from '../real-dtool.ts';
import type { RowOf } from '../row.ts';
import { atMost, timesAsGood } from '../target.ts';
import { DELAY_MS } from '../world.ts';

export const listing: RowOf = ({ listedDatasets: count }) => ({
  name: 'listing',
  lines: {
    mounted: {
      title: `\`ls\` of ${count} datasets in a new mount, ${DELAY_MS} ms`,
      unit: 's',
      better: 'less',
      target: timesAsGood('mounted', 'less', 50, ['dtool'], '50 times dtool'),
    },
    command: { title: 'the same without a mount, whole process', unit: 's', better: 'less' },
    requests: {
      title: 'the same in a mount',
      unit: 'requests',
      better: 'less',
      target: atMost('requests', 2 * count + 4),
    },
  },
  async measure(world, subject) {
    const bucket = await manyDatasets(world, count);
    if (subject === 'dtool') {
      if (!DTOOL) return undefined;
      const time = await DTOOL.list(world, bucket, true, count);
      return { mounted: time, command: time };
    }
    if (subject !== 'ours') return undefined;
    const mount = await world.mount('ours', { bucket, isSlow: true });
    if (!mount) return undefined;
    try {
      const mounted = await world.command(bucket, { isSlow: true }, 'ls', mount.path);
      const requests = await requestsOf(mount);
      return { mounted, requests, command: await world.cli(bucket, true, 'ls', bucket.name) };
    } finally {
      await mount.close();
    }
  },
});
