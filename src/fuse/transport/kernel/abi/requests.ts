/**
 * What the kernel sends: the header and what follows it, by request, in the layout of 7.31 and newer. Names and data
 * come after the structure. Source: the kernel's include/uapi/linux/fuse.h; field names follow it.
 */
import { struct } from './struct.ts';

export const InHeader = struct({
  len: 'u32',
  opcode: 'u32',
  unique: 'u64',
  nodeid: 'u64',
  uid: 'u32',
  gid: 'u32',
  pid: 'u32',
  /** Length of the extensions at the end of the message in units of 8 bytes (since 7.38; zero unless asked for). */
  totalExtlen: 'u16',
  padding: 2,
});

/** The first 16 bytes; since 7.36 {@link InitInMore} follows. */
export const InitIn = struct({ major: 'u32', minor: 'u32', maxReadahead: 'u32', flags: 'u32' });

export const InitInMore = struct({ flags2: 'u32', unused: 44 });

export const ForgetIn = struct({ nlookup: 'u64' });
export const BatchForgetIn = struct({ count: 'u32', dummy: 4 });
/** `count` of these follow {@link BatchForgetIn}. */
export const ForgetOne = struct({ nodeid: 'u64', nlookup: 'u64' });

export const GetattrIn = struct({ getattrFlags: 'u32', dummy: 4, fh: 'u64' });
export const SetattrIn = struct({
  valid: 'u32',
  padding: 4,
  fh: 'u64',
  size: 'u64',
  lockOwner: 'u64',
  atime: 'i64',
  mtime: 'i64',
  ctime: 'i64',
  atimensec: 'u32',
  mtimensec: 'u32',
  ctimensec: 'u32',
  mode: 'u32',
  unused4: 4,
  uid: 'u32',
  gid: 'u32',
  unused5: 4,
});
export const AccessIn = struct({ mask: 'u32', padding: 4 });

export const MknodIn = struct({ mode: 'u32', rdev: 'u32', umask: 'u32', padding: 4 });
export const MkdirIn = struct({ mode: 'u32', umask: 'u32' });
export const RenameIn = struct({ newdir: 'u64' });
export const Rename2In = struct({ newdir: 'u64', flags: 'u32', padding: 4 });
export const LinkIn = struct({ oldnodeid: 'u64' });

/** Of OPEN and OPENDIR. */
export const OpenIn = struct({ flags: 'u32', openFlags: 'u32' });
/** Of CREATE and TMPFILE. */
export const CreateIn = struct({ flags: 'u32', mode: 'u32', umask: 'u32', openFlags: 'u32' });
/** Of READ, READDIR and READDIRPLUS. */
export const ReadIn = struct({
  fh: 'u64',
  offset: 'u64',
  size: 'u32',
  readFlags: 'u32',
  lockOwner: 'u64',
  flags: 'u32',
  padding: 4,
});
export const WriteIn = struct({
  fh: 'u64',
  offset: 'u64',
  size: 'u32',
  writeFlags: 'u32',
  lockOwner: 'u64',
  flags: 'u32',
  padding: 4,
});
export const FlushIn = struct({ fh: 'u64', unused: 4, padding: 4, lockOwner: 'u64' });
/** Of FSYNC and FSYNCDIR. */
export const FsyncIn = struct({ fh: 'u64', fsyncFlags: 'u32', padding: 4 });
/** Of RELEASE and RELEASEDIR. */
export const ReleaseIn = struct({ fh: 'u64', flags: 'u32', releaseFlags: 'u32', lockOwner: 'u64' });
export const LseekIn = struct({ fh: 'u64', offset: 'u64', whence: 'u32', padding: 4 });
export const StatxIn = struct({
  getattrFlags: 'u32',
  reserved: 4,
  fh: 'u64',
  sxFlags: 'u32',
  sxMask: 'u32',
});
export const FallocateIn = struct({ fh: 'u64', offset: 'u64', length: 'u64', mode: 'u32', padding: 4 });

/** The short form: the long one is sent only to who asked for SETXATTR_EXT. */
export const SetxattrIn = struct({ size: 'u32', flags: 'u32' });
/** Of GETXATTR and LISTXATTR. */
export const GetxattrIn = struct({ size: 'u32', padding: 4 });

export const InterruptIn = struct({ unique: 'u64' });
/** `fuse_notify_retrieve_in`: answers our RETRIEVE; it takes no reply. */
export const NotifyReplyIn = struct({
  dummy1: 8,
  offset: 'u64',
  size: 'u32',
  dummy2: 4,
  dummy3: 8,
  dummy4: 8,
});
