import { FsError } from '../../../../errors.ts';
import { KERNEL_REQUEST_MAX_BYTES } from '../../../../limits.ts';
import type { Allocation } from '../../../tree/changes.ts';
import type { Node } from '../../../tree/node.ts';
import { FallocateMode, FsyncFlag, OpenFlag, OpenInFlag, Whence, WriteFlag } from '../abi/flags.ts';
import { LseekOut, OpenOut, WriteOut } from '../abi/replies.ts';
import {
  FallocateIn,
  FlushIn,
  FsyncIn,
  LseekIn,
  OpenIn,
  ReadIn,
  ReleaseIn,
  WriteIn,
} from '../abi/requests.ts';
import { REPLY_BODY, replyView } from '../reply-buffer.ts';
import { BODY, callerOf, type Request } from '../request.ts';
import type { Handler } from './handler.ts';

const ROOT_UID = 0;

/** OPEN: what is frozen keeps its pages in the kernel's cache from one open to the next. */
export const open: Handler = {
  input: OpenIn,
  async handle(connection, request) {
    const node = connection.node(request);
    const { flags, openFlags: how } = request.fields(OpenIn);
    const unprivileged = (how & OpenInFlag.KILL_SUIDGID) === 0 ? undefined : callerOf(request);
    const signal = request.signalFor(node);
    const handle = await connection.operations.open(node, flags, signal, request.uid, unprivileged);
    if (!replyOpen(request, handle, openFlags(node))) connection.operations.release(handle);
  },
};

/** READ: the parts go to the kernel as the cache holds them, before it may use their memory again. */
export const read: Handler = {
  input: ReadIn,
  async handle(connection, request) {
    const { view } = request;
    const handle = ReadIn.get.fh(view, BODY);
    const offset = ReadIn.get.offset(view, BODY);
    const size = Math.min(ReadIn.get.size(view, BODY), KERNEL_REQUEST_MAX_BYTES);
    if (!Number.isSafeInteger(offset)) throw new FsError('EINVAL', 'an offset of more than 53 bits');
    const signal = request.signalFor(connection.node(request));
    await connection.operations.read(handle, offset, size, signal, (parts) => request.replyData(parts));
  },
};

/** WRITE: the data is what the message holds, and has been taken over when the handler first waits. */
export const write: Handler = {
  input: WriteIn,
  async handle({ operations }, request) {
    const { fh, offset, size, writeFlags } = request.fields(WriteIn);
    const data = request.data(WriteIn.size, size);
    const unprivileged = (writeFlags & WriteFlag.KILL_SUIDGID) === 0 ? undefined : callerOf(request);
    await operations.write(fh, offset, data, unprivileged);
    WriteOut.set.size(replyView, REPLY_BODY, size);
    replyView.setUint32(REPLY_BODY + WriteOut.at.padding, 0);
    request.reply(WriteOut.size);
  },
};

/** FALLOCATE: space, holes and zeros. Of the other modes of fallocate(2) the kernel does not tell. */
export const fallocate: Handler = {
  input: FallocateIn,
  async handle({ operations }, request) {
    const { fh, offset, length, mode } = request.fields(FallocateIn);
    // The kernel has no flag here, and leaves set-user-id to the file system.
    const unprivileged = request.uid === ROOT_UID ? undefined : callerOf(request);
    await operations.allocate(fh, offset, length, allocationOf(mode), unprivileged);
    request.reply();
  },
};

function allocationOf(mode: number): Allocation {
  const keepSize = (mode & FallocateMode.KEEP_SIZE) !== 0;
  switch (mode & ~FallocateMode.KEEP_SIZE) {
    case 0:
      return { as: 'space', keepSize };
    case FallocateMode.PUNCH_HOLE:
      return { as: 'hole', keepSize };
    case FallocateMode.ZERO_RANGE:
      return { as: 'zeros', keepSize };
    default:
      throw new FsError('ENOTSUP', `modes of fallocate that can not be: ${mode}`);
  }
}

/** LSEEK: the next data or hole; the kernel does all other kinds of lseek(2) by itself. */
export const lseek: Handler = {
  input: LseekIn,
  async handle({ operations }, request) {
    const { fh, offset, whence } = request.fields(LseekIn);
    if (whence !== Whence.DATA && whence !== Whence.HOLE) throw new FsError('EINVAL', `no lseek ${whence}`);
    const found = await operations.seek(fh, offset, whence === Whence.DATA ? 'data' : 'hole');
    LseekOut.set.offset(replyView, REPLY_BODY, found);
    request.reply(LseekOut.size);
  },
};

/** FLUSH: close(2) of one descriptor, before which the kernel writes what a mapping has changed. */
export const flush: Handler = {
  input: FlushIn,
  async handle({ operations }, request) {
    await operations.flush(FlushIn.get.fh(request.view, BODY));
    request.reply();
  },
};

/** RELEASE: the last descriptor was closed. RELEASEDIR is the same. */
export const release: Handler = {
  input: ReleaseIn,
  handle(connection, request) {
    connection.operations.release(ReleaseIn.get.fh(request.view, BODY));
    request.reply();
  },
};

/** FSYNC: fsync(2) and fdatasync(2). */
export const fsync: Handler = {
  input: FsyncIn,
  async handle({ operations }, request) {
    const { fh, fsyncFlags } = request.fields(FsyncIn);
    await operations.syncFile(fh, (fsyncFlags & FsyncFlag.FDATASYNC) !== 0);
    request.reply();
  },
};

/** FSYNCDIR: the same for a directory. */
export const fsyncdir: Handler = {
  input: FsyncIn,
  async handle(connection, request) {
    await connection.operations.syncDirectory(connection.node(request));
    request.reply();
  },
};

/**
 * What the kernel may do with an open file. Pages stay when nobody but itself changes what is in them. A file that can't
 * be written has nothing to flush when it is closed (kernels from 5.16 on then don't ask).
 */
export function openFlags(node: Node): number {
  return (
    (node.lifetime === 'forever' ? OpenFlag.KEEP_CACHE : 0) |
    (node.changes === undefined ? OpenFlag.NOFLUSH : 0)
  );
}

/** Writes `fuse_open_out` at `base`. */
export function encodeOpenOut(base: number, handle: number, flags: number): void {
  OpenOut.set.fh(replyView, base, handle);
  OpenOut.set.openFlags(replyView, base, flags);
  OpenOut.set.backingId(replyView, base, 0);
}

/** Hands a new handle over; if the kernel does not take it, nobody will release it but the caller. */
export function replyOpen(request: Request, handle: number, flags: number): boolean {
  encodeOpenOut(REPLY_BODY, handle, flags);
  return request.reply(OpenOut.size);
}
