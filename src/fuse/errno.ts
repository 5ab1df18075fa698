import { ERRNO } from '../errno.ts';
import { FsError, isAbort, type FsErrorCode } from '../errors.ts';

/** Returns the kernel's positive number for a code. */
export function errnoOfCode(code: FsErrorCode): number {
  return ERRNO[code];
}

/** Returns the positive errno for whatever a file operation threw: EINTR for an abort, EIO for what is no FsError. */
export function errnoOf(error: unknown): number {
  if (error instanceof FsError) return ERRNO[error.code];
  return isAbort(error) ? ERRNO.EINTR : ERRNO.EIO;
}
