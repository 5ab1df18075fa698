import { LOCAL_LISTING_CHECKS_MAX } from '../../limits.ts';
import type { DirectoryEntries, DirectoryEntry } from './node.ts';

/** Looks a name up; resolves with undefined when it has gone. */
type Look = (name: string) => Promise<DirectoryEntry | undefined>;

/** The entries of a staged directory: names as they were when it was opened, and nodes as they are when they are asked for. */
export class StagedEntries implements DirectoryEntries {
  readonly #names: readonly string[];
  readonly #lookAll: (names: readonly string[]) => Promise<readonly (DirectoryEntry | undefined)[]>;

  /** @param hold calls what it gets while no path changes */
  constructor(names: readonly string[], look: Look, hold: <T>(work: () => Promise<T>) => Promise<T>) {
    this.#names = names;
    this.#lookAll = async (some) => hold(async () => Promise.all(some.map(async (name) => look(name))));
  }

  get length(): number {
    return this.#names.length;
  }

  at(): never {
    throw new Error('the entries of a staged directory have to be loaded');
  }

  async load(from: number, count: number): Promise<DirectoryEntries> {
    const entries: (DirectoryEntry | undefined)[] = [];
    let isEmpty = true;
    for (let at = from; at < this.length && (isEmpty || at < from + count); at += LOCAL_LISTING_CHECKS_MAX) {
      const some = await this.#lookAll(this.#names.slice(at, at + LOCAL_LISTING_CHECKS_MAX));
      for (const entry of some) entries.push(entry);
      isEmpty &&= some.every((entry) => entry === undefined);
    }
    return { length: this.length, at: (index) => entries[index - from] };
  }
}
