import { dirname, join } from 'node:path';
import type { CommandResult, User } from './mounted.ts';

/** A Python that has dtool-cli, dtool-create, dtool-info and dtool-ecs, with their commands beside it. */
export const PYTHON = process.env['DTOOL_ECS_TEST_PYTHON'];
if (PYTHON === undefined)
  process.stderr.write('SKIPPED: freeze against the real dtool, because DTOOL_ECS_TEST_PYTHON is not set\n');

/** Runs a command of the real dtool; fails the test when that fails. */
export async function dtool(user: User, ...args: readonly string[]): Promise<string> {
  const command = join(dirname(PYTHON ?? ''), 'dtool');
  const result: CommandResult = await user.exec('env', 'PYTHONWARNINGS=ignore', command, ...args);
  if (result.exitCode !== 0)
    throw new Error(
      `dtool ${args.join(' ')}: exit code ${result.exitCode}: ${result.stdout}${result.stderr}`,
    );
  return result.stdout;
}
