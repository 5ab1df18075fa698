import { Opcode, type OpcodeName } from '../abi/opcodes.ts';
import { access, getattr, readlink, statfs } from './attributes.ts';
import { refuseChange } from './changes.ts';
import { destroy, init, interrupt, notImplemented, notifyReply, syncfs } from './control.ts';
import { opendir, readdir, readdirplus } from './directories.ts';
import { flush, fsync, open, read, release } from './files.ts';
import type { Handler } from './handler.ts';
import { batchForget, forget, lookup } from './names.ts';
import { getxattr, listxattr } from './xattrs.ts';

/** How every request is served. To support a change is to put its handler here. */
const HANDLERS: Readonly<Record<OpcodeName, Handler>> = {
  LOOKUP: lookup,
  FORGET: forget,
  BATCH_FORGET: batchForget,
  GETATTR: getattr,
  READLINK: readlink,
  ACCESS: access,
  STATFS: statfs,
  OPEN: open,
  READ: read,
  FLUSH: flush,
  FSYNC: fsync,
  RELEASE: release,
  OPENDIR: opendir,
  READDIR: readdir,
  READDIRPLUS: readdirplus,
  RELEASEDIR: release,
  FSYNCDIR: fsync,
  GETXATTR: getxattr,
  LISTXATTR: listxattr,
  INIT: init,
  INTERRUPT: interrupt,
  NOTIFY_REPLY: notifyReply,
  SYNCFS: syncfs,
  DESTROY: destroy,

  SETATTR: refuseChange('SETATTR'),
  SYMLINK: refuseChange('SYMLINK'),
  MKNOD: refuseChange('MKNOD'),
  MKDIR: refuseChange('MKDIR'),
  UNLINK: refuseChange('UNLINK'),
  RMDIR: refuseChange('RMDIR'),
  RENAME: refuseChange('RENAME'),
  RENAME2: refuseChange('RENAME2'),
  LINK: refuseChange('LINK'),
  CREATE: refuseChange('CREATE'),
  TMPFILE: refuseChange('TMPFILE'),
  WRITE: refuseChange('WRITE'),
  FALLOCATE: refuseChange('FALLOCATE'),
  COPY_FILE_RANGE: refuseChange('COPY_FILE_RANGE'),
  COPY_FILE_RANGE_64: refuseChange('COPY_FILE_RANGE_64'),
  SETXATTR: refuseChange('SETXATTR'),
  REMOVEXATTR: refuseChange('REMOVEXATTR'),

  // From here on ENOSYS is the best answer. Unless said otherwise the kernel never asks again.
  /** It then answers statx(2) from GETATTR and its cache; we have no birth time, which is all that STATX would add. */
  STATX: notImplemented,
  /** It then takes a file for one piece of data without holes, which is what objects are. */
  LSEEK: notImplemented,
  /** It then says ENOTTY, every time: we have no ioctls. */
  IOCTL: notImplemented,
  /** It then takes files for always ready, as regular files are. */
  POLL: notImplemented,
  /** Never asked unless we want to keep locks ourselves; without that they work within this machine. */
  GETLK: notImplemented,
  SETLK: notImplemented,
  SETLKW: notImplemented,
  /** Only for file systems on block devices. */
  BMAP: notImplemented,
  /** Only for virtiofs with DAX. */
  SETUPMAPPING: notImplemented,
  REMOVEMAPPING: notImplemented,
};

/** By opcode. */
const BY_OPCODE: (Handler | undefined)[] = [];
for (const [name, handler] of Object.entries(HANDLERS)) {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of HANDLERS are nothing else
  BY_OPCODE[Opcode[name as OpcodeName]] = handler;
}

/** The handler of an opcode. Those that are newer than this program get ENOSYS, which the ABI provides for. */
export function handlerOf(opcode: number): Handler {
  return BY_OPCODE[opcode] ?? notImplemented;
}
