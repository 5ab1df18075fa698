import { join } from 'node:path';
import { type MountKind, requestsOf } from '../mounts.ts';
import { largeItem } from '../prepared.ts';
import type { Figures, RowOf } from '../row.ts';
import { atMost, timesAsGood } from '../target.ts';
import { DELAY_MS, type World } from '../world.ts';

const READ = `
import json, os, random, sys, threading, time
fd = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
size, depth, count = map(int, sys.argv[2:5])
chooser = random.Random(depth)
offsets = [chooser.randrange(size // 4096) * 4096 for _ in range(count)]
def work(mine):
    for offset in mine: assert len(os.pread(fd, 4096, offset)) == 4096
threads = [threading.Thread(target=work, args=(offsets[i::depth],)) for i in range(depth)]
start = time.perf_counter()
for t in threads: t.start()
for t in threads: t.join()
print(json.dumps({'each': 1e3 * (time.perf_counter() - start) / count}))
`;

/** How many reads are under way at once, and how many are made. */
const ONE = [1, 40] as const;
const MANY = [16, 320] as const;

export const random: RowOf = ({ largeBytes }) => {
  const title = `random 4 KiB of ${largeBytes / 2 ** 20} MiB, cold, ${DELAY_MS} ms`;
  const limit = 'plain HTTP client';
  return {
    name: 'random',
    lines: {
      one: {
        title: `${title}, a read`,
        unit: 'ms',
        better: 'less',
        limit,
        target: timesAsGood('one', 'less', 0.8, ['limit'], 'one round trip: 0.8 of the plain client'),
      },
      many: {
        title: `${title}, a read of ${MANY[0]} at once`,
        unit: 'ms',
        better: 'less',
        limit,
        target: timesAsGood('many', 'less', 0.8, ['limit'], 'all overlap: 0.8 of the plain client'),
      },
      requests: {
        title: `${title}, requests for a read`,
        unit: '',
        better: 'less',
        target: atMost('requests', 1),
      },
    },
    async measure(world, subject) {
      if (subject === 'dtool') return undefined;
      return subject === 'limit' ? plain(world, largeBytes) : mounted(world, subject, largeBytes);
    },
  };
};

async function plain(world: World, size: number): Promise<Figures> {
  const { bucket, key, bytes } = await largeItem(world, size);
  const { each: one = 0 } = await world.node('plain-random.js', bucket, true, key, bytes, ...ONE);
  const { each: many = 0 } = await world.node('plain-random.js', bucket, true, key, bytes, ...MANY);
  return { one, many };
}

async function mounted(world: World, subject: MountKind, size: number): Promise<Figures | undefined> {
  const { bucket, relpath, key, bytes } = await largeItem(world, size);
  const mount = await world.mount(subject, { bucket, isSlow: true });
  if (!mount) return undefined;
  try {
    const path = join(mount.path, subject === 'ours' ? relpath : key);
    // One byte of the beginning, so that the dataset is open and no more is measured than reads.
    await world.python(READ, path, 4_096, 1, 1);
    const before = subject === 'ours' ? await requestsOf(mount) : 0;
    const { each: one = 0 } = await world.python(READ, path, bytes, ...ONE);
    const { each: many = 0 } = await world.python(READ, path, bytes, ...MANY);
    if (subject !== 'ours') return { one, many };
    return { one, many, requests: ((await requestsOf(mount)) - before) / (ONE[1] + MANY[1]) };
  } finally {
    await mount.close();
  }
}
