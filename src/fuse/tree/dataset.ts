import type { DatasetEntry } from '../../ecs/dtool/registry.ts';
import { isAbort } from '../../errors.ts';
import type { BucketContext } from './context.ts';
import { DatasetContents, datasetAttributes } from './dataset-contents.ts';
import { Directory } from './directory.ts';
import type { SpaceUsage } from './node.ts';

/** Hears of what turns out of a dataset. */
export interface DatasetListener {
  /** {@link Dataset.isBroken} has changed. */
  readonly onBrokenChange: () => void;
  /** Its admin metadata is not any more what its entry says: it may have another name. */
  readonly onOutdated: () => void;
}

/**
 * One dataset of a bucket, in the layout that dtool has on disk. Its name costs nothing, and one that nobody looks into
 * little memory: a bucket may have {@link REGISTRATIONS_MAX} of them.
 */
export class Dataset {
  readonly entry: DatasetEntry;
  readonly directory: Directory;
  readonly #context: BucketContext;
  readonly #listener: DatasetListener;
  /** Absent until somebody looks into it. */
  #contents: DatasetContents | undefined;
  #isBroken = false;

  constructor(context: BucketContext, entry: DatasetEntry, listener: DatasetListener) {
    this.entry = entry;
    this.#context = context;
    this.#listener = listener;
    this.directory = new Directory(datasetAttributes(context, entry), 'refresh', () => this.#look().layers);
  }

  /** Whether it turned out, when somebody looked into it, that the dataset can't be read. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** What the items take; undefined before they were first read. */
  get usage(): SpaceUsage | undefined {
    return this.#contents?.usage;
  }

  /** Looks whether a broken dataset can be read by now. */
  async retry(signal: AbortSignal): Promise<void> {
    try {
      await this.#look().reload(signal);
      this.#setBroken(false);
    } catch (error) {
      // What else is wrong with it has been reported, and it stays broken.
      if (isAbort(error)) throw error;
    }
  }

  /** Makes README and other metadata be looked at again when they are next asked for, whoever has kept them. */
  expire(): void {
    this.#contents?.expire();
  }

  /** Takes back what was reported of a dataset that is no more. */
  forget(): void {
    this.#contents?.forget();
  }

  #look(): DatasetContents {
    this.#contents ??= new DatasetContents(this.#context, this.entry, this.directory, {
      onBroken: () => this.#setBroken(true),
      onOutdated: this.#listener.onOutdated,
    });
    return this.#contents;
  }

  #setBroken(isBroken: boolean): void {
    if (this.#isBroken === isBroken) return;
    this.#isBroken = isBroken;
    this.#listener.onBrokenChange();
  }
}
