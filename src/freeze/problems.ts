import { UserError } from '../errors.ts';
import { FREEZE_PROBLEMS_MAX } from '../limits.ts';

/** One reason why a directory can't be frozen. */
export interface FreezeProblem {
  /** Path below the directory, or the directory itself; bytes that are no UTF-8 come as `\xNN`. */
  readonly path: string;
  /** What is wrong with it, and what to do. */
  readonly reason: string;
}

/** Gathers all that is wrong, so that the user hears of everything at once. */
export class FreezeProblems {
  readonly #problems: FreezeProblem[] = [];
  readonly #warnings: FreezeProblem[] = [];
  #count = 0;

  /** Something that the freeze is refused for. */
  refuse(path: string, reason: string): void {
    this.#count += 1;
    if (this.#problems.length < FREEZE_PROBLEMS_MAX) this.#problems.push({ path, reason });
  }

  /** Something that the user should know, though it stops nothing. */
  warn(path: string, reason: string): void {
    if (this.#warnings.length < FREEZE_PROBLEMS_MAX) this.#warnings.push({ path, reason });
  }

  get warnings(): readonly FreezeProblem[] {
    return this.#warnings;
  }

  /** @throws FreezeRefused when there is any reason to */
  throwIfAny(directory: string): void {
    if (this.#count > 0) {
      throw new FreezeRefused(
        directory,
        this.#problems.toSorted((a, b) => (a.path < b.path ? -1 : Number(a.path > b.path))),
        this.#count,
      );
    }
  }
}

/** A directory can't be frozen as it is. Nothing was uploaded for it. */
export class FreezeRefused extends UserError {
  /** Sorted by path; at most {@link FREEZE_PROBLEMS_MAX}. */
  readonly problems: readonly FreezeProblem[];
  /** How many there are in all. */
  readonly count: number;

  constructor(directory: string, problems: readonly FreezeProblem[], count: number) {
    super(
      `${directory} can't be frozen for ${count === 1 ? 'one reason' : `${count} reasons`}; nothing was uploaded`,
    );
    this.problems = problems;
    this.count = count;
  }
}
