import type { StagedDirectory } from './staging-directory.ts';

/** A name in a directory. */
export interface Place {
  readonly directory: StagedDirectory;
  readonly name: string;
}

/**
 * The places of one file beyond its first: as many as a file system allows, each of them added, removed or taken in
 * constant time.
 */
export class FurtherPlaces {
  readonly #all: Place[] = [];
  /** Where in that list they are. */
  readonly #indexes = new Map<StagedDirectory, Map<string, number>>();

  add(place: Place): void {
    const names = this.#indexes.get(place.directory);
    if (names?.has(place.name) === true) return;
    if (names) names.set(place.name, this.#all.length);
    else this.#indexes.set(place.directory, new Map([[place.name, this.#all.length]]));
    this.#all.push(place);
  }

  delete(place: Place): void {
    const index = this.#indexes.get(place.directory)?.get(place.name);
    if (index === undefined) return;
    this.#forget(place);
    const last = this.#all.pop();
    if (last === undefined || index === this.#all.length) return;
    this.#all[index] = last;
    this.#indexes.get(last.directory)?.set(last.name, index);
  }

  /** Takes one out; undefined when there is none. */
  take(): Place | undefined {
    const place = this.#all.pop();
    if (place) this.#forget(place);
    return place;
  }

  get all(): readonly Place[] {
    return this.#all;
  }

  get directories(): Iterable<StagedDirectory> {
    return this.#indexes.keys();
  }

  #forget({ directory, name }: Place): void {
    const names = this.#indexes.get(directory);
    names?.delete(name);
    if (names?.size === 0) this.#indexes.delete(directory);
  }
}
