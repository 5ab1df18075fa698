import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const repository = resolve(import.meta.dirname, '../..');

/** A TypeScript program as JavaScript, for a process of its own: Node 20 runs no TypeScript. */
export interface CompiledProgram {
  /** The file to start Node with. */
  readonly path: string;
  /** Removes what was compiled. */
  readonly remove: () => Promise<void>;
}

/**
 * Compiles a program and all that it imports, without checking types, into a directory of its own. That lies below
 * node_modules, so that packages are found from there.
 *
 * @param entry absolute path of a .ts file of this repository
 */
export async function compileProgram(entry: string): Promise<CompiledProgram> {
  const cache = resolve(repository, 'node_modules/.cache');
  await mkdir(cache, { recursive: true });
  const directory = await mkdtemp(`${cache}/program-`);
  // A program may run as another user.
  await chmod(directory, 0o755);
  const config = {
    extends: resolve(repository, 'tsconfig.json'),
    compilerOptions: {
      noEmit: false,
      noCheck: true,
      rootDir: repository,
      outDir: directory,
      inlineSourceMap: true,
    },
    // Threads are named by URL, which no compiler follows.
    include: [resolve(repository, 'src')],
    files: [entry],
  };
  await writeFile(`${directory}/tsconfig.json`, JSON.stringify(config));
  await writeFile(`${directory}/package.json`, JSON.stringify({ type: 'module' }));
  await run(process.execPath, [resolve(repository, 'node_modules/typescript/bin/tsc'), '-p', directory]);
  return {
    path: resolve(directory, relative(repository, entry).replace(/\.ts$/, '.js')),
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}
