import { join } from 'node:path';
import { memoryOf } from '../process-memory.ts';
import { hugeDataset } from '../huge-dataset.ts';
import type { RowOf } from '../row.ts';
import { atMost } from '../target.ts';
import type { World } from '../world.ts';

/** Runs a command on a directory, and meanwhile reads random pages of a file, 50 a second. */
const BESIDE_READS = `
import json, os, random, subprocess, sys, threading, time
fd = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
pages = os.fstat(fd).st_size // 4096
slowest = 0
done = threading.Event()
def probe():
    global slowest
    while not done.wait(0.02):
        start = time.perf_counter()
        assert len(os.pread(fd, 4096, random.randrange(pages) * 4096)) == 4096
        slowest = max(slowest, time.perf_counter() - start)
probing = threading.Thread(target=probe)
probing.start()
start = time.perf_counter()
subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, check=True)
seconds = time.perf_counter() - start
done.set()
probing.join()
print(json.dumps({'seconds': seconds, 'slowest': 1e3 * slowest}))
`;

export const items: RowOf = ({ fewItems, manyItems }) => {
  const title = `dataset of ${manyItems.toLocaleString('en')} items`;
  return {
    name: 'items',
    maxRounds: 1,
    lines: {
      open: { title: `${title}: opened`, unit: 's', better: 'less', target: atMost('open', 10) },
      find: { title: `${title}: \`find\``, unit: 's', better: 'less' },
      memory: {
        title: `${title}: memory`,
        unit: 'bytes an item',
        better: 'less',
        target: atMost('memory', 500),
      },
      slowest: {
        title: `${title}: slowest 4 KiB of another dataset meanwhile`,
        unit: 'ms',
        better: 'less',
        target: atMost('slowest', 250),
      },
      growth: {
        title: `opened and \`find\`, from ${fewItems.toLocaleString('en')} items on`,
        unit: 'times',
        better: 'less',
        target: atMost('growth', manyItems / fewItems, `linear: ${manyItems / fewItems}`),
      },
    },
    async measure(world, subject) {
      if (subject !== 'ours') return undefined;
      const few = await walked(world, fewItems);
      const many = await walked(world, manyItems);
      return { ...many, growth: (many.open + many.find) / (few.open + few.find) };
    },
  };
};

async function walked(
  world: World,
  count: number,
): Promise<{
  readonly open: number;
  readonly find: number;
  readonly memory: number;
  readonly slowest: number;
}> {
  const { bucket, relpath, other } = await hugeDataset(world, count);
  const mount = await world.mount('ours', { bucket });
  if (!mount) throw new Error('our mount is not there');
  try {
    const file = join(mount.path, other);
    const directory = join(mount.path, relpath);
    await world.python(BESIDE_READS, file, 'sleep', 1);
    const before = memoryOf(mount.pid).nowMiB;
    const { seconds: open = 0, slowest: first = 0 } = await world.python(BESIDE_READS, file, 'ls', directory);
    const { seconds: find = 0, slowest: then = 0 } = await world.python(
      BESIDE_READS,
      file,
      'find',
      directory,
    );
    const memory = ((memoryOf(mount.pid).nowMiB - before) * 2 ** 20) / count;
    return { open, find, memory, slowest: Math.max(first, then) };
  } finally {
    await mount.close();
  }
}
