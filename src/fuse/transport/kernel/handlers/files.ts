import { FsError } from '../../../../errors.ts';
import { KERNEL_REQUEST_MAX_BYTES } from '../../../../limits.ts';
import { OpenFlag } from '../abi/flags.ts';
import { OpenOut } from '../abi/replies.ts';
import { FlushIn, FsyncIn, OpenIn, ReadIn, ReleaseIn } from '../abi/requests.ts';
import type { Connection } from '../connection.ts';
import { REPLY_BODY, replyView } from '../reply-buffer.ts';
import { BODY, type Request } from '../request.ts';
import type { Handler } from './handler.ts';

/** OPEN: what is frozen keeps its pages in the kernel's cache from one open to the next. */
export const open: Handler = {
  input: OpenIn,
  async handle(connection, request) {
    const node = connection.node(request);
    const flags = OpenIn.get.flags(request.view, BODY);
    const handle = await connection.operations.open(node, flags, request.signal);
    // A file that can't be written has nothing to flush when it is closed.
    const keep = node.lifetime === 'forever' ? OpenFlag.KEEP_CACHE : 0;
    replyOpen(connection, request, handle, OpenFlag.NOFLUSH | keep);
  },
};

/** READ: the parts go to the kernel as the cache holds them. */
export const read: Handler = {
  input: ReadIn,
  async handle(connection, request) {
    const { view } = request;
    const handle = ReadIn.get.fh(view, BODY);
    const offset = ReadIn.get.offset(view, BODY);
    const size = Math.min(ReadIn.get.size(view, BODY), KERNEL_REQUEST_MAX_BYTES);
    if (!Number.isSafeInteger(offset)) throw new FsError('EINVAL', 'an offset of more than 53 bits');
    request.replyData(await connection.operations.read(handle, offset, size, request.signal));
  },
};

/** FLUSH: close(2) of one descriptor. Not asked of files opened with NOFLUSH by kernels that know it (5.16). */
export const flush: Handler = {
  input: FlushIn,
  handle(_connection, request) {
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

/** FSYNC and FSYNCDIR: what is frozen is as durable as it gets. */
export const fsync: Handler = {
  input: FsyncIn,
  handle(_connection, request) {
    request.reply();
  },
};

/** Hands a new handle over; if the kernel does not take it, nobody will release it but us. */
export function replyOpen(connection: Connection, request: Request, handle: number, flags: number): void {
  OpenOut.set.fh(replyView, REPLY_BODY, handle);
  OpenOut.set.openFlags(replyView, REPLY_BODY, flags);
  OpenOut.set.backingId(replyView, REPLY_BODY, 0);
  if (!request.reply(OpenOut.size)) connection.operations.release(handle);
}
