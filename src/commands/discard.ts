import { createInterface } from 'node:readline/promises';
import { Config } from '../config.ts';
import { askMount } from '../control.ts';
import type { BucketStore } from '../ecs/bucket-store.ts';
import { type DatasetUuid, isDatasetUuid, REGISTRATION_PREFIX } from '../ecs/dtool/keys.ts';
import { UserError } from '../errors.ts';
import { discardDataset, findRemains } from '../freeze/discard.ts';
import { FreezeJournal, type JournalEntry, readJournals } from '../freeze/journal.ts';
import { journalDirectory } from '../state-directory.ts';
import { openCommandBucket } from './command-bucket.ts';
import { runningMounts } from './running-mounts.ts';
import { findStaged, type StagedTarget } from './staged-path.ts';
import { formatBytes, print, printable, printError, printJson } from './terminal.ts';

export interface DiscardCommandOptions {
  readonly bucket?: string;
  readonly yes: boolean;
  readonly json: boolean;
}

const COMMITTED =
  ' A freeze has committed it meanwhile: that freeze keeps its folder and tells so. Freeze that again to have the dataset.';

type WrongUsage = (message: string) => never;

/**
 * Gives up a staged folder, with what its freeze has left in the bucket, or removes what a freeze that was not finished
 * has left there. What is frozen is never touched. Asks first.
 *
 * @param wrongUsage ends the command with the message
 * @throws UserError that says what is wrong and what to do
 */
export async function discardCommand(
  target: string,
  options: DiscardCommandOptions,
  wrongUsage: WrongUsage,
): Promise<void> {
  const [, uriBucket, uriUuid] = /^(?:ecs|s3):\/\/([^/]+)\/([^/]+)\/?$/.exec(target) ?? [];
  const uuid = uriUuid ?? target;
  if (isDatasetUuid(uuid)) return discardUuid(uuid, options.bucket ?? uriBucket, options, wrongUsage);
  const staged = await findStaged(target);
  if (!staged) return wrongUsage(`error: ${target} is neither a folder in staging/ of a mount nor a uuid`);
  return discardStaged(staged, target, options, wrongUsage);
}

async function discardStaged(
  { mount, bucket, folder }: StagedTarget,
  path: string,
  options: DiscardCommandOptions,
  wrongUsage: WrongUsage,
): Promise<void> {
  const known = mount.staging.find((one) => one.bucket === bucket && one.name === folder);
  if (!known) throw new UserError(`there is no staged folder ${path}`);
  const uuid = 'uuid' in known ? known.uuid : undefined;
  const left = uuid === undefined || known.state === 'frozen' ? '' : `, and ${uuid} in bucket ${bucket}`;
  await confirm(`Remove ${path} with all that is in it${left}?`, options, wrongUsage);
  await askMount(mount.mountpoint, { command: 'discard', args: { bucket, folder }, onProgress: () => {} });
  if (options.json) printJson({ bucket, folder, uuid: uuid ?? null });
  else print(`${printable(path)} is gone${left}.`);
}

async function discardUuid(
  uuid: DatasetUuid,
  givenBucket: string | undefined,
  options: DiscardCommandOptions,
  wrongUsage: WrongUsage,
): Promise<void> {
  await refuseStaged(uuid);
  const journals = (await readJournals(journalDirectory(), printError)).filter(
    (entry) => entry.uuid === uuid,
  );
  const [first] = journals;
  const name = givenBucket ?? first?.bucket;
  if (name === undefined)
    return wrongUsage(`error: no freeze here has begun ${uuid}; say where it is with --bucket <name>`);
  const bucket = openCommandBucket(name, await Config.load());
  try {
    await bucket.check(REGISTRATION_PREFIX);
    const mine = journals.filter(
      (entry) => entry.bucket === name && entry.endpoint === bucket.config.endpoint,
    );
    await removeRemains(bucket, uuid, mine, options, wrongUsage);
  } finally {
    bucket.close();
  }
}

async function removeRemains(
  { store, config: { writePrefix } }: BucketStore,
  uuid: DatasetUuid,
  journals: readonly JournalEntry[],
  options: DiscardCommandOptions,
  wrongUsage: WrongUsage,
): Promise<void> {
  const { bucket } = store;
  const remains = await findRemains(store, uuid, { writePrefix });
  if (!remains && journals.length === 0)
    throw new UserError(
      `bucket ${bucket} has no dataset ${uuid}`,
      `"dtool-ecs-mount ls ${bucket}" lists them.`,
    );
  const objects = remains ? remains.objects + 1 : 0;
  const called = remains?.admin
    ? ` (${remains.admin.name}, by ${remains.admin.creatorUsername ?? 'nobody known'})`
    : '';
  const what = `${objects} objects, ${formatBytes(remains?.bytes ?? 0)}, of ${uuid}${called}`;
  await confirm(`Remove ${what} from bucket ${bucket}? It was never frozen.`, options, wrongUsage);
  const locks = await Promise.all(journals.map(async (entry) => journalOf(entry).lock()));
  try {
    const { removed, wasCommitted } = await discardDataset(store, uuid, { writePrefix });
    for (const entry of journals) await journalOf(entry).remove();
    if (options.json) printJson({ bucket, uuid, removedObjects: removed, wasCommitted });
    else
      print(`${removed} objects of ${uuid} are gone from bucket ${bucket}.${wasCommitted ? COMMITTED : ''}`);
  } finally {
    for (const lock of locks) await lock.release();
  }
}

function journalOf(entry: JournalEntry): FreezeJournal {
  return new FreezeJournal(journalDirectory(), entry);
}

async function refuseStaged(uuid: DatasetUuid): Promise<void> {
  const mounts = await runningMounts((silent) => {
    // It may be the one that freezes it.
    throw silent;
  });
  for (const { mountpoint, bucketDirectories, staging } of mounts) {
    const staged = staging.find((one) => 'uuid' in one && one.uuid === uuid && one.state !== 'frozen');
    if (!staged) continue;
    const path = [mountpoint, ...(bucketDirectories ? [staged.bucket] : []), 'staging', staged.name].join(
      '/',
    );
    throw new UserError(
      `${uuid} is what ${path} becomes`,
      `"dtool-ecs-mount discard ${path}" gives both up.`,
    );
  }
}

async function confirm(
  question: string,
  { yes }: DiscardCommandOptions,
  wrongUsage: WrongUsage,
): Promise<void> {
  if (yes) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    wrongUsage(`error: ${printable(question)} There is no terminal to ask on: --yes says so`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${printable(question)} [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new UserError('nothing was removed');
  } finally {
    terminal.close();
  }
}
