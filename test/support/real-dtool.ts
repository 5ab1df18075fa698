import { dirname, join } from 'node:path';
import type { CommandResult, User } from './mounted.ts';

/** A Python that has dtool-cli, dtool-create, dtool-info and dtool-ecs, with their commands beside it. */
export const PYTHON = process.env['DTOOL_ECS_TEST_PYTHON'];
if (PYTHON === undefined)
  process.stderr.write('SKIPPED: freeze against the real dtool, because DTOOL_ECS_TEST_PYTHON is not set\n');

/** Pythons with dtool-ecs 0.5.0, by the version of dtool-s3 beside it: see `.ci/real-dtool.sh`. */
export const PYTHONS: ReadonlyMap<string, string> = new Map(
  ['0.10.0', '0.14.0', '0.14.1'].flatMap((version) => {
    const python = process.env[`DTOOL_ECS_TEST_PYTHON_${version.replaceAll('.', '_')}`];
    return python === undefined ? [] : [[version, python] as const];
  }),
);

/** Runs a command of the real dtool; fails the test when that fails. */
export async function dtool(user: User, ...args: readonly string[]): Promise<string> {
  return dtoolOf(PYTHON ?? '', user, ...args);
}

/** As {@link dtool}, with the one that is beside a Python. */
export async function dtoolOf(python: string, user: User, ...args: readonly string[]): Promise<string> {
  const command = join(dirname(python), 'dtool');
  const result: CommandResult = await user.exec('env', 'PYTHONWARNINGS=ignore', command, ...args);
  if (result.exitCode !== 0)
    throw new Error(
      `dtool ${args.join(' ')}: exit code ${result.exitCode}: ${result.stdout}${result.stderr}`,
    );
  return result.stdout;
}
