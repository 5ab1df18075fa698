import { join } from 'node:path';
import { largeItem } from '../prepared.ts';
import type { Row } from '../row.ts';
import { peakMiB } from '../world.ts';

const FOUR_READERS = `
import os, sys, threading
size = int(sys.argv[2])
def work(start):
    fd = os.open(sys.argv[1], os.O_RDONLY)
    for offset in range(start, size, 1 << 20): os.pread(fd, 1 << 20, offset)
threads = [threading.Thread(target=work, args=(size // 4 * i,)) for i in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print(0)
`;

export const MEMORY: readonly Row[] = [
  {
    name: 'memory',
    title: 'most memory, 4 readers of 1 GiB at once',
    unit: 'MiB',
    better: 'less',
    target: 'cache (256) + 150',
    async measure(world, subject) {
      if (subject === 'limit') return undefined;
      const item = await largeItem(world);
      const mounted = await world.mount(subject);
      if (!mounted) return undefined;
      try {
        const path = join(mounted.path, subject === 'ours' ? item.relpath : item.key);
        await world.python(FOUR_READERS, path, String(item.size));
        return peakMiB(mounted.pid);
      } finally {
        await mounted.close();
      }
    },
  },
];
