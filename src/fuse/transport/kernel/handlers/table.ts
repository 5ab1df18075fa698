import { Opcode, type OpcodeName } from '../abi/opcodes.ts';
import { access, getattr, readlink, setattr, statfs, statx } from './attributes.ts';
import { create, link, mkdir, mknod, rename, rename2, rmdir, symlink, tmpfile, unlink } from './changes.ts';
import { destroy, init, interrupt, notImplemented, notifyReply } from './control.ts';
import { opendir, readdir, readdirplus } from './directories.ts';
import { fallocate, flush, fsync, fsyncdir, lseek, open, read, release, write } from './files.ts';
import type { Handler } from './handler.ts';
import { batchForget, forget, lookup } from './names.ts';
import { getxattr, listxattr, removexattr, setxattr } from './xattrs.ts';

/** How every request is served. */
const HANDLERS: Readonly<Record<OpcodeName, Handler>> = {
  LOOKUP: lookup,
  FORGET: forget,
  BATCH_FORGET: batchForget,
  GETATTR: getattr,
  STATX: statx,
  READLINK: readlink,
  ACCESS: access,
  STATFS: statfs,
  OPEN: open,
  READ: read,
  LSEEK: lseek,
  FLUSH: flush,
  FSYNC: fsync,
  RELEASE: release,
  OPENDIR: opendir,
  READDIR: readdir,
  READDIRPLUS: readdirplus,
  RELEASEDIR: release,
  FSYNCDIR: fsyncdir,
  GETXATTR: getxattr,
  LISTXATTR: listxattr,
  INIT: init,
  INTERRUPT: interrupt,
  NOTIFY_REPLY: notifyReply,
  DESTROY: destroy,

  SETATTR: setattr,
  SYMLINK: symlink,
  MKNOD: mknod,
  MKDIR: mkdir,
  UNLINK: unlink,
  RMDIR: rmdir,
  RENAME: rename,
  RENAME2: rename2,
  LINK: link,
  CREATE: create,
  TMPFILE: tmpfile,
  WRITE: write,
  FALLOCATE: fallocate,
  SETXATTR: setxattr,
  REMOVEXATTR: removexattr,

  // From here on ENOSYS is the best answer. Unless said otherwise the kernel never asks again.
  /** It then reads and writes through its own cache, as it does between file systems. */
  COPY_FILE_RANGE: notImplemented,
  COPY_FILE_RANGE_64: notImplemented,
  /** Only asked of virtiofs; elsewhere the kernel leaves sync(2) to who calls fsync(2). */
  SYNCFS: notImplemented,
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
