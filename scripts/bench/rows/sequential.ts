import { join } from 'node:path';
import type { MountKind } from '../mounts.ts';
import { largeItem } from '../prepared.ts';
import type { Figures, RowOf } from '../row.ts';
import { all, partOf, timesAsGood } from '../target.ts';
import { DELAY_MS, type World } from '../world.ts';

/** Reads a file from begin to end: how long the first bytes take once it is open, and how fast all of it comes. */
const READ = `
import json, os, sys, time
start = time.perf_counter()
with open(sys.argv[1], 'rb', buffering=0) as f:
    opened = time.perf_counter()
    size = len(f.read(4096))
    first = time.perf_counter() - opened
    buffer = bytearray(1 << 20)
    while n := f.readinto(buffer): size += n
assert size == int(sys.argv[2])
print(json.dumps({'first': 1e3 * first, 'rate': size / 1e6 / (time.perf_counter() - start)}))
`;

/** So many requests of the plain client, one after the other, say what one takes. */
const ROUND_TRIPS = 20;

export const sequential: RowOf = ({ largeBytes }) => {
  const title = `${largeBytes / 2 ** 20} MiB, sequential`;
  return {
    name: 'sequential',
    lines: {
      cold: {
        title: `${title}, cold`,
        unit: 'MB/s',
        better: 'more',
        limit: 'plain HTTP client',
        target: all(
          timesAsGood('cold', 'more', 0.8, ['limit'], '0.8 of the plain client'),
          timesAsGood('cold', 'more', 1, ['s3fs', 'rclone'], 'ahead of s3fs and rclone'),
        ),
      },
      bare: { title: `${title}, cold, \`--cache-size none\``, unit: 'MB/s', better: 'more' },
      first: { title: 'first byte, cold', unit: 'ms', better: 'less', limit: 'plain HTTP client' },
      warm: {
        title: `${title}, read again`,
        unit: 'MB/s',
        better: 'more',
        limit: 'ext4',
        target: timesAsGood('warm', 'more', 0.9, ['limit'], '0.9 of ext4'),
      },
      slow: {
        title: `${title}, cold, ${DELAY_MS} ms`,
        unit: 'MB/s',
        better: 'more',
        limit: 'plain HTTP client',
        target: partOf('slow', 'least', 0.8, 'cold', '0.8 of ours without the delay'),
      },
      firstSlow: {
        title: `first byte, cold, ${DELAY_MS} ms`,
        unit: 'ms',
        better: 'less',
        limit: 'plain HTTP client',
        target: timesAsGood('firstSlow', 'less', 1 / 1.5, ['limit'], '1.5 round trips of the plain client'),
      },
    },
    async measure(world, subject) {
      if (subject === 'dtool') return undefined;
      return subject === 'limit' ? limit(world, largeBytes) : mounted(world, subject, largeBytes);
    },
  };
};

async function limit(world: World, size: number): Promise<Figures> {
  const { bucket, key, bytes, local } = await largeItem(world, size);
  const { rate: cold = 0 } = await world.node('plain-get.js', bucket, false, key, bytes);
  const { rate: slow = 0 } = await world.node('plain-get.js', bucket, true, key, bytes);
  const { each: first = 0 } = await world.node('plain-random.js', bucket, false, key, bytes, 1, ROUND_TRIPS);
  const { each: firstSlow = 0 } = await world.node(
    'plain-random.js',
    bucket,
    true,
    key,
    bytes,
    1,
    ROUND_TRIPS,
  );
  await world.python(READ, local, bytes);
  const { rate: warm = 0 } = await world.python(READ, local, bytes);
  return { cold, first, slow, firstSlow, warm };
}

async function mounted(world: World, subject: MountKind, size: number): Promise<Figures | undefined> {
  const { bucket, relpath, key, bytes } = await largeItem(world, size);
  const read = async (
    times: number,
    isSlow: boolean,
    options: readonly string[] = [],
  ): Promise<readonly Record<string, number>[]> => {
    const mount = await world.mount(subject, { bucket, isSlow, options });
    if (!mount) return [];
    try {
      const path = join(mount.path, subject === 'ours' ? relpath : key);
      const figures: Record<string, number>[] = [];
      while (figures.length < times) figures.push(await world.python(READ, path, bytes));
      return figures;
    } finally {
      await mount.close();
    }
  };
  const [cold, warm] = await read(2, false);
  const [slow] = await read(1, true);
  if (!cold || !warm || !slow) return undefined;
  const [bare] = subject === 'ours' ? await read(1, false, ['--cache-size', 'none']) : [];
  const { rate = 0, first = 0 } = cold;
  return {
    cold: rate,
    first,
    warm: warm['rate'] ?? 0,
    slow: slow['rate'] ?? 0,
    firstSlow: slow['first'] ?? 0,
    ...(bare && { bare: bare['rate'] ?? 0 }),
  };
}
