import { readFileSync } from 'node:fs';
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { hasErrorCode } from './errors.ts';

/**
 * The program of a thread. The built one is a single file, whose text is kept from the start on: an upgrade may remove or
 * replace the files of the program while it runs, and a thread that starts later must be of the same version.
 */
export class ThreadProgram {
  readonly #file: URL;
  readonly #text: string | undefined;

  /**
   * @param name of the file without its ending
   * @param beside `import.meta.url` of a file in the same directory
   */
  constructor(name: string, beside: string) {
    this.#file = new URL(`./${name}${beside.endsWith('.ts') ? '.ts' : '.js'}`, beside);
    this.#text = textOf(new URL(`./${name}.cjs`, beside));
  }

  /** Whether it runs here: Node 20 runs no TypeScript, which is what it is in tests. */
  get canRun(): boolean {
    return !this.#file.pathname.endsWith('.ts') || Boolean(Reflect.get(process.features, 'typescript'));
  }

  start(options: WorkerOptions): Worker {
    if (this.#text === undefined) return new Worker(this.#file, options);
    return new Worker(this.#text, { ...options, eval: true });
  }
}

/** Undefined where the program is not built. */
function textOf(file: URL): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
