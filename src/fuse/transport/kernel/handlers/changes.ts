import { isUtf8 } from 'node:buffer';
import { FsError } from '../../../../errors.ts';
import type { RenameMode } from '../../../tree/changes.ts';
import type { Node } from '../../../tree/node.ts';
import { RenameFlag } from '../abi/flags.ts';
import { OpenOut } from '../abi/replies.ts';
import { CreateIn, LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn } from '../abi/requests.ts';
import { ENTRY_OUT_BYTES, encodeEntryOut } from '../attributes.ts';
import type { Connection } from '../connection.ts';
import { REPLY_BODY, replyView } from '../reply-buffer.ts';
import { callerOf, type Request } from '../request.ts';
import { encodeOpenOut, openFlags } from './files.ts';
import type { Handler } from './handler.ts';
import { replyEntry } from './names.ts';

/*
 * Changes to the entries of directories. None of these can be interrupted: a caller that is told EINTR would not know
 * that the change was made, and neither would the kernel, which keeps what it knew before.
 */

/** CREATE: open(2) with O_CREAT of what the kernel does not know. The reply is as of LOOKUP and OPEN together. */
export const create: Handler = {
  input: CreateIn,
  async handle(connection, request) {
    const { operations } = connection;
    const parent = connection.node(request);
    const { flags, mode } = request.fields(CreateIn);
    const [name = ''] = request.names(CreateIn);
    const made = await operations.create(parent, name, flags, mode, callerOf(request));
    replyCreated(connection, request, parent, made);
  },
};

/** Hands a new file and its handle over. */
function replyCreated(
  connection: Connection,
  request: Request,
  parent: Node,
  { node, handle }: { readonly node: Node; readonly handle: number },
): void {
  const { inodes, operations } = connection;
  const id = inodes.remember(node);
  encodeEntryOut(replyView, REPLY_BODY, parent, node, id, connection);
  encodeOpenOut(REPLY_BODY + ENTRY_OUT_BYTES, handle, openFlags(node));
  if (request.reply(ENTRY_OUT_BYTES + OpenOut.size)) return;
  inodes.forget(id, 1);
  operations.release(handle);
}

/** TMPFILE: open(2) with O_TMPFILE, since Linux 6.1. The reply is as of CREATE; a name comes with it that means nothing. */
export const tmpfile: Handler = {
  input: CreateIn,
  async handle(connection, request) {
    const parent = connection.node(request);
    const { flags, mode } = request.fields(CreateIn);
    const made = await connection.operations.createTemporary(parent, flags, mode, callerOf(request));
    replyCreated(connection, request, parent, made);
  },
};

/** MKNOD: mknod(2), mkfifo(3) and bind(2) of a unix socket. */
export const mknod: Handler = {
  input: MknodIn,
  async handle(connection, request) {
    const parent = connection.node(request);
    const { mode } = request.fields(MknodIn);
    const [name = ''] = request.names(MknodIn);
    const node = await connection.operations.makeNode(parent, name, mode, callerOf(request));
    replyEntry(connection, request, parent, node);
  },
};

/** MKDIR */
export const mkdir: Handler = {
  input: MkdirIn,
  async handle(connection, request) {
    const parent = connection.node(request);
    const { mode } = request.fields(MkdirIn);
    const [name = ''] = request.names(MkdirIn);
    const node = await connection.operations.makeDirectory(parent, name, mode, callerOf(request));
    replyEntry(connection, request, parent, node);
  },
};

/** SYMLINK: the name, then the target. */
export const symlink: Handler = {
  async handle(connection, request) {
    const parent = connection.node(request);
    const [name = ''] = request.names(undefined);
    const [, bytes = Buffer.of()] = request.byteStrings(undefined, 2);
    // Copied where it stays bytes: the message's buffer is used again.
    const target = isUtf8(bytes) ? bytes.toString() : Uint8Array.from(bytes);
    const node = await connection.operations.makeSymlink(parent, name, target, callerOf(request));
    replyEntry(connection, request, parent, node);
  },
};

/** LINK: the reply is one more reference to a node that the kernel knows, so that it sees the new count of names. */
export const link: Handler = {
  input: LinkIn,
  async handle(connection, request) {
    const parent = connection.node(request);
    const [name = ''] = request.names(LinkIn);
    const node = connection.inodes.node(request.fields(LinkIn).oldnodeid);
    await connection.operations.link(node, parent, name);
    replyEntry(connection, request, parent, node);
  },
};

/** UNLINK: what is open goes on working, as the kernel holds references to it. */
export const unlink: Handler = {
  async handle(connection, request) {
    const [name = ''] = request.names(undefined);
    await connection.operations.unlink(connection.node(request), name);
    request.reply();
  },
};

/** RMDIR */
export const rmdir: Handler = {
  async handle(connection, request) {
    const [name = ''] = request.names(undefined);
    await connection.operations.removeDirectory(connection.node(request), name);
    request.reply();
  },
};

/** RENAME: the kernel moves what it knows by itself, so nodes keep their numbers. */
export const rename: Handler = {
  input: RenameIn,
  async handle(connection, request) {
    const { newdir } = request.fields(RenameIn);
    await renameIn(connection, request, request.names(RenameIn, 2), newdir, 'replace');
  },
};

/** RENAME2: the same with flags of renameat2(2). */
export const rename2: Handler = {
  input: Rename2In,
  async handle(connection, request) {
    const { newdir, flags } = request.fields(Rename2In);
    await renameIn(connection, request, request.names(Rename2In, 2), newdir, renameMode(flags));
  },
};

async function renameIn(
  connection: Connection,
  request: Request,
  [from = '', to = '']: readonly string[],
  newdir: number,
  mode: RenameMode,
): Promise<void> {
  const target = connection.inodes.node(newdir);
  const parent = connection.node(request);
  await connection.operations.rename(parent, from, target, to, mode, () => request.signal);
  request.reply();
}

/** Whiteouts are for union file systems: devices, of which there are none here. */
function renameMode(flags: number): RenameMode {
  switch (flags) {
    case 0:
      return 'replace';
    case RenameFlag.NOREPLACE:
      return 'no-replace';
    case RenameFlag.EXCHANGE:
      return 'exchange';
    default:
      throw new FsError('EINVAL', `flags of rename that can not be: ${flags}`);
  }
}
