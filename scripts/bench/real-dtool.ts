import { dirname, join } from 'node:path';
import type { BenchBucket } from './bench-bucket.ts';
import { numbersOf } from './programs.ts';
import type { Figure } from './row.ts';
import type { World } from './world.ts';

const WRITE = `
import dtoolcore, os, sys
folder, base = sys.argv[1:]
dataset = dtoolcore.create_proto_dataset('frozen', base, '', 'bench')
for path, _, names in os.walk(folder):
    for name in names:
        file = os.path.join(path, name)
        dataset.put_item(file, os.path.relpath(file, folder))
dataset.freeze()
print('{}')
`;

/** What `dtool ls` does, but for the creators, whom it does not find in Ceph, which changes names of metadata. */
const LIST = `
import dtoolcore, sys
base = sys.argv[1]
uris = dtoolcore._get_storage_broker(base, None).list_dataset_uris(base, None)
names = [dtoolcore._admin_metadata_from_uri(uri, None)['name'] for uri in uris]
assert len(names) == int(sys.argv[2]), names
`;

/** It takes minutes, and by how many times is what the targets are about. */
const PATIENCE = { longestSeconds: 900 };

/** The real dtool, as whole processes. */
class RealDtool {
  readonly #python: string;

  constructor(python: string) {
    this.#python = python;
  }

  /** Lists a bucket of so many datasets. @returns the seconds that it took */
  async list(world: World, bucket: BenchBucket, isSlow: boolean, count: number): Promise<Figure> {
    const args = [`ecs://${bucket.name}/`, String(count)];
    return world.command(bucket, { isSlow, ...PATIENCE }, this.#python, '-c', LIST, ...args);
  }

  /** Copies a dataset into a bucket that has the files of a directory. @returns the seconds that it took */
  async copy(world: World, bucket: BenchBucket, isSlow: boolean, folder: string): Promise<Figure> {
    const dataset = await world.once(`dataset of ${folder}`, async () => {
      const base = world.newDirectory();
      const env = { ...process.env, PYTHONWARNINGS: 'ignore' };
      await numbersOf(env, this.#python, '-c', WRITE, folder, base);
      return join(base, 'frozen');
    });
    const dtool = join(dirname(this.#python), 'dtool');
    return world.command(bucket, { isSlow, ...PATIENCE }, dtool, 'cp', dataset, `ecs://${bucket.name}`);
  }
}

const PYTHON = process.env['DTOOL_ECS_TEST_PYTHON_0_10_0'];

/**
 * Where the environment says which Python has it (see `.ci/real-dtool.sh`): with dtool-s3 0.10.0, as those from 0.14 on can't
 * list a bucket for dtool-ecs.
 */
export const DTOOL = PYTHON === undefined ? undefined : new RealDtool(PYTHON);
