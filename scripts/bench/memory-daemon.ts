import { systemClock } from '../../src/clock.ts';
import { startSession } from '../../src/fuse/session.ts';
import { TRANSPORT_NAMES } from '../../src/fuse/transport/transport.ts';
import { transportNamed } from '../../src/fuse/transport/transports.ts';
import type { DirectoryNode, Node, Tree } from '../../src/fuse/tree/node.ts';
import { silentLogger } from '../../src/log.ts';
import { LeanDirectory } from './lean-directory.ts';
import { mountPlain } from './plain-fuse-native.ts';
import { MemoryDirectory, MemoryFile, memoryTree } from '../../test/support/memory-tree.ts';

/**
 * Mounts a file system in memory, so that nothing is measured but the transport: `memory-daemon.js TRANSPORT MOUNTPOINT`,
 * where `plain` is fuse-native as the package is. Says `ready` on standard output, and ends when it is unmounted, by
 * SIGTERM among others.
 */

const MiB = 1024 * 1024;
const OWNER = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
const LOOKUP_DELAY_MS = 50;

const [wanted, mountpoint = ''] = process.argv.slice(2);
const transport = TRANSPORT_NAMES.find((known) => known === wanted);
if (!transport && wanted !== 'plain') throw new Error(`no transport ${wanted}`);
const tree = memoryTree(OWNER);

for (const name of ['big-0', 'big-1', 'big-2', 'big-3']) {
  const file = tree.root.add(name, new MemoryFile(0o644, OWNER));
  const block = Buffer.alloc(MiB, name);
  for (let offset = 0; offset < 256 * MiB; offset += MiB) file.write(offset, block);
}
for (const [name, count] of [
  ['10k', 10_000],
  ['100k', 100_000],
] as const) {
  const directory = tree.root.add(name, new MemoryDirectory(0o755, OWNER));
  for (let index = 0; index < count; index += 1) {
    directory.add(`file-${String(index).padStart(6, '0')}.bin`, new MemoryFile(0o644, OWNER));
  }
}
tree.root.add('new', new MemoryDirectory(0o755, OWNER));

/** A directory that takes its time to find a name, as one that has to ask a store. */
class SlowDirectory extends MemoryDirectory {
  override async lookup(name: string, signal?: AbortSignal): Promise<Node> {
    await systemClock.sleep(LOOKUP_DELAY_MS, signal);
    return super.lookup(name);
  }
}
const slow = tree.root.add('slow', new SlowDirectory(0o755, OWNER));
for (let index = 0; index < 1_000; index += 1) slow.add(`file-${index}`, new MemoryFile(0o644, OWNER));

/** The same with a directory of a million files, which can't be written. */
const million = new LeanDirectory(1_000_000);
const root: DirectoryNode = {
  kind: 'directory',
  lifetime: 'forever',
  attributes: () => tree.root.attributes(),
  lookup: async (name) => (name === '1M' ? million : tree.root.lookup(name)),
  list: async () => tree.root.list(),
};

const mounted = await mountTree({ ...tree, root });
process.on('SIGTERM', () => {
  void mounted.unmount().then(() => process.exit(0));
});
process.stdout.write('ready\n');

async function mountTree(served: Tree): Promise<{ readonly unmount: () => Promise<void> }> {
  if (!transport) return mountPlain(mountpoint, served);
  return startSession(mountpoint, served, transportNamed(transport), {
    source: 'bench',
    allowOther: false,
    allowNonEmpty: false,
    readOnly: false,
    refreshSeconds: 60,
    log: silentLogger,
  });
}
