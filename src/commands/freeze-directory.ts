import { setFlagsFromString } from 'node:v8';
import { systemClock } from '../clock.ts';
import { Config, plainHttpWarning } from '../config.ts';
import { REGISTRATION_PREFIX } from '../ecs/dtool/keys.ts';
import { StoreError } from '../ecs/object-store.ts';
import { adviceFor } from '../ecs/store-advice.ts';
import { isAbort, UserError } from '../errors.ts';
import { ThreadedFileHasher } from '../freeze/file-hasher.ts';
import { freeze } from '../freeze/freeze.ts';
import { freezeUserOf } from '../freeze/freeze-user.ts';
import { FreezeRefused } from '../freeze/problems.ts';
import { refusedResult } from '../freeze/staged-result.ts';
import { homeWarning, journalDirectory } from '../state-directory.ts';
import { openCommandBucket } from './command-bucket.ts';
import type { FreezeCommandOptions } from './freeze.ts';
import { showProgress } from './freeze-progress.ts';
import { reportFreeze } from './freeze-report.ts';
import { printError } from './terminal.ts';

type LocalOptions = FreezeCommandOptions & { readonly bucket: string };

/**
 * Makes a dataset of any directory. SIGINT and SIGTERM stop it so that the next call goes on from there; a second one
 * ends the process at once, which does no harm either.
 *
 * @throws UserError that says what is wrong and what to do
 */
export async function freezeDirectory(directory: string, options: LocalOptions): Promise<void> {
  // V8 would rather let the remains of many small requests pile up than collect them: twice the memory.
  setFlagsFromString('--optimize-for-size');
  const config = await Config.load();
  const bucket = openCommandBucket(options.bucket, config);
  const insecure = plainHttpWarning(bucket.config);
  for (const warning of [insecure, homeWarning()]) if (warning !== undefined) printError(warning);
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  const hasher = new ThreadedFileHasher();
  const progress = showProgress(systemClock);
  try {
    await bucket.check(REGISTRATION_PREFIX);
    const result = await freeze({
      directory,
      name: options.name,
      dryRun: options.dryRun,
      ignore: options.ignore,
      store: bucket.store,
      endpoint: bucket.config.endpoint,
      writePrefix: bucket.config.writePrefix,
      journals: journalDirectory(),
      user: freezeUserOf(config),
      hasher,
      clock: systemClock,
      signal: stop.signal,
      onProgress: progress.update,
    });
    progress.end();
    reportFreeze(result, options.bucket, options.json);
  } catch (error) {
    progress.end();
    if (!(error instanceof FreezeRefused)) throw explain(error, directory, options);
    reportFreeze(refusedResult(error), options.bucket, options.json);
  } finally {
    await hasher.close();
    bucket.close();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

function explain(error: unknown, directory: string, { bucket }: LocalOptions): unknown {
  if (isAbort(error)) {
    return new UserError(
      `freezing ${directory} was stopped before its end; what is uploaded stays in bucket ${bucket}`,
      'The same command again goes on from there.',
      { cause: error },
    );
  }
  if (error instanceof StoreError) {
    return new UserError(
      `freezing ${directory} did not come to its end: ${error.message}`,
      `${adviceFor(error.reason, bucket) ?? ''} The same command again goes on from there.`.trim(),
      { cause: error },
    );
  }
  return error;
}
