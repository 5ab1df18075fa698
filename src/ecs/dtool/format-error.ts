import { FsError } from '../../errors.ts';
import { PROBLEMS_TOLD_MAX } from '../../limits.ts';
import { StoreError, type StoreErrorReason } from '../object-store.ts';

/** Where something was read from. */
export interface ObjectAddress {
  readonly bucket: string;
  readonly key: string;
}

/** An object whose content is not what the dtool format says. */
export class FormatError extends FsError {
  override readonly name = 'FormatError';
  readonly bucket: string;
  readonly key: string;
  /** What is wrong, without bucket and key. */
  readonly reason: string;

  constructor(where: ObjectAddress, reason: string, options?: { readonly cause?: unknown }) {
    super('EIO', `${where.bucket}/${where.key}: ${reason}`, options);
    this.bucket = where.bucket;
    this.key = where.key;
    this.reason = reason;
  }
}

/** One object that could not be read, while others could. */
export interface Problem {
  /** The object's key or, where many share the problem, their common prefix. */
  readonly key: string;
  /** What is wrong with it, without bucket and key. */
  readonly reason: string;
}

/** Problems as they are found: {@link PROBLEMS_TOLD_MAX} one by one, and how many more there are. */
export class ProblemList<T extends Problem = Problem> {
  readonly #key: string;
  readonly #told: T[] = [];
  #more = 0;

  /** @param key of what all of them are in */
  constructor(key: string) {
    this.#key = key;
  }

  push(problem: T): void {
    if (this.#told.length < PROBLEMS_TOLD_MAX) this.#told.push(problem);
    else this.#more += 1;
  }

  /** All by their keys, and the rest as one more. */
  sorted(): readonly (T | Problem)[] {
    const told = this.#told.toSorted((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)));
    if (this.#more === 0) return told;
    return [...told, { key: this.#key, reason: `there are ${this.#more} more problems of this kind` }];
  }
}

/**
 * The problem that an error is, when it is about this object and says nothing of the others.
 *
 * @throws the error itself when it is about more: the store is away, the credentials don't work, the caller has
 *   given up, or it is no error of the store or the format at all
 */
export function problemFrom(error: unknown): Problem {
  if (error instanceof FormatError) return { key: error.key, reason: error.reason };
  if (!(error instanceof StoreError) || CONCERNS[error.reason] === 'store') throw error;
  const address = `${error.bucket}/${error.key}: `;
  const { key, message } = error;
  return { key, reason: message.startsWith(address) ? message.slice(address.length) : message };
}

/** Whether a failure is about the one object, or requests for others would end the same way. */
const CONCERNS: Readonly<Record<StoreErrorReason, 'object' | 'store'>> = {
  'no-such-key': 'object',
  'no-such-upload': 'object',
  'no-such-bucket': 'store',
  'access-denied': 'object',
  'unknown-access-key': 'store',
  'wrong-secret-key': 'store',
  'expired-credentials': 'store',
  'clock-skew': 'store',
  'precondition-failed': 'object',
  'bad-digest': 'object',
  short: 'object',
  'too-large': 'object',
  'bad-request': 'object',
  'bad-response': 'object',
  throttled: 'store',
  'server-error': 'object',
  timeout: 'store',
  'untrusted-certificate': 'store',
  'certificate-of-another-host': 'store',
  'certificate-out-of-date': 'store',
  tls: 'store',
  unreachable: 'store',
};
