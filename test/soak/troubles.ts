import type { LoadError } from './load.ts';
import { monotonicMs } from './monotonic.ts';

/** What a mount that is away gives to programs that have a file open there, or look for one. */
export const AWAY: ReadonlySet<string> = new Set([
  'ENOTCONN',
  'ECONNABORTED',
  'EINTR',
  'ENOENT',
  'ENODEV',
  'EIO',
  'ESTALE',
]);
/** What SEMANTICS.md promises for a store that fails; ENOENT is for what a mount made meanwhile has not heard of. */
export const NETWORK: ReadonlySet<string> = new Set(['EIO', 'EACCES', 'ENOENT']);
/** Errors that the network makes are seen for so long after it is well again: until the next refresh. */
export const NETWORK_GRACE_MS = 5_000;
/** A freeze that another user's discard takes the objects from ends with this, at its commit. */
export const DISCARDED: ReadonlySet<string> = new Set(['EIO']);
/** The longest that a freeze takes to come to its commit. */
export const DISCARDED_GRACE_MS = 60_000;

/** Remembers when something was done that explains errors. */
export class Troubles {
  readonly #codes: ReadonlySet<string>;
  readonly #graceMs: number;
  readonly #times: { readonly from: number; to: number }[] = [];

  /** @param graceMs for so long after its end it goes on explaining them */
  constructor(codes: ReadonlySet<string>, graceMs = 0) {
    this.#codes = codes;
    this.#graceMs = graceMs;
  }

  async during<T>(work: () => Promise<T>): Promise<T> {
    const span = { from: monotonicMs(), to: Infinity };
    this.#times.push(span);
    try {
      return await work();
    } finally {
      span.to = monotonicMs() + this.#graceMs;
    }
  }

  explains({ code, from, to }: Pick<LoadError, 'code' | 'from' | 'to'>): boolean {
    return this.#codes.has(code) && this.overlaps(from, to);
  }

  /** Whether it was done, or goes on, at any moment between two times of {@link monotonicMs}. */
  overlaps(from: number, to: number): boolean {
    return this.#times.some((span) => from <= span.to && to >= span.from);
  }
}
