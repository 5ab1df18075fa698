/**
 * Bits of the FUSE kernel ABI that this program uses, named as in the kernel's include/uapi/linux/fuse.h, where each is
 * explained.
 */

/** The protocol's major version, the oldest minor that is served (Linux 5.4) and the newest that is known. */
export const PROTOCOL = { MAJOR: 7, MINOR_MIN: 31, MINOR_MAX: 45 } as const;

/** The node of the mount's root; the kernel never looks it up and never forgets it. */
export const ROOT_ID = 1;

/** `fuse_init_out.flags` */
export const InitFlag = {
  ASYNC_READ: 1 << 0,
  ATOMIC_O_TRUNC: 1 << 3,
  BIG_WRITES: 1 << 5,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  PARALLEL_DIROPS: 1 << 18,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  EXPLICIT_INVAL_DATA: 1 << 25,
  HANDLE_KILLPRIV_V2: 1 << 28,
  INIT_EXT: 1 << 30,
} as const;

/** `fuse_init_out.flags2`: the bits from 32 on. */
export const InitFlag2 = { NO_EXPORT_SUPPORT: 1 << 6 } as const;

/** `fuse_open_out.open_flags` */
export const OpenFlag = {
  KEEP_CACHE: 1 << 1,
  CACHE_DIR: 1 << 3,
  NOFLUSH: 1 << 5,
} as const;

/** File types as `fuse_attr.mode` (shifted left by 12) and `fuse_dirent.type` have them. */
export const FileType = { fifo: 1, directory: 4, file: 8, symlink: 10, socket: 12 } as const;

/** access(2) masks. */
export const Access = { EXECUTE: 1, WRITE: 2, READ: 4 } as const;

/** `fuse_setattr_in.valid`: the attributes to set. */
export const SetattrFlag = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  KILL_SUIDGID: 1 << 11,
} as const;

/** `fuse_open_in.open_flags` and `fuse_create_in.open_flags` */
export const OpenInFlag = { KILL_SUIDGID: 1 << 0 } as const;

/** `fuse_write_in.write_flags` */
export const WriteFlag = { KILL_SUIDGID: 1 << 2 } as const;

/** `fuse_fsync_in.fsync_flags` */
export const FsyncFlag = { FDATASYNC: 1 << 0 } as const;

/** Flags of renameat2(2). */
export const RenameFlag = { NOREPLACE: 1 << 0, EXCHANGE: 1 << 1 } as const;

/** Flags of setxattr(2). */
export const XattrFlag = { CREATE: 1, REPLACE: 2 } as const;

/** Modes of fallocate(2). */
export const FallocateMode = { KEEP_SIZE: 1 << 0, PUNCH_HOLE: 1 << 1, ZERO_RANGE: 1 << 4 } as const;

/** lseek(2) that FUSE passes on: SEEK_DATA and SEEK_HOLE. */
export const Whence = { DATA: 3, HOLE: 4 } as const;

/** statx(2) masks: what every file has, and when it was made. */
export const StatxMask = { BASIC_STATS: 0x7ff, BTIME: 0x800 } as const;
