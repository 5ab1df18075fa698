import { createHash } from 'node:crypto';
import { open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { hasErrorCode, messageOf, UserError } from '../errors.ts';
import { isDatasetUuid } from '../ecs/dtool/keys.ts';
import { FileLock } from '../file-lock.ts';
import { assertOurDirectory, makePrivateDirectory } from '../private-files.ts';

/**
 * What has to survive a crash: how far a freeze has come.
 *
 * - `sealing`: of a staged folder; nothing is in the bucket yet
 * - `uploading`: the uuid is drawn, anything may be in the bucket but the commit
 * - `committing`: all items are, and the commit may be
 * - `frozen`: it is; kept, so that freezing an unchanged directory once more is seen to be done
 * - `failed`: as `uploading`, or `sealing` where there is no uuid, and the user was told the reason
 */
const entrySchema = z.object({
  version: z.literal(1),
  state: z.enum(['sealing', 'uploading', 'committing', 'frozen', 'failed']),
  directory: z.string(),
  endpoint: z.string(),
  bucket: z.string(),
  /** Drawn once, before the first object is put. */
  uuid: z.string().refine(isDatasetUuid).optional(),
  name: z.string().optional(),
  /** Seconds since the epoch. */
  createdAt: z.number(),
  /** Seconds since the epoch; from `committing` on. */
  frozenAt: z.number().optional(),
  /** See `contentDigest`; from `committing` on. */
  content: z.string().optional(),
  /** Of a dataset whose uuid others may freeze: see `freeze-mark.ts`. */
  mark: z.string().optional(),
  /** Whether a staged folder stays when it is frozen. */
  keep: z.boolean().optional(),
  /** Patterns of items that are left out. */
  ignore: z.array(z.string()).readonly().optional(),
  /** Of a failure, as the user was told. */
  reason: z.string().optional(),
  advice: z.string().optional(),
});
export type JournalEntry = z.infer<typeof entrySchema>;

/** What a freeze is known by. */
export interface JournalSubject {
  /** Absolute and free of symbolic links. */
  readonly directory: string;
  readonly endpoint: string;
  readonly bucket: string;
}

/**
 * The journal of the freezes of one directory into one bucket: a small JSON file, replaced as a whole and on disk when
 * a write resolves.
 */
export class FreezeJournal {
  /** For people: a file to look at. */
  readonly path: string;
  /** File that remembers uploads in parts which are not completed. */
  readonly uploadsPath: string;
  readonly #folder: string;
  readonly #lockPath: string;

  /** @param folder is made with mode 0700 where it is missing */
  constructor(folder: string, { directory, endpoint, bucket }: JournalSubject) {
    const id = createHash('sha256')
      .update(JSON.stringify([endpoint, bucket, directory]))
      .digest('hex');
    this.#folder = folder;
    this.path = join(folder, `${id.slice(0, 16)}.json`);
    this.uploadsPath = join(folder, `${id.slice(0, 16)}.uploads`);
    this.#lockPath = join(folder, `${id.slice(0, 16)}.lock`);
  }

  /**
   * @returns undefined when there is none
   * @throws UserError when it can't be read, or others may have put it there
   */
  async read(): Promise<JournalEntry | undefined> {
    if (!(await isOurFolder(this.#folder))) return undefined;
    return readEntry(this.path);
  }

  async write(entry: JournalEntry): Promise<void> {
    const temporary = `${this.path}.new`;
    await makePrivateDirectory(this.#folder);
    await rm(temporary, { force: true });
    await this.#sync(temporary, 'wx', `${JSON.stringify(entry, null, 2)}\n`);
    await rename(temporary, this.path);
    await this.#sync(this.#folder, 'r');
  }

  /** With what is remembered of uploads. */
  async remove(): Promise<void> {
    await rm(this.uploadsPath, { force: true });
    await rm(this.path, { force: true });
    await this.#sync(this.#folder, 'r');
  }

  /**
   * Makes this process the only one that freezes the directory into the bucket, until it releases the lock or ends; see
   * {@link FileLock}.
   *
   * @throws UserError that names the process that has it, or what keeps us from asking
   */
  async lock(): Promise<{ release(): Promise<void> }> {
    await makePrivateDirectory(this.#folder);
    const holder: Holder = { pid: process.pid, host: hostname() };
    const advice = 'give a directory on another one with XDG_STATE_HOME.';
    const lock = await FileLock.take(this.#lockPath, JSON.stringify(holder), advice);
    if (lock instanceof FileLock) return { release: async () => lock.remove() };
    throw new UserError(
      `${describeHolder(lock.heldBy)} is freezing this directory already`,
      'Wait until it has ended, or end it and start again: nothing is uploaded twice.',
    );
  }

  async #sync(path: string, flags: string, content?: string): Promise<void> {
    await using file = await open(path, flags, 0o600);
    if (content !== undefined) await file.writeFile(content);
    await file.sync();
  }
}

/**
 * The journals of all freezes of this user, in no order. One that can't be read is told of and left out.
 *
 * @param folder as for {@link FreezeJournal}
 */
export async function readJournals(
  folder: string,
  onProblem: (error: unknown) => void,
): Promise<readonly JournalEntry[]> {
  let names: readonly string[] = [];
  try {
    if (await isOurFolder(folder)) names = await readdir(folder);
  } catch (error) {
    onProblem(error);
  }
  const read = names
    .filter((name) => name.endsWith('.json'))
    .map(async (name) =>
      readEntry(join(folder, name)).catch((error: unknown) => {
        onProblem(error);
        return undefined;
      }),
    );
  return (await Promise.all(read)).filter((entry) => entry !== undefined);
}

/** @returns false where there is none */
async function isOurFolder(folder: string): Promise<boolean> {
  try {
    await assertOurDirectory(folder);
    return true;
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT')) return false;
    throw error;
  }
}

async function readEntry(path: string): Promise<JournalEntry | undefined> {
  try {
    return entrySchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    if (hasErrorCode(cause, 'ENOENT')) return undefined;
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause);
    throw new UserError(
      `the journal ${path} of an earlier freeze can't be read: ${reason}`,
      'Remove it to start anew; what that freeze has left in the bucket stays there.',
      { cause },
    );
  }
}

const holderSchema = z.object({ pid: z.number(), host: z.string() });
type Holder = z.infer<typeof holderSchema>;

/** @param words of the lock's file; a process that has just taken it has not written any yet */
function describeHolder(words: string): string {
  try {
    const { pid, host } = holderSchema.parse(JSON.parse(words));
    return host === hostname() ? `process ${pid}` : `process ${pid} on ${host}`;
  } catch {
    return 'another process';
  }
}
