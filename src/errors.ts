import type { ErrnoName } from './errno.ts';

/** What can go wrong with a file operation, in the words of POSIX: every error that Linux has. */
export type FsErrorCode = ErrnoName;

/**
 * An error that a file operation ends with. The message is written for the user: what happened, to which
 * bucket, key or path. The kernel gets `code` alone.
 */
export class FsError extends Error {
  override readonly name: string = 'FsError';
  readonly code: FsErrorCode;

  constructor(code: FsErrorCode, message: string, options?: { readonly cause?: unknown }) {
    // An answer like any other, given to every lookup of a name that is not there: a stack trace would cost ten times
    // what all the rest of it does.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(message, options);
    Error.stackTraceLimit = stackTraceLimit;
    this.code = code;
  }
}

/**
 * A mistake in the user's input or surroundings that ends a command: one line that says what is wrong, and what
 * to do about it. Commands print both and exit with 1.
 */
export class UserError extends Error {
  override readonly name = 'UserError';
  /** What the user can do, as a sentence; absent where the message says it all. */
  readonly advice: string | undefined;

  constructor(message: string, advice?: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.advice = advice;
  }
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether an operation ended because its AbortSignal asked for it. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** Whether an error has a code of Node's or the system's, such as `ENOENT`. */
export function hasErrorCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
