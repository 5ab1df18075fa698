import type { Logger } from '../../log.ts';
import { PROBLEMS_MAX } from '../../limits.ts';

/** Something in the bucket that could not be shown or read. */
export interface ReportedProblem {
  readonly bucket: string;
  /** The key of the object that is to blame. */
  readonly key: string;
  readonly reason: string;
}

/** What is wrong in the buckets, for `status` and the log. Each problem is logged once, not at every look. */
export class Problems {
  readonly #log: Logger;
  readonly #byKey = new Map<string, ReportedProblem>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** The newest {@link PROBLEMS_MAX} of them, the oldest first. */
  get all(): readonly ReportedProblem[] {
    return [...this.#byKey.values()];
  }

  report(problem: ReportedProblem): void {
    const id = `${problem.bucket}/${problem.key}`;
    if (this.#byKey.get(id)?.reason === problem.reason) return;
    this.#log.warn(problem, 'problem in the bucket');
    this.#byKey.delete(id);
    this.#byKey.set(id, problem);
    const [oldest] = this.#byKey.keys();
    if (this.#byKey.size > PROBLEMS_MAX && oldest !== undefined) this.#byKey.delete(oldest);
  }

  /** What was wrong with an object is so no more. */
  resolve(bucket: string, key: string): void {
    this.#byKey.delete(`${bucket}/${key}`);
  }
}
