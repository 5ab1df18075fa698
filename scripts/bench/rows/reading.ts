import { join } from 'node:path';
import { type LargeItem, largeItem } from '../prepared.ts';
import type { Row, Subject } from '../row.ts';
import { BUCKET, type World } from '../world.ts';

const SEQUENTIAL = `
import os, sys, time
start = time.perf_counter()
with open(sys.argv[1], 'rb', buffering=0) as f:
    buffer = bytearray(1 << 20)
    size = 0
    while n := f.readinto(buffer): size += n
assert size == int(sys.argv[2])
print(size / 1e6 / (time.perf_counter() - start))
`;

const FIRST_BYTE = `
import os, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY)
start = time.perf_counter()
assert len(os.pread(fd, 1, 0)) == 1
print(1e3 * (time.perf_counter() - start))
`;

const RANDOM = `
import os, random, sys, threading, time
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
print(1e3 * (time.perf_counter() - start) / count)
`;

/** Opens the item in a fresh mount of one of the programs, or the local file as the limit, with empty caches. */
async function cold<T>(
  world: World,
  subject: Subject,
  isSlow: boolean,
  use: (path: string, item: LargeItem) => Promise<T>,
): Promise<T | undefined> {
  const item = await largeItem(world);
  if (subject === 'limit') {
    world.dropCaches();
    return use(item.local, item);
  }
  const mounted = await world.mount(subject, isSlow ? world.slowEndpoint : world.endpoint);
  if (!mounted) return undefined;
  try {
    world.dropCaches();
    return await use(join(mounted.path, subject === 'ours' ? item.relpath : item.key), item);
  } finally {
    await mounted.close();
  }
}

async function plainClient(world: World, isSlow: boolean): Promise<number> {
  const { key, size } = await largeItem(world);
  const endpoint = isSlow ? world.slowEndpoint : world.endpoint;
  return world.node('plain-get.js', endpoint, BUCKET, key, String(size));
}

function sequential(name: string, title: string, target: string, isSlow: boolean): Row {
  return {
    name,
    title,
    unit: 'MB/s',
    better: 'more',
    target,
    limit: 'plain HTTP client',
    measure: async (world, subject) =>
      subject === 'limit'
        ? plainClient(world, isSlow)
        : cold(world, subject, isSlow, (path, { size }) => world.python(SEQUENTIAL, path, String(size))),
  };
}

function random(depth: number, count: number, target: string): Row {
  return {
    name: `random-${depth}`,
    title: `random 4 KiB cold, 20 ms, ${depth} at once`,
    unit: 'ms',
    better: 'less',
    target,
    measure: async (world, subject) =>
      subject === 'limit'
        ? undefined
        : cold(world, subject, true, (path, { size }) =>
            world.python(RANDOM, path, String(size), String(depth), String(count)),
          ),
  };
}

export const READING: readonly Row[] = [
  sequential('sequential', 'sequential cold', '0.8 of the plain client', false),
  sequential('sequential-20ms', 'sequential cold, 20 ms', '0.8 of loopback', true),
  {
    name: 'first-byte',
    title: 'first byte, 20 ms',
    unit: 'ms',
    better: 'less',
    target: '30 (1.5 round trips)',
    measure: async (world, subject) =>
      subject === 'limit' ? undefined : cold(world, subject, true, (path) => world.python(FIRST_BYTE, path)),
  },
  {
    name: 'warm',
    title: 'warm re-read',
    unit: 'MB/s',
    better: 'more',
    target: '0.9 of ext4 warm',
    limit: 'local file',
    measure: async (world, subject) =>
      cold(world, subject, false, async (path, { size }) => {
        await world.python(SEQUENTIAL, path, String(size));
        return world.python(SEQUENTIAL, path, String(size));
      }),
  },
  random(1, 40, 'one round trip each'),
  random(16, 320, 'all overlap'),
];
