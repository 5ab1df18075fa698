import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { scaled } from '../support/full.ts';
import type { Deviation } from './transport-deviations.ts';

/** Sequences that are tried over each transport and tree, of at most so many operations. */
const RUNS = scaled({ usual: 100, full: 500 });
const OPERATIONS_MAX = 60;
const NAMES = ['a', 'b', 'c', 'a/a', 'a/b', 'b/a', 'b/c', 'a/a/a', 'c/b'] as const;

/** The one open file of a run, on either side. */
interface Side {
  readonly root: string;
  file: fs.FileHandle | undefined;
}

type Operation = readonly [name: string, run: (side: Side) => Promise<unknown>];

const path = fc.constantFrom(...NAMES);
const text = fc.string({ unit: fc.constantFrom('x', 'y'), maxLength: 12 });
const offset = fc.oneof(fc.nat(40), fc.constantFrom(4095, 4096, 131_072, 1_048_575));
const at = ({ root }: Side, name: string): string => join(root, name);

const onFile = async (side: Side, work: (file: fs.FileHandle) => Promise<unknown>): Promise<unknown> =>
  side.file === undefined ? 'none is open' : work(side.file);

const operation = (deviates: (deviation: Deviation) => boolean): fc.Arbitrary<Operation> =>
  fc.oneof(
    fc
      .tuple(path, text, fc.constantFrom('w', 'a', 'wx', 'r+'))
      .map(
        ([name, data, flag]): Operation => [
          `write ${name} ${data} ${flag}`,
          (side) => fs.writeFile(at(side, name), data, { flag }),
        ],
      ),
    path.map((name): Operation => [`read ${name}`, (side) => fs.readFile(at(side, name), 'latin1')]),
    path.map((name): Operation => [`mkdir ${name}`, (side) => fs.mkdir(at(side, name))]),
    path.map((name): Operation => [`rmdir ${name}`, (side) => fs.rmdir(at(side, name))]),
    path.map((name): Operation => [`unlink ${name}`, (side) => fs.unlink(at(side, name))]),
    path.map(
      (name): Operation => [
        `list ${name}`,
        async (side) =>
          (await fs.readdir(at(side, name), { withFileTypes: true }))
            .map((one) => `${one.name} ${one.isDirectory()} ${one.isSymbolicLink()}`)
            .toSorted(),
      ],
    ),
    path.map((name): Operation => [`stat ${name}`, (side) => describeNode(at(side, name), deviates)]),
    fc
      .tuple(path, path)
      .map(
        ([from, to]): Operation => [
          `rename ${from} ${to}`,
          (side) => fs.rename(at(side, from), at(side, to)),
        ],
      ),
    fc.tuple(path, path).map(
      ([from, to]): Operation => [
        `link ${from} ${to}`,
        // Symbolic links have one name each here.
        async (side) =>
          deviates('hard-links') || (await fs.lstat(at(side, from))).isSymbolicLink()
            ? 'not here'
            : fs.link(at(side, from), at(side, to)),
      ],
    ),
    fc
      .tuple(fc.constantFrom('a', '../b', 'c', 'a/b', 'nowhere'), path)
      .map(
        ([target, name]): Operation => [
          `symlink ${target} ${name}`,
          (side) => fs.symlink(target, at(side, name)),
        ],
      ),
    path.map((name): Operation => [`readlink ${name}`, (side) => fs.readlink(at(side, name))]),
    fc
      .tuple(path, offset)
      .map(
        ([name, size]): Operation => [
          `truncate ${name} ${size}`,
          (side) => fs.truncate(at(side, name), size),
        ],
      ),
    fc
      .tuple(path, fc.constantFrom(0o600, 0o644, 0o755, 0o4711))
      .map(
        ([name, mode]): Operation => [
          `chmod ${name} ${mode.toString(8)}`,
          (side) => fs.chmod(at(side, name), mode),
        ],
      ),
    fc.tuple(path, fc.nat(2 ** 31)).map(
      ([name, seconds]): Operation => [
        `utimes ${name} ${seconds}`,
        async (side) => {
          await fs.utimes(at(side, name), seconds, seconds);
          return (await fs.stat(at(side, name))).mtimeMs;
        },
      ],
    ),
    // What is removed while open stays visible in one transport, so nothing is kept open there.
    ...(deviates('hidden-files') ? [] : fileOperations()),
  );

function fileOperations(): fc.Arbitrary<Operation>[] {
  return [
    fc.tuple(path, fc.constantFrom('w+', 'a+', 'r+', 'wx+')).map(
      ([name, flag]): Operation => [
        `open ${name} ${flag}`,
        async (side) => {
          const file = await fs.open(at(side, name), flag);
          await side.file?.close();
          side.file = file;
        },
      ],
    ),
    fc
      .tuple(text, offset)
      .map(
        ([data, place]): Operation => [
          `write to file ${data} at ${place}`,
          (side) => onFile(side, async (file) => (await file.write(data, place)).bytesWritten),
        ],
      ),
    offset.map(
      (place): Operation => [
        `read from file at ${place}`,
        (side) =>
          onFile(side, async (file) => {
            const { buffer, bytesRead } = await file.read(Buffer.alloc(5000), 0, 5000, place);
            return buffer.toString('latin1', 0, bytesRead);
          }),
      ],
    ),
    offset.map(
      (size): Operation => [
        `truncate file to ${size}`,
        (side) =>
          onFile(side, async (file) => {
            await file.truncate(size);
            const { size: now, nlink } = await file.stat();
            return [now, nlink];
          }),
      ],
    ),
  ];
}

async function describeNode(name: string, deviates: (deviation: Deviation) => boolean): Promise<string> {
  const stats = await fs.lstat(name);
  const kind = stats.isDirectory() ? 'directory' : stats.isFile() ? `file ${stats.size}` : 'symlink';
  const nlink = stats.isFile() && !deviates('hard-links') ? stats.nlink : '';
  return `${kind} ${(stats.mode & 0o7777).toString(8)} ${nlink}`;
}

/** What came of an operation: its value, or the name of its error. */
async function outcome(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    return (error as { code?: unknown }).code ?? error;
  }
}

/**
 * Whatever is done to the mount has the results that it has in a directory of this machine, errors included.
 *
 * @param directory an empty one of the mount
 */
export function describeLikeness(directory: () => string, deviates: (deviation: Deviation) => boolean): void {
  let local: string;
  beforeAll(async () => {
    local = await fs.mkdtemp(join(tmpdir(), 'transport-likeness-'));
  });
  afterAll(() => fs.rm(local, { recursive: true }));

  test('random operations have the results of a local file system', async () => {
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(operation(deviates), { maxLength: OPERATIONS_MAX, size: 'max' }),
        async (operations) => {
          runs += 1;
          const sides = [directory(), local].map(
            (root): Side => ({ root: join(root, `${runs}`), file: undefined }),
          );
          for (const { root } of sides) await fs.mkdir(root);
          try {
            for (const [name, perform] of operations) {
              const [there, here] = await Promise.all(sides.map((side) => outcome(() => perform(side))));
              expect(there, name).toEqual(here);
            }
          } finally {
            for (const { root, file } of sides) {
              await file?.close();
              await fs.rm(root, { recursive: true });
            }
          }
        },
      ),
      { numRuns: RUNS },
    );
  });
}
