import { randomUUID } from 'node:crypto';
import { type Config, plainHttpWarning } from '../../config.ts';
import type { BucketStore } from '../../ecs/bucket-store.ts';
import { DatasetReader } from '../../ecs/dtool/dataset-reader.ts';
import { type Problem, problemFrom } from '../../ecs/dtool/format-error.ts';
import { REGISTRATION_PREFIX } from '../../ecs/dtool/keys.ts';
import { type DatasetEntry, readAdminMetadata, readRegistry } from '../../ecs/dtool/registry.ts';
import { findStuckFreeze, healStuckFreeze } from '../../ecs/dtool/stuck-freeze.ts';
import { StoreError } from '../../ecs/object-store.ts';
import { toStoreError } from '../../ecs/s3-errors.ts';
import { adviceFor } from '../../ecs/store-advice.ts';
import { messageOf, UserError } from '../../errors.ts';
import { forEachBounded } from '../../for-each-bounded.ts';
import { CONNECT_TIMEOUT_MS, LISTING_READS_MAX } from '../../limits.ts';
import { openCommandBucket } from '../command-bucket.ts';
import { type Check, type Finding, findingsOf } from './finding.ts';

/** S3 refuses requests from clocks that are off by more ("RequestTimeTooSkewed"); from the other on it is told. */
const CLOCK_SKEW_MAX_SECONDS = 900;
const CLOCK_SKEW_WARN_SECONDS = 60;
/** Problems of a bucket that are told one by one. */
const PROBLEMS_TOLD_MAX = 20;

export interface BucketCheckOptions {
  /** Whether to write an object, and remove it. */
  readonly write: boolean;
  /** Whether to mend proto datasets that dtool can't freeze. */
  readonly fix: boolean;
}

/** Whether a bucket can be used with the keys at hand, and whether its datasets can. */
export async function* checkBucket(config: Config, name: string, options: BucketCheckOptions): Check {
  const { ok, warn, fail } = findingsOf(`bucket ${name}`);
  let bucket: BucketStore;
  try {
    bucket = openCommandBucket(name, config);
  } catch (error) {
    yield failure(fail, error);
    return;
  }
  try {
    const insecure = plainHttpWarning(bucket.config);
    if (insecure !== undefined) yield warn(insecure, 'Use https where the store has it.');
    if (!(yield* checkEndpoint(bucket))) return;
    try {
      await bucket.check(REGISTRATION_PREFIX);
      yield ok('the keys are accepted, and the bucket can be listed');
    } catch (error) {
      yield failure(fail, error);
      return;
    }
    if (options.write) yield await checkWriting(bucket);
    yield* checkDatasets(bucket, options.fix);
  } finally {
    bucket.close();
  }
}

/** @returns whether somebody answers there */
async function* checkEndpoint({
  config: { bucket, endpoint },
}: BucketStore): AsyncGenerator<Finding, boolean, undefined> {
  const { ok, warn, fail } = findingsOf(`bucket ${bucket}`);
  let date: string | null;
  try {
    const answer = await fetch(endpoint, {
      method: 'HEAD',
      redirect: 'manual',
      signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS),
    });
    date = answer.headers.get('date');
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    const failed = toStoreError(cause, { bucket, key: '' });
    yield fail(
      `${endpoint} does not answer: ${messageOf(cause) || 'no connection'}`,
      (failed instanceof StoreError && adviceFor(failed.reason, bucket)) || adviceFor('unreachable', bucket),
    );
    return false;
  }
  yield ok(`${endpoint} answers`);
  const skew = date === null ? Number.NaN : Math.round((Date.now() - Date.parse(date)) / 1000);
  if (Number.isNaN(skew)) return true;
  const how = `the clock of this computer is ${Math.abs(skew)} s ${skew < 0 ? 'behind' : 'ahead of'} the store's`;
  if (Math.abs(skew) > CLOCK_SKEW_MAX_SECONDS) yield fail(how, adviceFor('clock-skew', bucket));
  else if (Math.abs(skew) > CLOCK_SKEW_WARN_SECONDS) yield warn(how, adviceFor('clock-skew', bucket));
  else yield ok("this computer's clock agrees with the store's");
  return true;
}

/** Writes where datasets of this user go. The key does not start with `dtool`, which would confuse other clients. */
async function checkWriting({ store, config: { bucket, writePrefix } }: BucketStore): Promise<Finding> {
  const { ok, fail } = findingsOf(`bucket ${bucket}`);
  const key = `${writePrefix}doctor-of-dtool-ecs-mount-${randomUUID()}`;
  const where = writePrefix === '' ? 'at the top of the bucket' : `below ${writePrefix}`;
  try {
    await store.put(key, Buffer.from('A test whether this can be written; it may be removed.\n'));
  } catch (error) {
    return fail(
      `nothing can be written ${where}: ${messageOf(error)}`,
      `Ask for s3:PutObject there, or set DTOOL_ECS_DATASET_PREFIX_${bucket} to a place where you have it.`,
    );
  }
  try {
    await store.delete(key);
    return ok(`objects can be written and removed ${where}`);
  } catch (error) {
    return fail(
      `${key} was written but can't be removed: ${messageOf(error)}`,
      'Ask for s3:DeleteObject there.',
    );
  }
}

async function* checkDatasets({ store, config }: BucketStore, fix: boolean): Check {
  const { ok, warn, fail } = findingsOf(`bucket ${store.bucket}`);
  const stuck: { readonly entry: DatasetEntry; readonly reason: string; readonly healable: boolean }[] = [];
  const problems: Problem[] = [];
  let frozen = 0;
  let open = 0;
  try {
    const registry = await readRegistry(store, { likelyPrefix: config.prefix });
    problems.push(...registry.problems);
    await forEachBounded(registry.datasets, LISTING_READS_MAX, async (entry, signal) => {
      const reader = new DatasetReader(store, entry);
      try {
        if (entry.admin.type === 'dataset') {
          await reader.manifest(signal);
          frozen += 1;
          return;
        }
        open += 1;
        const read = await reader.protoItems(signal);
        problems.push(...read.problems);
        const found = await findStuckFreeze(store, entry.keyPrefix, read.items, signal);
        if (found) stuck.push({ entry, ...found });
      } catch (error) {
        problems.push(problemFrom(error));
      }
    });
  } catch (error) {
    yield failure(fail, error);
    return;
  }
  yield ok(`${frozen} frozen datasets can be read, and ${open} are not frozen`);
  for (const { key, reason } of problems.slice(0, PROBLEMS_TOLD_MAX)) yield warn(`${key}: ${reason}`);
  if (problems.length > PROBLEMS_TOLD_MAX)
    yield warn(`and ${problems.length - PROBLEMS_TOLD_MAX} more problems`);
  for (const { entry, reason, healable } of stuck) {
    const text = `${entry.admin.name} (${entry.uuid}) can't be frozen by dtool: ${reason}`;
    if (!healable || !fix) {
      yield fail(text, healable ? 'Only that field is changed, and items stay as they are.' : undefined);
      continue;
    }
    try {
      if ((await readAdminMetadata(store, entry.keyPrefix)).admin.type !== 'protodataset')
        throw new UserError('it has been frozen meanwhile');
      await healStuckFreeze(store, entry);
      yield ok(`${entry.admin.name} (${entry.uuid}) can be frozen by dtool again`);
    } catch (error) {
      yield fail(`${entry.admin.name} (${entry.uuid}) could not be mended: ${messageOf(error)}`);
    }
  }
}

function failure(fail: ReturnType<typeof findingsOf>['fail'], error: unknown): Finding {
  const advice =
    error instanceof UserError
      ? error.advice
      : error instanceof StoreError
        ? adviceFor(error.reason, error.bucket)
        : undefined;
  return fail(messageOf(error), advice);
}
