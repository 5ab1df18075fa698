import { join } from 'node:path';
import { memoryOf } from '../process-memory.ts';
import { largeItem } from '../prepared.ts';
import type { RowOf } from '../row.ts';
import { atMost } from '../target.ts';

const FOUR_READERS = `
import os, sys, threading
size = int(sys.argv[2])
def work(start):
    fd = os.open(sys.argv[1], os.O_RDONLY)
    for offset in range(start, start + size // 4, 1 << 20): os.pread(fd, 1 << 20, offset)
threads = [threading.Thread(target=work, args=(size // 4 * i,)) for i in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print('{}')
`;

/** The default of `--cache-memory`, and what a mount may have besides. */
export const MEMORY_MAX_MIB = 256 + 150;

export const memory: RowOf = ({ largeBytes }) => ({
  name: 'memory',
  lines: {
    peak: {
      title: `most memory, 4 readers of ${largeBytes / 2 ** 20} MiB`,
      unit: 'MiB',
      better: 'less',
      target: atMost('peak', MEMORY_MAX_MIB, 'cache (256) + 150'),
    },
  },
  async measure(world, subject) {
    if (subject === 'limit' || subject === 'dtool') return undefined;
    const { bucket, relpath, key, bytes } = await largeItem(world, largeBytes);
    const mount = await world.mount(subject, { bucket });
    if (!mount) return undefined;
    try {
      await world.python(FOUR_READERS, join(mount.path, subject === 'ours' ? relpath : key), bytes);
      return { peak: memoryOf(mount.pid).peakMiB };
    } finally {
      await mount.close();
    }
  },
});
