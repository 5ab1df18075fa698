/**
 * What the kernel is sent: replies and notifications, in the layout of 7.31 and newer. Source: the kernel's
 * include/uapi/linux/fuse.h; field names follow it.
 */
import { struct } from './struct.ts';

/** Heads every message; `error` is 0 or a negative errno, in a notification its code. */
export const OutHeader = struct({ len: 'u32', error: 'i32', unique: 'u64' });

export const InitOut = struct({
  major: 'u32',
  minor: 'u32',
  maxReadahead: 'u32',
  flags: 'u32',
  maxBackground: 'u16',
  congestionThreshold: 'u16',
  maxWrite: 'u32',
  timeGran: 'u32',
  maxPages: 'u16',
  mapAlignment: 'u16',
  flags2: 'u32',
  unused: 28,
});

export const Attr = struct({
  ino: 'u64',
  size: 'u64',
  blocks: 'u64',
  atime: 'i64',
  mtime: 'i64',
  ctime: 'i64',
  atimensec: 'u32',
  mtimensec: 'u32',
  ctimensec: 'u32',
  mode: 'u32',
  nlink: 'u32',
  uid: 'u32',
  gid: 'u32',
  rdev: 'u32',
  blksize: 'u32',
  flags: 'u32',
});

/** The head of `fuse_attr_out`; an {@link Attr} follows. */
export const AttrOut = struct({ attrValid: 'u64', attrValidNsec: 'u32', dummy: 4 });

/** The head of `fuse_entry_out`; an {@link Attr} follows. */
export const EntryOut = struct({
  nodeid: 'u64',
  generation: 'u64',
  entryValid: 'u64',
  attrValid: 'u64',
  entryValidNsec: 'u32',
  attrValidNsec: 'u32',
});

export const OpenOut = struct({ fh: 'u64', openFlags: 'u32', backingId: 'i32' });
export const WriteOut = struct({ size: 'u32', padding: 4 });
export const GetxattrOut = struct({ size: 'u32', padding: 4 });

export const LseekOut = struct({ offset: 'u64' });

/** The head of `fuse_statx_out`; a {@link Statx} follows. */
export const StatxOut = struct({ attrValid: 'u64', attrValidNsec: 'u32', flags: 4, spare: 16 });

/** Times are `fuse_sx_time`. */
export const Statx = struct({
  mask: 'u32',
  blksize: 'u32',
  attributes: 'u64',
  nlink: 'u32',
  uid: 'u32',
  gid: 'u32',
  mode: 'u16',
  spare0: 2,
  ino: 'u64',
  size: 'u64',
  blocks: 'u64',
  attributesMask: 'u64',
  atime: 'i64',
  atimensec: 'u32',
  reserved0: 4,
  btime: 'i64',
  btimensec: 'u32',
  reserved1: 4,
  ctime: 'i64',
  ctimensec: 'u32',
  reserved2: 4,
  mtime: 'i64',
  mtimensec: 'u32',
  reserved3: 4,
  rdevMajor: 'u32',
  rdevMinor: 'u32',
  devMajor: 'u32',
  devMinor: 'u32',
  spare2: 112,
});

export const StatfsOut = struct({
  blocks: 'u64',
  bfree: 'u64',
  bavail: 'u64',
  files: 'u64',
  ffree: 'u64',
  bsize: 'u32',
  namelen: 'u32',
  frsize: 'u32',
  padding: 4,
  spare: 24,
});

/** The name follows, then zeros up to a multiple of {@link DIRENT_ALIGN_BYTES}. */
export const Dirent = struct({ ino: 'u64', off: 'u64', namelen: 'u32', type: 'u32' });
export const DIRENT_ALIGN_BYTES = 8;

/** `len` of zero or less: up to the end of the file; a negative `off` invalidates the attributes alone. */
export const NotifyInvalInodeOut = struct({ ino: 'u64', off: 'i64', len: 'i64' });
/** The name follows, with a NUL that `namelen` does not count. */
export const NotifyInvalEntryOut = struct({ parent: 'u64', namelen: 'u32', flags: 'u32' });
/** The name follows, with a NUL that `namelen` does not count. */
export const NotifyDeleteOut = struct({ parent: 'u64', child: 'u64', namelen: 'u32', padding: 4 });
export const NotifyRetrieveOut = struct({
  notifyUnique: 'u64',
  nodeid: 'u64',
  offset: 'u64',
  size: 'u32',
  padding: 4,
});
