import { FsError } from '../../../../errors.ts';
import type { AttributeChanges } from '../../../tree/changes.ts';
import type { Attributes, Node, Timestamp } from '../../../tree/node.ts';
import { Access, SetattrFlag } from '../abi/flags.ts';
import { StatfsOut } from '../abi/replies.ts';
import { AccessIn, GetattrIn, SetattrIn, StatxIn } from '../abi/requests.ts';
import { ATTR_OUT_BYTES, encodeAttrOut, encodeStatxOut, STATX_OUT_BYTES } from '../attributes.ts';
import { NAME_MAX_BYTES } from '../../../../limits.ts';
import { REPLY_BODY, replyBytes, replyView } from '../reply-buffer.ts';
import { BODY, callerOf, type Request } from '../request.ts';
import type { Handler } from './handler.ts';

const ROOT_UID = 0;
const PERMISSIONS = 0o7777;
const STATFS_BLOCK_BYTES = 4096;
const NOTHING = { bytes: 0, files: 0 };

/** GETATTR: stat(2), with or without a handle. */
export const getattr: Handler = {
  input: GetattrIn,
  handle(connection, request) {
    const node = connection.node(request);
    return whenAtHand(node, () => {
      encodeAttrOut(replyView, REPLY_BODY, node, connection);
      request.reply(ATTR_OUT_BYTES);
    });
  },
};

/** STATX: the same with the time when a file was made, for whoever asks statx(2) for it (since Linux 6.6). */
export const statx: Handler = {
  input: StatxIn,
  async handle(connection, request) {
    const node = connection.node(request);
    const born = await node.birthTime?.();
    await node.look?.();
    encodeStatxOut(replyView, REPLY_BODY, node, connection, born);
    request.reply(STATX_OUT_BYTES);
  },
};

/** SETATTR: chmod(2), chown(2), truncate(2) and utimensat(2), in any combination. The reply is as of GETATTR. */
export const setattr: Handler = {
  input: SetattrIn,
  async handle(connection, request) {
    const node = connection.node(request);
    const fields = request.fields(SetattrIn);
    const unprivileged = (fields.valid & SetattrFlag.KILL_SUIDGID) === 0 ? undefined : callerOf(request);
    await connection.operations.setAttributes(node, attributeChanges(fields), unprivileged);
    encodeAttrOut(replyView, REPLY_BODY, node, connection);
    request.reply(ATTR_OUT_BYTES);
  },
};

/** READLINK: the target, without a NUL. */
export const readlink: Handler = {
  handle(connection, request) {
    request.replyData([Buffer.from(connection.operations.readlink(connection.node(request)))]);
  },
};

/**
 * ACCESS: access(2) and chdir(2) by the permission bits. With `default_permissions`, which mounts that others are let in
 * have, the kernel decides by itself and never asks.
 */
export const access: Handler = {
  input: AccessIn,
  handle(connection, request) {
    const mask = AccessIn.get.mask(request.view, BODY);
    const node = connection.node(request);
    if ((mask & Access.WRITE) !== 0) connection.operations.requireChangeable(node);
    const { uid, gid } = request;
    return whenAtHand(node, () => {
      if (!permits(node.attributes(), { uid, gid }, mask)) throw new FsError('EACCES', 'the mode forbids it');
      request.reply();
    });
  },
};

/** STATFS: df. What is used is what the items take that are known; what is free is what can be staged. */
export const statfs: Handler = {
  async handle(connection, request) {
    const { bytes, files, free = NOTHING } = await connection.operations.statfs();
    const room = Math.floor(free.bytes / STATFS_BLOCK_BYTES);
    replyBytes.fill(0, REPLY_BODY, REPLY_BODY + StatfsOut.size);
    StatfsOut.set.blocks(replyView, REPLY_BODY, Math.ceil(bytes / STATFS_BLOCK_BYTES) + room);
    StatfsOut.set.bfree(replyView, REPLY_BODY, room);
    StatfsOut.set.bavail(replyView, REPLY_BODY, room);
    StatfsOut.set.files(replyView, REPLY_BODY, files + free.files);
    StatfsOut.set.ffree(replyView, REPLY_BODY, free.files);
    StatfsOut.set.bsize(replyView, REPLY_BODY, STATFS_BLOCK_BYTES);
    StatfsOut.set.frsize(replyView, REPLY_BODY, STATFS_BLOCK_BYTES);
    StatfsOut.set.namelen(replyView, REPLY_BODY, NAME_MAX_BYTES);
    request.reply(StatfsOut.size);
  },
};

/** Replies when the attributes of a node are at hand, mostly at once. */
function whenAtHand(node: Node, reply: () => void): void | Promise<void> {
  const looking = node.look?.();
  return looking ? looking.then(reply) : reply();
}

function attributeChanges(fields: ReturnType<typeof SetattrIn.decode>): AttributeChanges {
  const has = (flag: number): boolean => (fields.valid & flag) !== 0;
  return {
    ...(has(SetattrFlag.MODE) && { mode: fields.mode & PERMISSIONS }),
    ...(has(SetattrFlag.UID) && { uid: fields.uid }),
    ...(has(SetattrFlag.GID) && { gid: fields.gid }),
    ...(has(SetattrFlag.SIZE) && { size: fields.size }),
    ...(has(SetattrFlag.ATIME) && {
      atime: time(fields.atime, fields.atimensec, has(SetattrFlag.ATIME_NOW)),
    }),
    ...(has(SetattrFlag.MTIME) && {
      mtime: time(fields.mtime, fields.mtimensec, has(SetattrFlag.MTIME_NOW)),
    }),
  };
}

function time(seconds: number, nanoseconds: number, isNow: boolean): Timestamp | 'now' {
  return isNow ? 'now' : { seconds, nanoseconds };
}

/** Whether the caller may, as far as its user and its main group tell: the kernel says nothing of its other groups. */
function permits(attributes: Attributes, caller: Pick<Request, 'uid' | 'gid'>, mask: number): boolean {
  const { mode } = attributes;
  if (caller.uid === ROOT_UID) {
    return (mask & Access.EXECUTE) === 0 || attributes.kind === 'directory' || (mode & 0o111) !== 0;
  }
  const shift = caller.uid === attributes.uid ? 6 : caller.gid === attributes.gid ? 3 : 0;
  return ((mode >> shift) & mask) === mask;
}
