import { stat } from 'node:fs/promises';
import { Config } from '../../config.ts';
import { messageOf, UserError } from '../../errors.ts';
import { type Check, type Finding, findingsOf } from './finding.ts';

const { ok, warn, fail } = findingsOf('configuration');

/** Whether dtool's configuration can be read, is private, and names a bucket. */
export async function* checkConfiguration(): AsyncGenerator<Finding, Config | undefined, undefined> {
  let config: Config;
  try {
    config = await Config.load();
  } catch (error) {
    yield fail(messageOf(error), error instanceof UserError ? error.advice : undefined);
    return undefined;
  }
  yield* checkFile(config.file);
  const buckets = config.configuredBuckets();
  yield buckets.length > 0
    ? ok(
        `${buckets.length === 1 ? 'one bucket is' : `${buckets.length} buckets are`} configured: ${buckets.join(', ')}`,
      )
    : fail(
        'no bucket is configured',
        `Set DTOOL_ECS_ENDPOINT_<bucket> and its keys in the environment or in ${config.file}.`,
      );
  return config;
}

async function* checkFile(path: string): Check {
  const found = await stat(path).catch(() => undefined);
  if (!found) yield ok(`${path} is not there: the environment is all there is`);
  else if ((found.mode & 0o077) === 0) yield ok(`${path} can be read by you alone`);
  else {
    const mode = (found.mode & 0o777).toString(8).padStart(4, '0');
    yield warn(`others may read ${path} (mode ${mode})`, `It has secret keys: chmod 600 ${path}`);
  }
}
