import { readFileSync } from 'node:fs';
import { defineConfig } from 'rolldown';

const { dependencies, optionalDependencies }: Readonly<Record<string, Readonly<Record<string, string>>>> =
  JSON.parse(readFileSync('package.json', 'utf8'));

/** Threads are named by URL, which no bundler follows. Their files lie beside all others, so that the URLs hold. */
const THREADS = [
  'src/cache/disk-thread.ts',
  'src/ecs/dtool/manifest-thread.ts',
  'src/freeze/hash-thread.ts',
  'src/fuse/transport/kernel/receive/reader-thread.ts',
];

/**
 * Builds the program as a few files. Loading modules is most of what a short command does, near a millisecond for each:
 * ours, and the hundred of zod, which becomes part of the program. All other packages are loaded from node_modules.
 */
export default defineConfig({
  input: ['src/cli.ts', ...THREADS],
  platform: 'node',
  external: Object.keys({ ...dependencies, ...optionalDependencies }).map(
    (name) => new RegExp(`^${name}(/|$)`),
  ),
  transform: { target: 'node20.19' },
  plugins: [
    {
      name: 'licence of what becomes part of the program',
      generateBundle() {
        const source = readFileSync('node_modules/zod/LICENSE', 'utf8');
        this.emitFile({ type: 'asset', fileName: 'LICENSE-zod', source });
      },
    },
  ],
  output: { dir: 'dist', cleanDir: true, chunkFileNames: '[name].js', sourcemap: true },
});
