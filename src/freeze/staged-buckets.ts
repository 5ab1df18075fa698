import { messageOf, UserError } from '../errors.ts';
import type { StagedFolder, StagedFreezeOptions, StagedFreezes } from './staged-freezes.ts';
import type { StagedState } from './staged-state.ts';
import type { StagedResult } from './staged-result.ts';
import type { DatasetUuid } from '../ecs/dtool/keys.ts';
import { FreezeJournal, readJournals } from './journal.ts';
import type { FreezeProgress } from './progress.ts';

/** The staged folders of one bucket, and its freezes. */
export interface StagedBucket {
  readonly freezes: StagedFreezes;
  /** The staging area: absolute and free of symbolic links; undefined where there is none. */
  readonly area: string | undefined;
  /** All that there are now. */
  folders(): readonly StagedFolder[];
}

/** A staged folder, for `status`. Plain data that survives JSON. */
export type StagedStatus = { readonly bucket: string; readonly name: string } & StagedState;

/** A freeze of a directory that is in no staging area, or is no more, and that has not come to its end. */
export interface UnfinishedFreeze {
  readonly bucket: string;
  readonly directory: string;
  readonly uuid: string;
  readonly reason: string;
}

/** The staged folders of all buckets of a mount: what commands ask of it. */
export class StagedBuckets {
  readonly #buckets: ReadonlyMap<string, StagedBucket>;
  readonly #journals: string;

  /**
   * @param buckets by name; it may grow
   * @param journals directory of the journals
   */
  constructor(buckets: ReadonlyMap<string, StagedBucket>, journals: string) {
    this.#buckets = buckets;
    this.#journals = journals;
  }

  /**
   * As {@link StagedFreezes.freeze}.
   *
   * @throws UserError when there is no such folder
   */
  async freeze(
    bucket: string,
    folder: string,
    options: StagedFreezeOptions,
    onProgress: (progress: FreezeProgress) => void,
  ): Promise<StagedResult> {
    const { freezes, found } = this.#find(bucket, folder);
    return freezes.freeze(found, options, onProgress);
  }

  /**
   * As {@link StagedFreezes.discard}.
   *
   * @throws UserError when there is no such folder
   */
  async discard(bucket: string, folder: string): Promise<DatasetUuid | undefined> {
    const { freezes, found } = this.#find(bucket, folder);
    return freezes.discard(found);
  }

  /**
   * Looks after what was under way when an earlier mount ended: see {@link StagedFreezes.recover}. Goes on after it has
   * resolved.
   *
   * @param names of buckets; default: all
   */
  async recover(names: Iterable<string> = this.#buckets.keys()): Promise<void> {
    for (const name of names) {
      const bucket = this.#buckets.get(name);
      await Promise.all(bucket?.folders().map(async (folder) => bucket.freezes.recover(folder)) ?? []);
    }
    await this.#dropJournals();
  }

  /** Drops the journals of folders that are frozen and removed: a freeze that was killed before its very last step left one. */
  async #dropJournals(): Promise<void> {
    for (const entry of await readJournals(this.#journals, () => {})) {
      const { state, directory, bucket } = entry;
      const staged = this.#buckets.get(bucket);
      if (state !== 'frozen' || staged?.area === undefined || !directory.startsWith(`${staged.area}/`))
        continue;
      if (staged.folders().some(({ path }) => path === directory)) continue;
      await new FreezeJournal(this.#journals, entry).remove();
    }
  }

  /** Ends all freezes so that they can be gone on with. */
  async stop(): Promise<void> {
    await Promise.all(Array.from(this.#buckets.values(), async ({ freezes }) => freezes.stop()));
  }

  async status(): Promise<{
    readonly staging: readonly StagedStatus[];
    readonly unfinished: readonly UnfinishedFreeze[];
  }> {
    const staging: StagedStatus[] = [];
    const staged = new Set<string>();
    for (const [name, bucket] of this.#buckets) {
      for (const folder of bucket.folders()) {
        staged.add(folder.path);
        staging.push({ bucket: name, name: folder.name, ...(await stateOrProblem(bucket.freezes, folder)) });
      }
    }
    const entries = await readJournals(this.#journals, () => {});
    const unfinished = entries.flatMap(({ bucket, directory, uuid, state, reason = 'it was interrupted' }) =>
      state !== 'frozen' && uuid !== undefined && this.#buckets.has(bucket) && !staged.has(directory)
        ? [{ bucket, directory, uuid, reason }]
        : [],
    );
    return { staging, unfinished };
  }

  #find(bucket: string, folder: string): { readonly freezes: StagedFreezes; readonly found: StagedFolder } {
    const staged = this.#buckets.get(bucket);
    const found = staged?.folders().find(({ name }) => name === folder);
    if (!staged || !found) {
      throw new UserError(
        `there is no staged folder ${folder} for bucket ${bucket}`,
        'ls staging/ shows them.',
      );
    }
    return { freezes: staged.freezes, found };
  }
}

async function stateOrProblem(freezes: StagedFreezes, folder: StagedFolder): Promise<StagedState> {
  try {
    return await freezes.state(folder);
  } catch (error) {
    const advice = error instanceof UserError ? error.advice : undefined;
    return { state: 'failed', reason: messageOf(error), advice, uuid: undefined };
  }
}
