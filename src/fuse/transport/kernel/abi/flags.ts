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
  INIT_EXT: 1 << 30,
} as const;

/** `fuse_open_out.open_flags` */
export const OpenFlag = {
  KEEP_CACHE: 1 << 1,
  CACHE_DIR: 1 << 3,
  NOFLUSH: 1 << 5,
} as const;

/** File types as `fuse_attr.mode` (shifted left by 12) and `fuse_dirent.type` have them. */
export const FileType = { directory: 4, file: 8, symlink: 10 } as const;

/** access(2) masks. */
export const Access = { EXECUTE: 1, WRITE: 2, READ: 4 } as const;
