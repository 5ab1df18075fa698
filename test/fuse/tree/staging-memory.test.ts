import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, onTestFinished, test } from 'vitest';
import { Area } from '../../../src/fuse/staging/area.ts';
import { ownArea } from '../../../src/fuse/staging/known-areas.ts';
import { InodeTable } from '../../../src/fuse/transport/kernel/inode-table.ts';
import type { Node } from '../../../src/fuse/tree/node.ts';
import { StagingRoot } from '../../../src/fuse/tree/staging-root.ts';
import { silentLogger } from '../../../src/log.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const FILES = 20_000;
const PART = 100;
/** For a node that the kernel remembers: the node, its name, its place among all, and what the transport keeps of it. */
const BYTES_A_NODE_MAX = 300;

const { signal: never } = new AbortController();
const me = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

setFlagsFromString('--expose-gc');
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the flag brings
const collect = runInNewContext('gc') as () => void;

/** Bytes of the heap in use, typed arrays outside of it included, when what nobody holds is gone. */
async function heapBytes(): Promise<number> {
  // What was looked at through weak references lives until the task ends.
  for (let round = 0; round < 3; round += 1) {
    await new Promise(setImmediate);
    collect();
  }
  const { used_heap_size: used, external_memory: external } = getHeapStatistics();
  return used + external;
}

test(`a node that the kernel remembers takes at most ${BYTES_A_NODE_MAX} bytes`, async () => {
  const directory = await fs.mkdtemp(join(tmpdir(), 'staging-memory-'));
  onTestFinished(() => fs.rm(directory, { recursive: true }));
  const endpoint = 'https://ecs.example.org:9021';
  const area = await Area.open(await ownArea(directory, 'bucket', endpoint), {
    endpoint,
    datasets: [],
    mountpoint: '/mnt/ecs',
    log: silentLogger,
  });
  onTestFinished(() => area.close());
  const root = await StagingRoot.open(area, {
    bucket: 'bucket',
    ownership: { ...me, umask: 0 },
    clock: new ManualClock(),
    log: silentLogger,
    freeze: async () => {},
    onSettled: () => {},
    onRemoved: () => {},
    onMoved: () => {},
  });
  await root.changes.makeDirectory('folder', 0o755, me);
  const folder = root.folder('folder');
  if (!folder) throw new Error('no folder');
  for (let index = 0; index < FILES; index += 1) {
    const path = join(folder.path, `sample-${index}.csv`);
    if (index % 100 === 0) mkdirSync(path);
    else if (index % 100 === 1) symlinkSync('sample-2.csv', path);
    else writeFileSync(path, '');
  }
  const table = new InodeTable(root);
  const ids: number[] = [];
  /** As `find` and `ls -l` do it: a listing in parts, the attributes of all, and the listing is over. */
  const listAll = async (): Promise<void> => {
    const entries = await folder.directory.list(never);
    for (let from = 0; from < entries.length; from += PART) {
      const part = (await entries.load?.(from, PART)) ?? entries;
      for (let index = from; index < Math.min(from + PART, entries.length); index += 1) {
        const node = part.at(index)?.node;
        if (!node) throw new Error('an entry is missing');
        expect(node.attributes().nlink).toBeGreaterThan(0);
        ids[index] = table.remember(node);
      }
    }
  };
  const before = await heapBytes();
  await listAll();
  const bytes = ((await heapBytes()) - before) / FILES;
  expect(bytes).toBeLessThan(BYTES_A_NODE_MAX);

  // All of them are still what they were, under their numbers.
  const first: Node = table.node(ids[0] ?? 0);
  expect(ids.length).toBe(FILES);
  await listAll();
  expect(table.node(ids[0] ?? 0)).toBe(first);
  expect(table.size).toBe(FILES + 1);
});
