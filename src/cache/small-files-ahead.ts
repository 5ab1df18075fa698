import { setMaxListeners } from 'node:events';
import type { ObjectStore } from '../ecs/object-store.ts';
import { READ_STREAMS_MAX, SMALL_FILES_AHEAD_MAX, SMALL_FILES_STEP_MAX } from '../limits.ts';
import type { BlockCache } from './block-cache.ts';
import type { Content } from './block-key.ts';

/** A file of at most one block, at its place in the order in which files are likely to be read. */
export interface SmallFile {
  readonly place: number;
  readonly content: Content;
}

/** The first small file after a place; undefined where none is near. */
export type NextSmallFile = (place: number) => SmallFile | undefined;

/**
 * Fetches small files ahead of those who read one after the other: from the second on that is the next after the one
 * before, 2, 4 and up to {@link SMALL_FILES_AHEAD_MAX} are fetched together. Who reads every second one, or every third
 * and so on up to {@link SMALL_FILES_STEP_MAX}, is believed from the third on. Several readers at a time are told apart;
 * files here and there fetch nothing ahead, and end what was fetched ahead of the reader who was longest silent.
 */
export class SmallFilesAhead {
  readonly #cache: BlockCache;
  readonly #store: ObjectStore;
  /** The one that was last followed comes first. */
  #runs: Run[] = [];

  constructor(cache: BlockCache, store: ObjectStore) {
    this.#cache = cache;
    this.#store = store;
  }

  /** A small file is read. */
  read(place: number, next: NextSmallFile): void {
    const follows = this.#runs.findIndex((run) => run.goesOnAt(place, next));
    const index = follows === -1 ? this.#runs.findIndex((run) => run.mayStepTo(place, next)) : follows;
    const [run] = index === -1 ? [new Run(place)] : this.#runs.splice(index, 1);
    if (!run) return;
    this.#runs.unshift(run);
    if (follows !== -1) run.follow(place, next, this.#cache, this.#store);
    else if (index !== -1) run.stepTo(place, next);
    for (const old of this.#runs.splice(READ_STREAMS_MAX)) old.drop();
  }

  /** Gives up what is fetched ahead. */
  drop(): void {
    for (const run of this.#runs.splice(0)) run.drop();
  }
}

/** Small files that are read one after the other. */
class Run {
  readonly #dropped = new AbortController();
  /** The furthest that was read. */
  #place: number;
  /** One of so many files is read. */
  #step = 1;
  /** How many files may be fetched ahead; none before it was seen how the reader goes on. */
  #window = 0;
  /** What was asked for ahead, by place. */
  #ahead: SmallFile[] = [];

  constructor(place: number) {
    this.#place = place;
    // It has as many listeners as there are files under way: that is no leak.
    setMaxListeners(0, this.#dropped.signal);
  }

  /** Whether a file is the next one or, where several read side by side, one of those around. */
  goesOnAt(place: number, next: NextSmallFile): boolean {
    if (place > this.#place) {
      return (
        this.#ahead.some((file) => file.place === place) || this.#after(this.#place, next)?.place === place
      );
    }
    return place === this.#place || (this.#window > 0 && place > this.#place - SMALL_FILES_AHEAD_MAX);
  }

  /** Whether a file may be the next in steps that are not known yet. */
  mayStepTo(place: number, next: NextSmallFile): boolean {
    return this.#window === 0 && stepsBetween(this.#place, place, next) !== undefined;
  }

  /** Takes a file for the next: the one after it will tell. */
  stepTo(place: number, next: NextSmallFile): void {
    this.#step = stepsBetween(this.#place, place, next) ?? 1;
    this.#place = place;
  }

  follow(place: number, next: NextSmallFile, cache: BlockCache, store: ObjectStore): void {
    if (place <= this.#place) return;
    this.#place = place;
    this.#window = Math.min(SMALL_FILES_AHEAD_MAX, Math.max(2, this.#window * 2));
    this.#ahead = this.#ahead.filter((file) => file.place > place);
    let bytesLeft = cache.readAhead.windowBytes - bytesOf(this.#ahead);
    while (this.#ahead.length < this.#window) {
      const file = this.#after(this.#ahead.at(-1)?.place ?? place, next);
      if (!file || file.content.size > bytesLeft) return;
      const taken = cache.readAhead.take(file.content.size);
      if (taken < file.content.size) return cache.readAhead.give(taken);
      bytesLeft -= taken;
      this.#ahead.push(file);
      void cache
        .prefetch(store, file.content, 0, file.content.size, this.#dropped.signal)
        .finally(() => cache.readAhead.give(taken));
    }
  }

  drop(): void {
    this.#dropped.abort();
  }

  /** The file one step after a place. */
  #after(place: number, next: NextSmallFile): SmallFile | undefined {
    let file = next(place);
    for (let step = 1; file && step < this.#step; step += 1) file = next(file.place);
    return file;
  }
}

/** How many small files further a place is; undefined beyond {@link SMALL_FILES_STEP_MAX}. */
function stepsBetween(from: number, to: number, next: NextSmallFile): number | undefined {
  let place = from;
  for (let steps = 1; place < to && steps <= SMALL_FILES_STEP_MAX; steps += 1) {
    const file = next(place);
    if (!file) return undefined;
    if (file.place === to) return steps;
    place = file.place;
  }
  return undefined;
}

function bytesOf(files: readonly SmallFile[]): number {
  return files.reduce((sum, { content }) => sum + content.size, 0);
}
