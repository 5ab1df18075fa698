/**
 * A program that reads and writes in a mount, holds everything that it gets against what has to be there, and tells its
 * parent over the IPC channel. Its only argument is a {@link LoadOptions} as JSON. At `stop` it ends what it has begun.
 */
import { constants } from 'node:os';
import { seededRandom } from '../../src/demo/random.ts';
import { Figures, type Violation } from './figures.ts';
import { monotonicMs } from './monotonic.ts';
import { readAtRandom } from './reader.ts';
import { Stager } from './stager.ts';

export interface LoadOptions {
  readonly mountpoint: string;
  /** Of all that is drawn; other programs have others. */
  readonly seed: number;
  readonly readers: number;
  readonly stagers: number;
}

/** An error of a system call, for the parent to judge. Times are of {@link monotonicMs}. */
export interface LoadError {
  readonly what: string;
  /** Below the mount. */
  readonly path: string;
  readonly code: string;
  /** When the call began, or when the file was opened that it was made on. */
  readonly from: number;
  readonly to: number;
}

export type LoadMessage =
  | ({ readonly tell: 'error' } & LoadError)
  | { readonly tell: 'violation'; readonly violation: Violation; readonly detail: string }
  /** A dataset was frozen, and everything in it read. */
  | { readonly tell: 'frozen'; readonly name: string; readonly items: readonly string[] }
  /** The last one. */
  | { readonly tell: 'figures'; readonly figures: readonly (readonly [string, number])[] };

/** Node has no name for some of the system's errors. */
const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);

/** What the readers and writers of one program share. */
export class Load {
  readonly mountpoint: string;
  readonly figures = new Figures();
  isStopping = false;

  constructor(mountpoint: string) {
    this.mountpoint = mountpoint;
  }

  tell(message: LoadMessage): void {
    process.send?.(message);
  }

  violation(violation: Violation, detail: string): void {
    this.tell({ tell: 'violation', violation, detail });
  }

  /**
   * Makes a system call.
   *
   * @param from when the file was opened that it is made on; default: now
   * @returns what it gave, or the code of its error, which the parent was told
   */
  async call<T>(
    what: string,
    path: string,
    work: () => Promise<T>,
    from = monotonicMs(),
  ): Promise<{ readonly value: T } | { readonly code: string }> {
    this.figures.add('operations');
    try {
      return { value: await work() };
    } catch (error) {
      const { errno = 0, code } = error as NodeJS.ErrnoException;
      // What is no error of a system call is a mistake of ours.
      if (code === undefined) throw error;
      const name = NAMES.get(-errno) ?? code;
      this.tell({ tell: 'error', what, path, code: name, from, to: monotonicMs() });
      return { code: name };
    }
  }
}

async function main(): Promise<void> {
  const options = JSON.parse(process.argv[2] ?? '{}') as LoadOptions;
  const load = new Load(options.mountpoint);
  process.on('message', () => {
    load.isStopping = true;
  });
  const randomOf = (index: number): (() => number) => seededRandom(options.seed * 1_000 + index);
  await Promise.all([
    ...Array.from({ length: options.readers }, async (_, index) => readAtRandom(load, randomOf(index))),
    ...Array.from({ length: options.stagers }, async (_, index) =>
      new Stager(load, randomOf(500 + index), `staged-${options.seed}-${index}`).run(),
    ),
  ]);
  load.tell({ tell: 'figures', figures: [...load.figures.counts] });
  process.disconnect();
}

if (process.send) await main();
