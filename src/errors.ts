/**
 * What can go wrong, in the words of POSIX. The numbers belong to the kernel side (`fuse/errno.ts`).
 */
const FS_ERROR_CODES = [
  'EACCES',
  'EAGAIN',
  'EBADF',
  'EBUSY',
  'EDQUOT',
  'EEXIST',
  'EFBIG',
  'EILSEQ',
  'EINPROGRESS',
  'EINTR',
  'EINVAL',
  'EIO',
  'EISDIR',
  'ELOOP',
  'EMLINK',
  'EMFILE',
  'ENAMETOOLONG',
  'ENFILE',
  'ENODATA',
  'ENOENT',
  'ENOMEM',
  'ENOSPC',
  'ENOSYS',
  'ENOTDIR',
  'ENOTEMPTY',
  'ENOTSUP',
  'ENXIO',
  'EPERM',
  'ERANGE',
  'EROFS',
  'ESTALE',
  'ETXTBSY',
  'EXDEV',
] as const;
export type FsErrorCode = (typeof FS_ERROR_CODES)[number];

/** Whether a file operation may end with a code, such as one that the local file system gave. */
export function isFsErrorCode(code: unknown): code is FsErrorCode {
  return (FS_ERROR_CODES as readonly unknown[]).includes(code);
}

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
