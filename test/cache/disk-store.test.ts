import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  chown,
  lstat,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  statfs,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { BlockMemory } from '../../src/cache/block-memory.ts';
import { type DiskContent, blockCount, blockLength, diskContent } from '../../src/cache/disk-slot.ts';
import { DiskStore, type DiskStoreOptions } from '../../src/cache/disk-store.ts';
import { BLOCK_BYTES, DISK_EXTENT_BLOCKS, DISK_WRITE_PAUSE_MS, GiB, MiB } from '../../src/limits.ts';
import { silentLogger } from '../../src/log.ts';
import { randomBytesOf } from '../support/datasets.ts';
import { inlineDiskTasks } from '../support/inline-disk-tasks.ts';
import { NOBODY } from '../support/nobody.ts';
import { ManualClock } from '../support/manual-clock.ts';

/** Files have the system's time: this one is later by what a test lets pass. */
class LaterClock extends ManualClock {
  override now(): number {
    return Date.now() + super.now();
  }
}

async function scratch(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'disk-store-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  return directory;
}

function open(directory: string, more: Partial<DiskStoreOptions> = {}): Promise<DiskStore> {
  return DiskStore.open({
    directory,
    maxBytes: 64 * MiB,
    queueMaxBytes: 64 * MiB,
    tasks: inlineDiskTasks,
    clock: new ManualClock(),
    log: silentLogger,
    ...more,
  });
}

const contentOf = (id: string, size: number, origin = 'here'): DiskContent =>
  diskContent(origin, { id, key: id, size });

/** The blocks of a body by number. */
function blocksOf(
  body: Buffer,
  first = 0,
  last = blockCount({ size: body.length }) - 1,
): Map<number, Buffer> {
  const blocks = new Map<number, Buffer>();
  for (let block = first; block <= last; block += 1) {
    const start = block * BLOCK_BYTES;
    blocks.set(block, body.subarray(start, start + blockLength({ size: body.length }, block)));
  }
  return blocks;
}

async function readAll(store: DiskStore, content: DiskContent): Promise<Map<number, Uint8Array>> {
  const blocks = Array.from({ length: blockCount(content) }, (_, block) => block);
  return new Map(
    Array.from(await store.read(content, blocks, new BlockMemory()), ([block, { bytes }]) => [block, bytes]),
  );
}

async function filesIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function takenBy(directory: string): Promise<number> {
  const stats = await Promise.all((await filesIn(directory)).map((path) => stat(path)));
  return stats.reduce((sum, { blocks }) => sum + blocks * 512, 0);
}

describe('keeping', () => {
  test('any blocks, of contents of any size, for the next who opens the directory; private', async () => {
    const directory = await scratch();
    for (const size of [1, 4096, BLOCK_BYTES, BLOCK_BYTES + 1, (DISK_EXTENT_BLOCKS + 2) * BLOCK_BYTES + 7]) {
      const body = randomBytesOf(size, size);
      const content = contentOf(`size ${size}`, size);
      const writer = await open(directory);
      expect(await readAll(writer, content)).toEqual(new Map());
      expect(await writer.write(content, blocksOf(body))).toBe(true);
      const reader = await open(directory);
      const kept = await readAll(reader, content);
      expect(
        Buffer.concat(
          [...kept.keys()].toSorted((a, b) => a - b).map((key) => kept.get(key) ?? Buffer.of()),
        ).equals(body),
      ).toBe(true);
    }
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    for (const entry of entries) {
      const { mode } = await stat(join(entry.parentPath, entry.name));
      expect(mode & 0o777).toBe(entry.isFile() ? 0o600 : 0o700);
    }
  });

  test('blocks in any order, with gaps', async () => {
    const store = await open(await scratch());
    const body = randomBytesOf(1, (DISK_EXTENT_BLOCKS + 3) * BLOCK_BYTES);
    const content = contentOf('gaps', body.length);
    const all = blocksOf(body);
    const some = [DISK_EXTENT_BLOCKS + 1, 5, 4, 63, 64, 0];
    for (const block of some) await store.write(content, new Map([[block, all.get(block) ?? Buffer.of()]]));
    const kept = await readAll(store, content);
    expect([...kept.keys()].toSorted((a, b) => a - b)).toEqual(some.toSorted((a, b) => a - b));
    for (const [block, bytes] of kept) expect(Buffer.compare(bytes, all.get(block) ?? Buffer.of())).toBe(0);
  });

  test('what is not there takes no memory to look for', async () => {
    const store = await open(await scratch());
    const body = randomBytesOf(1, 8 * BLOCK_BYTES);
    const content = contentOf('beginning', body.length);
    const allocated = vi.spyOn(Buffer, 'allocUnsafeSlow');
    onTestFinished(() => allocated.mockRestore());
    expect(await readAll(store, content)).toEqual(new Map());
    expect(allocated).not.toHaveBeenCalled();
    await store.write(content, blocksOf(body, 0, 1));
    allocated.mockClear();
    expect((await readAll(store, content)).size).toBe(2);
    expect(allocated).toHaveBeenCalledTimes(2);
  });

  test('the same name from another place is another content', async () => {
    const store = await open(await scratch());
    await store.write(contentOf('name', 4, 'https://good/bucket'), new Map([[0, Buffer.from('good')]]));
    expect(await readAll(store, contentOf('name', 4, 'https://evil/bucket'))).toEqual(new Map());
  });
});

describe('what is damaged is never served', () => {
  const small = { content: contentOf('small', 1000), body: randomBytesOf(2, 1000) };
  const large = {
    content: contentOf('large', 2 * BLOCK_BYTES + 100),
    body: randomBytesOf(3, 2 * BLOCK_BYTES + 100),
  };
  const twin = { content: contentOf('twin', 1000), body: randomBytesOf(4, 1000) };
  const originals = [small, large, twin];

  async function filled(): Promise<{ store: DiskStore; directory: string; files: string[] }> {
    const directory = await mkdtemp(join(tmpdir(), 'disk-store-'));
    const store = await open(directory);
    for (const { content, body } of originals) await store.write(content, blocksOf(body));
    return { store, directory, files: (await filesIn(directory)).toSorted() };
  }

  /** Reads everything; fails on a byte that is wrong. @returns how many blocks were served */
  async function served(store: DiskStore): Promise<number> {
    let count = 0;
    for (const { content, body } of originals) {
      for (const [block, bytes] of await readAll(store, content)) {
        expect(Buffer.compare(bytes, blocksOf(body).get(block) ?? Buffer.of())).toBe(0);
        count += 1;
      }
    }
    return count;
  }

  test('any byte flipped, anywhere', async () => {
    const { store, directory, files } = await filled();
    onTestFinished(() => rm(directory, { recursive: true }));
    expect(await served(store)).toBe(5);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(files.length - 1),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.integer({ min: 1, max: 255 }),
        async (index, where, flip) => {
          const path = files[index] ?? '';
          const before = await readFile(path);
          const after = Buffer.from(before);
          const at = Math.floor(where * after.length);
          after.writeUInt8((after[at] ?? 0) ^ flip, at);
          await writeFile(path, after);
          // All but the block that was hit, or all where it hit what lies between two of them.
          const count = await served(store);
          const isPadding =
            before.length > 2 * BLOCK_BYTES &&
            [1, 2].some((n) => at >= n * (BLOCK_BYTES + 4096) - 4096 + 64 && at < n * (BLOCK_BYTES + 4096));
          expect(count).toBe(isPadding ? 5 : 4);
          await writeFile(path, before);
        },
      ),
      { numRuns: 300 },
    );
    expect(await served(store)).toBe(5);
  });

  test('truncated anywhere, swapped, filled with zeros, of others', async () => {
    const { store, directory, files } = await filled();
    onTestFinished(() => rm(directory, { recursive: true }));
    for (const path of files) {
      const before = await readFile(path);
      for (const part of [0, 0.3, 0.5, 0.999]) {
        await truncate(path, Math.floor(before.length * part));
        expect(await served(store)).toBeLessThan(5);
        await writeFile(path, before);
      }
      await writeFile(path, Buffer.alloc(before.length));
      expect(await served(store)).toBeLessThan(5);
      await writeFile(path, 'something else');
      expect(await served(store)).toBeLessThan(5);
      await writeFile(path, before);
    }
    const [first = '', second = '', third = ''] = files;
    await rename(first, `${directory}/x`);
    await rename(second, first);
    await rename(third, second);
    await rename(`${directory}/x`, third);
    expect(await served(store)).toBe(0);
    expect(store.statistics.corruptBlocks).toBeGreaterThan(0);
    // And what is fetched anew takes the place of what was damaged.
    for (const { content, body } of originals) await store.write(content, blocksOf(body));
    expect(await served(store)).toBe(5);
  });
});

describe('the bound', () => {
  const SIZE = 12 * BLOCK_BYTES;
  const body = randomBytesOf(5, SIZE);

  test('holds for all who share the directory, and the least recently used goes first, over restarts', async () => {
    const directory = await scratch();
    const clock = new LaterClock();
    const maxBytes = 64 * MiB;
    let stores = await Promise.all([1, 2, 3].map(() => open(directory, { maxBytes, clock })));
    const precious = contentOf('precious', SIZE);
    await stores[0]?.write(precious, blocksOf(body));
    for (let index = 0; index < 60; index += 1) {
      const content = contentOf(`${index}`, SIZE);
      await stores[index % 3]?.write(content, blocksOf(body));
      clock.advance(120_000);
      // Its use is noted by whoever reads it.
      expect(
        (await stores[(index + 1) % 3]?.read(precious, [0, 1, 2, 3], new BlockMemory()))?.size,
        `after ${index}`,
      ).toBe(4);
      expect(await takenBy(directory)).toBeLessThanOrEqual(maxBytes);
      if (index % 10 === 9)
        stores = await Promise.all([1, 2, 3].map(() => open(directory, { maxBytes, clock })));
    }
    expect(await takenBy(directory)).toBeGreaterThan(maxBytes / 2);
    const last = await stores[0]?.read(contentOf('59', SIZE), [0, 1, 2, 3], new BlockMemory());
    expect(last?.size).toBe(4);
    expect((await stores[0]?.read(contentOf('0', SIZE), [0], new BlockMemory()))?.size).toBe(0);
  });

  test('of what waits to be written: the rest is not kept, unless somebody waits for it', async () => {
    const store = await open(await scratch(), { queueMaxBytes: 2 * SIZE });
    const writes = Array.from({ length: 5 }, (_, index) =>
      store.write(contentOf(`${index}`, SIZE), blocksOf(body)),
    );
    const eager = store.write(contentOf('eager', SIZE), blocksOf(body), { isEager: true });
    expect(await Promise.all(writes)).toEqual([true, true, false, false, false]);
    expect(await eager).toBe(true);
    expect(store.statistics).toMatchObject({ droppedBlocks: 36, writtenBlocks: 36, queuedBytes: 0 });
    expect(store.statistics.bytes).toBeGreaterThanOrEqual(36 * BLOCK_BYTES);
  });

  test('files that are not ours go, and a directory that was emptied is made again', async () => {
    const directory = await scratch();
    const store = await open(directory, { maxBytes: 64 * MiB });
    await store.write(contentOf('a', SIZE), blocksOf(body));
    const [path = ''] = await filesIn(directory);
    await writeFile(join(path, '../junk'), 'junk');
    await open(directory);
    expect(await filesIn(directory)).toEqual([path]);
    await rm(join(directory, 'blocks-1'), { recursive: true });
    expect(await readAll(store, contentOf('a', SIZE))).toEqual(new Map());
    expect(await store.write(contentOf('a', SIZE), blocksOf(body))).toBe(true);
    expect((await readAll(store, contentOf('a', SIZE))).size).toBe(12);
  });
});

const isRoot = process.getuid?.() === 0;
test.each(['FIFOs', 'links', ...(isRoot ? ['files of another user'] : [])])(
  `%s in the place of our files are neither read nor written${isRoot ? '' : ' [another user’s skipped: not root]'}`,
  async (what) => {
    const directory = await scratch();
    const store = await open(directory);
    const body = randomBytesOf(9, 2 * BLOCK_BYTES);
    const content = { ...contentOf('planted', body.length), md5: '0'.repeat(32) };
    await store.write(content, blocksOf(body));
    const [path = ''] = await filesIn(directory);
    if (what === 'files of another user') {
      await chown(path, NOBODY, NOBODY);
    } else if (what === 'links') {
      await rename(path, `${directory}/elsewhere`);
      await symlink(`${directory}/elsewhere`, path);
    } else {
      await rm(path);
      execFileSync('mkfifo', [path]);
    }
    expect(await readAll(store, content)).toEqual(new Map());
    expect(await store.verify(content, true)).toEqual({ verdict: 'incomplete' });
    expect(await store.present([content])).toEqual([{ bytes: 0, localBytes: 0 }]);
    // A look at the directory removes what can be none of ours.
    expect(await store.write(content, blocksOf(body))).toBe(what !== 'files of another user');
    expect((await lstat(path)).isFile()).toBe(true);
  },
);

test.skipIf(!isRoot)(
  `a full disk${isRoot ? '' : ' [skipped: not root]'}: reads go on, and writing is tried again later`,
  async () => {
    const directory = await scratch();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', `test-${randomUUID()}`, directory]);
    try {
      const clock = new ManualClock();
      const store = await open(directory, { clock, maxBytes: GiB });
      const body = randomBytesOf(6, MiB);
      const contents = Array.from({ length: 12 }, (_, index) => contentOf(`${index}`, MiB));
      const filler = join(directory, 'filler');
      await store.write(contents[0] ?? contentOf('', 1), blocksOf(body));
      await writeFile(filler, Buffer.alloc(7 * MiB - 200_000));
      expect(await store.write(contents[1] ?? contentOf('', 1), blocksOf(body))).toBe(false);
      expect(store.statistics.paused).toMatch(/ENOSPC|could be written|nearly full/);
      expect((await readAll(store, contents[0] ?? contentOf('', 1))).size).toBe(4);
      await rm(filler);
      expect(await store.write(contents[2] ?? contentOf('', 1), blocksOf(body))).toBe(false);
      clock.advance(DISK_WRITE_PAUSE_MS + 1);
      for (const content of contents) await store.write(content, blocksOf(body));
      const { bavail, blocks } = await statfs(directory);
      expect(bavail / blocks).toBeGreaterThan(0.04);
    } finally {
      execFileSync('umount', [directory]);
    }
  },
);
