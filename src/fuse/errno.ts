import { constants } from 'node:os';
import { FsError, isAbort, type FsErrorCode } from '../errors.ts';

/** The kernel's number for every code of ours; the one place that knows them. */
const ERRNO: Readonly<Record<FsErrorCode, number>> = {
  EACCES: constants.errno.EACCES,
  EAGAIN: constants.errno.EAGAIN,
  EBADF: constants.errno.EBADF,
  EBUSY: constants.errno.EBUSY,
  EDQUOT: constants.errno.EDQUOT,
  EEXIST: constants.errno.EEXIST,
  EFBIG: constants.errno.EFBIG,
  EILSEQ: constants.errno.EILSEQ,
  EINPROGRESS: constants.errno.EINPROGRESS,
  EINTR: constants.errno.EINTR,
  EINVAL: constants.errno.EINVAL,
  EIO: constants.errno.EIO,
  EISDIR: constants.errno.EISDIR,
  ELOOP: constants.errno.ELOOP,
  EMFILE: constants.errno.EMFILE,
  EMLINK: constants.errno.EMLINK,
  ENAMETOOLONG: constants.errno.ENAMETOOLONG,
  ENFILE: constants.errno.ENFILE,
  ENODATA: constants.errno.ENODATA,
  ENOENT: constants.errno.ENOENT,
  ENOMEM: constants.errno.ENOMEM,
  ENOSPC: constants.errno.ENOSPC,
  ENOSYS: constants.errno.ENOSYS,
  ENOTDIR: constants.errno.ENOTDIR,
  ENOTEMPTY: constants.errno.ENOTEMPTY,
  ENOTSUP: constants.errno.ENOTSUP,
  ENXIO: constants.errno.ENXIO,
  EPERM: constants.errno.EPERM,
  ERANGE: constants.errno.ERANGE,
  EROFS: constants.errno.EROFS,
  ESTALE: constants.errno.ESTALE,
  ETXTBSY: constants.errno.ETXTBSY,
  EXDEV: constants.errno.EXDEV,
};

/** The kernel's positive number for a code. */
export function errnoOfCode(code: FsErrorCode): number {
  return ERRNO[code];
}

/** The positive errno for whatever a file operation threw: EINTR for an abort, EIO for what is no FsError. */
export function errnoOf(error: unknown): number {
  if (error instanceof FsError) return ERRNO[error.code];
  return isAbort(error) ? ERRNO.EINTR : ERRNO.EIO;
}
