import type { Logger } from '../log.ts';
import { isAbort, messageOf, UserError } from '../errors.ts';
import type { DatasetUuid } from '../ecs/dtool/keys.ts';
import { FREEZE_MEMORY_BYTES, FREEZE_PROBLEMS_LOGGED_MAX } from '../limits.ts';
import { isLost } from './committed-dataset.ts';
import { discardDataset } from './discard.ts';
import { freeze, type FreezeOptions, type FreezeResult } from './freeze.ts';
import { FreezeJournal, type JournalEntry } from './journal.ts';
import { FreezeRefused, type FreezeProblem } from './problems.ts';
import { stateOf, type StagedState } from './staged-state.ts';
import { refusedTo, type StagedResult, summaryOf, toldTo } from './staged-result.ts';
import type { FreezeProgress } from './progress.ts';

/** A folder of the staging area, as a freeze needs it. */
export interface StagedFolder {
  /** What the dataset is called unless the user says otherwise. */
  readonly name: string;
  /** Where its files are on the local disk: absolute and free of symbolic links, one folder for ever. */
  readonly path: string;
  /** Paths below the folder of the files that are open for writing, each once. */
  writers(): readonly string[];
  /** Paths below the folder of the files that may not be what programs wrote, each with the code of the error. */
  failed(): Promise<ReadonlyMap<string, string>>;
  /**
   * From now on nothing in it can be changed: who tries gets EBUSY. Resolves when the changes that are under way have
   * ended; may be repeated.
   *
   * @throws when a file is open for writing
   */
  seal(): Promise<void>;
  unseal(): void;
  /** Removes the folder with all that is in it, for good: after a crash it is there as a whole, or gone. */
  remove(): Promise<void>;
}

export interface StagedFreezeOptions {
  readonly name?: string | undefined;
  readonly dryRun?: boolean;
  readonly keepStaging?: boolean;
  /** As in {@link FreezeOptions}. */
  readonly ignore?: readonly string[] | undefined;
}

/** What the freezes of one bucket's staged folders share; as in {@link FreezeOptions}. */
export interface StagedFreezesOptions
  extends Pick<
    FreezeOptions,
    'store' | 'endpoint' | 'writePrefix' | 'journals' | 'user' | 'hasher' | 'clock' | 'partSizes' | 'onFrozen'
  > {
  /** Brings a dataset that was committed into view. */
  readonly onLanded: (uuid: DatasetUuid) => Promise<void>;
  /** Is asked for the memory of each freeze, in bytes, and returns what gives it back; default: there is enough. */
  readonly lend?: (bytes: number) => () => void;
  readonly log: Logger;
}

type Listener = (progress: FreezeProgress) => void;

/** A freeze that is under way. */
interface Run {
  /** Whether it looks after an earlier freeze and uploads nothing. */
  readonly onlyFinish: boolean;
  readonly result: Promise<StagedResult | undefined>;
  readonly stop: AbortController;
  readonly listeners: Set<Listener>;
  progress: FreezeProgress | undefined;
}

/** Freezes the staged folders of one bucket, each at most once at a time. */
export class StagedFreezes {
  readonly #options: StagedFreezesOptions;
  /** By the folder's path. */
  readonly #runs = new Map<string, Run>();
  #stopped = false;

  constructor(options: StagedFreezesOptions) {
    this.#options = options;
  }

  /**
   * Freezes a folder, or attaches to its freeze that is under way. The folder is sealed meanwhile, and gone when the
   * dataset is committed; whatever else happens, it is as it was, and the journal has the reason.
   *
   * @param onProgress hears of all that happens from now on; the freeze goes on without it
   * @throws UserError, or the stores' errors, with the reason that `state` has from then on
   */
  async freeze(
    folder: StagedFolder,
    options: StagedFreezeOptions = {},
    onProgress: Listener = () => {},
  ): Promise<StagedResult> {
    if (options.dryRun) return this.#dryRun(folder, options, onProgress);
    for (;;) {
      if (this.#stopped) throw new UserError('the mount is being unmounted', 'Freeze again when it is back.');
      const run = this.#runs.get(folder.path) ?? this.#start(folder, options, false);
      run.listeners.add(onProgress);
      if (run.progress) onProgress(run.progress);
      const result = await run.result.finally(() => run.listeners.delete(onProgress));
      if (result) return result;
    }
  }

  /**
   * Looks after a folder that a freeze was under way for when the process ended: one whose dataset was committed is
   * removed, everything else stays for the user to decide. To be called before anybody can change the folder: when it
   * resolves, a folder that may go is sealed; `done` tells when that is decided.
   */
  async recover(folder: StagedFolder): Promise<{ readonly done: Promise<void> }> {
    const warn = (error: unknown): void => {
      this.#options.log.warn({ folder: folder.name }, messageOf(error));
    };
    let entry: JournalEntry | undefined;
    try {
      entry = await this.#journal(folder).read();
    } catch (error) {
      warn(error);
    }
    // Whatever was told of its end, it may have been committed.
    const mayBeOver = entry?.content !== undefined && entry.keep !== true;
    if (!mayBeOver || this.#stopped || this.#runs.has(folder.path)) return { done: Promise.resolve() };
    try {
      await folder.seal();
    } catch (error) {
      warn(error);
      return { done: Promise.resolve() };
    }
    return { done: this.#start(folder, {}, true).result.then(() => undefined, warn) };
  }

  async state(folder: StagedFolder): Promise<StagedState> {
    const entry = await this.#journal(folder).read();
    const run = this.#runs.get(folder.path);
    if (run) {
      const state = run.progress?.phase === 'checking' ? 'sealing' : (run.progress?.phase ?? 'sealing');
      return { state, progress: run.progress, uuid: entry?.uuid };
    }
    return stateOf(entry);
  }

  /** Whether a freeze of the folder is under way. */
  isRunning(folder: StagedFolder): boolean {
    return this.#runs.has(folder.path);
  }

  /**
   * Gives a folder up: ends its freeze, and removes what that has left in the bucket, the folder, and the journal.
   *
   * @returns the uuid that was given up; undefined where the bucket had nothing of it
   * @throws UserError when the dataset is frozen: nothing is removed then
   */
  async discard(folder: StagedFolder): Promise<DatasetUuid | undefined> {
    const run = this.#runs.get(folder.path);
    run?.stop.abort(new UserError('it is discarded'));
    await run?.result.catch(() => {});
    const journal = this.#journal(folder);
    const lock = await journal.lock();
    try {
      await folder.seal();
      const entry = await journal.read();
      const uuid = entry?.uuid;
      if (uuid !== undefined && entry?.state !== 'frozen') {
        const { store, writePrefix } = this.#options;
        await discardDataset(store, uuid, { writePrefix });
      }
      await folder.remove();
      await journal.remove();
      return uuid;
    } catch (error) {
      folder.unseal();
      throw error;
    } finally {
      await lock.release();
    }
  }

  /** Ends all freezes so that a later one goes on from there, and starts no more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const runs = [...this.#runs.values()];
    for (const run of runs) run.stop.abort();
    await Promise.allSettled(runs.map(async (run) => run.result));
  }

  #start(folder: StagedFolder, options: StagedFreezeOptions, onlyFinish: boolean): Run {
    const stop = new AbortController();
    const listeners = new Set<Listener>();
    const onProgress = (progress: FreezeProgress): void => {
      run.progress = progress;
      for (const listener of listeners) listener(progress);
    };
    const result = this.#run(folder, options, onlyFinish, stop.signal, onProgress).finally(() => {
      this.#runs.delete(folder.path);
    });
    const run: Run = { onlyFinish, result, stop, listeners, progress: undefined };
    this.#runs.set(folder.path, run);
    return run;
  }

  /**
   * @param onlyFinish the folder is sealed already
   * @returns undefined when there was only to be looked after an earlier freeze, and that was not committed
   */
  async #run(
    folder: StagedFolder,
    { name, keepStaging = false, ignore }: StagedFreezeOptions,
    onlyFinish: boolean,
    signal: AbortSignal,
    onProgress: Listener,
  ): Promise<StagedResult | undefined> {
    const journal = this.#journal(folder);
    const writers = onlyFinish ? [] : folder.writers();
    const isSealed = writers.length === 0;
    try {
      if (isSealed && !onlyFinish) {
        await folder.seal();
        await this.#journalSealing(folder, journal);
      }
      const result = await this.#freeze(folder, {
        name,
        // Without the seal it can only be refused.
        dryRun: !isSealed,
        obstacles: onlyFinish ? [] : await obstaclesOf(folder, writers),
        keep: keepStaging,
        ignore,
        onlyFinish,
        signal,
        onProgress,
      });
      if (result.outcome === 'unfinished') {
        folder.unseal();
        return undefined;
      }
      const warnings = await this.#landed(folder, journal, result.uuid, keepStaging);
      return { ...result, warnings: [...result.warnings, ...warnings] };
    } catch (error) {
      if (isSealed) folder.unseal();
      if (onlyFinish && !isLost(error)) throw error;
      return await this.#failed(folder, journal, error);
    }
  }

  async #dryRun(
    folder: StagedFolder,
    { name, ignore }: StagedFreezeOptions,
    onProgress: Listener,
  ): Promise<StagedResult> {
    try {
      const { signal } = new AbortController();
      const obstacles = await obstaclesOf(folder, folder.writers());
      return await this.#freeze(folder, { name, ignore, dryRun: true, obstacles, signal, onProgress });
    } catch (error) {
      if (error instanceof FreezeRefused) return refusedTo(folder, error);
      throw error;
    }
  }

  async #freeze(
    folder: StagedFolder,
    more: Pick<FreezeOptions, 'signal' | 'obstacles' | 'onProgress'> & Partial<FreezeOptions>,
  ): Promise<FreezeResult> {
    const { onFrozen, lend, log } = this.#options;
    const giveBack = lend?.(FREEZE_MEMORY_BYTES);
    try {
      return await freeze({
        ...this.#options,
        directory: folder.path,
        defaultName: folder.name,
        ...more,
        onFrozen: async (dataset) => {
          // The dataset is frozen: what is only convenient must not make a failure of it.
          await onFrozen?.(dataset).catch((error: unknown) => log.warn(messageOf(error)));
        },
      });
    } finally {
      giveBack?.();
    }
  }

  async #journalSealing(folder: StagedFolder, journal: FreezeJournal): Promise<void> {
    const { endpoint, store, clock } = this.#options;
    const entry = await journal.read();
    if (entry && (entry.uuid !== undefined || entry.state === 'frozen')) return;
    const createdAt = entry?.createdAt ?? clock.now() / 1000;
    await journal.write({
      version: 1,
      state: 'sealing',
      directory: folder.path,
      endpoint,
      bucket: store.bucket,
      createdAt,
    });
  }

  /**
   * The dataset is committed. Removing comes last, since the journal leads back to here until then. A folder that can't be
   * removed makes no failure of it: it stays sealed, and goes when it is frozen again, discarded, or mounted next.
   */
  async #landed(
    folder: StagedFolder,
    journal: FreezeJournal,
    uuid: DatasetUuid | undefined,
    keep: boolean,
  ): Promise<readonly FreezeProblem[]> {
    const { log, onLanded } = this.#options;
    try {
      if (uuid !== undefined) await onLanded(uuid);
    } catch (error) {
      log.warn({ folder: folder.name, uuid }, `the dataset shows at the next refresh: ${messageOf(error)}`);
    }
    if (keep) {
      folder.unseal();
      return [];
    }
    try {
      await folder.remove();
      await journal.remove();
      return [];
    } catch (error) {
      const reason = `is frozen, and its folder could not be removed: ${toldTo(folder, error).message}`;
      log.warn({ folder: folder.name, uuid }, reason);
      return [{ path: folder.name, reason: `${reason}; the next mount removes it` }];
    }
  }

  /** Keeps the reason. An end that was asked for is none: the journal says how far it came. */
  async #failed(folder: StagedFolder, journal: FreezeJournal, error: unknown): Promise<StagedResult> {
    if (isAbort(error)) {
      throw new UserError(
        `freezing ${folder.name} was stopped before its end; what is uploaded stays`,
        'Freeze it again: it goes on from there.',
        { cause: error },
      );
    }
    const refusal = error instanceof FreezeRefused ? refusedTo(folder, error) : undefined;
    const told = refusal ? summaryOf(refusal) : toldTo(folder, error);
    const { endpoint, store, clock, log } = this.#options;
    log.warn(
      { folder: folder.name, problems: refusal?.problems.slice(0, FREEZE_PROBLEMS_LOGGED_MAX) },
      told.message,
    );
    const entry = await journal.read();
    if (entry?.state !== 'frozen') {
      await journal.write({
        version: 1,
        directory: folder.path,
        endpoint,
        bucket: store.bucket,
        createdAt: clock.now() / 1000,
        ...entry,
        state: 'failed',
        reason: told.message,
        ...(told.advice === undefined ? {} : { advice: told.advice }),
      });
    }
    if (refusal) return refusal;
    throw told;
  }

  #journal(folder: StagedFolder): FreezeJournal {
    const { journals, endpoint, store } = this.#options;
    return new FreezeJournal(journals, { directory: folder.path, endpoint, bucket: store.bucket });
  }
}

async function obstaclesOf(
  folder: StagedFolder,
  writers: readonly string[],
): Promise<readonly FreezeProblem[]> {
  const failed = Array.from(await folder.failed(), ([path, code]) => ({
    path,
    reason: `was not written as it should be (${code}); remove it, or write it anew from its beginning`,
  }));
  return [...writers.map((path) => ({ path, reason: 'is open for writing; close it' })), ...failed];
}
