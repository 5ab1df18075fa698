import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { defineConfig, type RolldownOptions } from 'rolldown';

const { dependencies, optionalDependencies }: Readonly<Record<string, Readonly<Record<string, string>>>> =
  JSON.parse(readFileSync('package.json', 'utf8'));

const common: RolldownOptions = {
  platform: 'node',
  external: Object.keys({ ...dependencies, ...optionalDependencies }).map(
    (name) => new RegExp(`^${name}(/|$)`),
  ),
  transform: { target: 'node20.19' },
};

/** Each of these becomes one file that imports nothing but Node's modules: see src/thread-program.ts. */
const THREADS = [
  'src/cache/disk-thread.ts',
  'src/ecs/dtool/manifest-thread.ts',
  'src/freeze/hash-thread.ts',
  'src/fuse/transport/kernel/receive/reader-thread.ts',
];

/**
 * Builds the program as a few files. Loading modules is most of what a short command does, near a millisecond for each:
 * ours, the hundred of zod and those of yaml, which become part of the program. All other packages are loaded from
 * node_modules.
 */
export default defineConfig([
  {
    ...common,
    // The process of a mount in the background is started by its file, too.
    input: ['src/cli.ts', 'src/commands/mount/background-process.ts'],
    plugins: [
      {
        name: 'licences of what becomes part of the program',
        generateBundle() {
          for (const name of ['yaml', 'zod']) {
            const source = readFileSync(`node_modules/${name}/LICENSE`, 'utf8');
            this.emitFile({ type: 'asset', fileName: `LICENSE-${name}`, source });
          }
        },
      },
    ],
    output: { dir: 'dist', cleanDir: true, chunkFileNames: '[name].js', sourcemap: true },
  },
  ...THREADS.map((input) => ({
    ...common,
    input,
    output: { file: `dist/${basename(input, '.ts')}.cjs`, format: 'cjs' as const },
  })),
]);
