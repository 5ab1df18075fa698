import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { systemClock } from '../clock.ts';
import { Config } from '../config.ts';
import { openBucketStore } from '../ecs/bucket-store.ts';
import { REGISTRATION_PREFIX } from '../ecs/dtool/keys.ts';
import { RequestLimiter } from '../ecs/limiting-object-store.ts';
import { StoreCounters } from '../ecs/store-counters.ts';
import { StoreError } from '../ecs/object-store.ts';
import { adviceFor } from '../ecs/store-advice.ts';
import { isAbort, UserError } from '../errors.ts';
import { ThreadedFileHasher } from '../freeze/file-hasher.ts';
import { freeze, type FreezeResult } from '../freeze/freeze.ts';
import { type FreezeProblem, FreezeRefused } from '../freeze/problems.ts';
import { silentLogger } from '../log.ts';
import { showProgress } from './freeze-progress.ts';
import { formatBytes, print, printable, printJson } from './terminal.ts';

export interface FreezeCommandOptions {
  readonly bucket: string;
  readonly name?: string;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** Problems that are printed one by one; `--json` has more. */
const PROBLEMS_PRINTED = 100;

/**
 * Makes a dataset of a directory. SIGINT and SIGTERM stop it so that the next call goes on from there; a second one
 * ends the process at once, which does no harm either.
 *
 * @throws UserError that says what is wrong and what to do
 */
export async function freezeCommand(directory: string, options: FreezeCommandOptions): Promise<void> {
  // V8 would rather let the remains of many small requests pile up than collect them: twice the memory.
  setFlagsFromString('--optimize-for-size');
  const config = new Config();
  const bucket = openBucketStore(options.bucket, {
    config,
    clock: systemClock,
    log: silentLogger,
    limiter: new RequestLimiter(),
    counters: new StoreCounters(),
  });
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
      store: bucket.store,
      endpoint: bucket.config.endpoint,
      writePrefix: bucket.config.writePrefix,
      journals: join(
        process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'),
        'dtool-ecs-mount',
        'freeze',
      ),
      user: {
        username: username(),
        fullName: config.userFullName,
        email: config.userEmail,
        readmeTemplatePath: config.readmeTemplatePath,
      },
      hasher,
      clock: systemClock,
      signal: stop.signal,
      onProgress: progress.update,
    });
    progress.end();
    report(result, options);
  } catch (error) {
    progress.end();
    throw explain(error, directory, options);
  } finally {
    await hasher.close();
    bucket.close();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

/** As Python's getpass.getuser finds it, and with it dtool. */
function username(): string {
  for (const name of ['LOGNAME', 'USER', 'LNAME', 'USERNAME']) {
    const value = process.env[name];
    if (value) return value;
  }
  return userInfo().username;
}

function report(result: FreezeResult, { bucket, json }: FreezeCommandOptions): void {
  const { outcome, uuid, name, items, bytes, uploadedItems, resumed, warnings } = result;
  if (json) {
    return printJson({
      outcome,
      bucket,
      name,
      uuid: uuid ?? null,
      uri: uuid === undefined ? null : `ecs://${bucket}/${uuid}`,
      kind: result.kind,
      items,
      sizeInBytes: bytes,
      uploadedItems: uploadedItems ?? null,
      resumed,
      warnings,
    });
  }
  tellProblems(warnings, warnings.length);
  const what = `${name}: ${items.toLocaleString('en')} items, ${formatBytes(bytes)}`;
  const uri = `ecs://${bucket}/${uuid}`;
  if (outcome === 'already-frozen')
    return print(`${what}, was frozen before as ${uri}; nothing has changed.`);
  if (outcome === 'frozen') {
    const skipped = items - (uploadedItems ?? items);
    print(`${what}, frozen as ${uri}${skipped > 0 ? `; ${skipped} items were there already` : ''}.`);
  } else {
    const as = uuid === undefined ? 'under a new uuid' : `as ${uri}`;
    print(`${what}, would be frozen ${as}${resumed ? ', which was begun before' : ''}. Nothing is wrong.`);
  }
}

function explain(error: unknown, directory: string, { bucket, json }: FreezeCommandOptions): unknown {
  if (error instanceof FreezeRefused) {
    if (json) printJson({ outcome: 'refused', count: error.count, problems: error.problems });
    else tellProblems(error.problems, error.count);
    return error;
  }
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

function tellProblems(problems: readonly FreezeProblem[], count: number): void {
  const shown = problems.slice(0, PROBLEMS_PRINTED);
  for (const { path, reason } of shown) process.stderr.write(`${printable(path)} ${printable(reason)}\n`);
  if (count > shown.length) process.stderr.write(`… and ${count - shown.length} more\n`);
}
