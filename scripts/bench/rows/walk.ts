import { join } from 'node:path';
import type { BenchBucket } from '../bench-bucket.ts';
import { requestsOf } from '../mounts.ts';
import { manyItems, smallFiles } from '../prepared.ts';
import type { Figure, RowOf } from '../row.ts';
import { atMost, timesAsGood } from '../target.ts';
import type { World } from '../world.ts';

export const walk: RowOf = ({ items }) => ({
  name: 'walk',
  lines: {
    time: {
      title: `\`find\` and \`ls -lR\` of ${items.toLocaleString('en')} items, cold mount`,
      unit: 's',
      better: 'less',
      limit: 'ext4',
      target: timesAsGood('time', 'less', 10, ['s3fs', 'rclone'], '10 times s3fs and rclone'),
    },
    requests: { title: 'the same', unit: 'requests', better: 'less', target: atMost('requests', 5) },
  },
  async measure(world, subject) {
    if (subject === 'dtool') return undefined;
    const bucket = await manyItems(world, items);
    if (subject === 'limit') return { time: await walked(world, bucket, await smallFiles(world, items)) };
    const mount = await world.mount(subject, { bucket });
    if (!mount) return undefined;
    try {
      // The others show the bucket's keys: all of them, in one directory of the dataset.
      if (subject !== 'ours') return { time: await walked(world, bucket, mount.path) };
      return {
        time: await walked(world, bucket, join(mount.path, 'many/data')),
        requests: await requestsOf(mount),
      };
    } finally {
      await mount.close();
    }
  },
});

async function walked(world: World, bucket: BenchBucket, directory: string): Promise<Figure> {
  const command = 'find "$0" >/dev/null && ls -lR "$0" >/dev/null';
  return world.command(bucket, { isSlow: false }, 'sh', '-c', command, directory);
}
