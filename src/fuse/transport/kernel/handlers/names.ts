import { FsError } from '../../../../errors.ts';
import type { Node } from '../../../tree/node.ts';
import { ENTRY_OUT_BYTES, encodeEntryOut, encodeNegativeEntryOut } from '../attributes.ts';
import { BatchForgetIn, ForgetIn, ForgetOne } from '../abi/requests.ts';
import type { Connection } from '../connection.ts';
import { negativeSeconds } from '../lifetimes.ts';
import { REPLY_BODY, replyView } from '../reply-buffer.ts';
import { BODY, type Request } from '../request.ts';
import type { Handler } from './handler.ts';

/** LOOKUP: a name in a directory. The reply is a reference that FORGET takes back. */
export const lookup: Handler = {
  async handle(connection, request) {
    const { operations } = connection;
    const parent = connection.node(request);
    let node: Node;
    try {
      node = await operations.lookup(parent, nameOf(request), request.signalFor(parent));
    } catch (error) {
      const seconds = isMissing(error) ? negativeSeconds(parent, connection.refreshSeconds) : 0;
      if (seconds === 0) throw error;
      encodeNegativeEntryOut(replyView, REPLY_BODY, seconds);
      request.reply(ENTRY_OUT_BYTES);
      return;
    }
    replyEntry(connection, request, parent, node);
  },
};

/** Replies with a node under a name, which is a reference that FORGET takes back. */
export function replyEntry(connection: Connection, request: Request, parent: Node, node: Node): void {
  const id = connection.inodes.remember(node);
  encodeEntryOut(replyView, REPLY_BODY, parent, node, id, connection);
  if (!request.reply(ENTRY_OUT_BYTES)) connection.inodes.forget(id, 1);
}

/** FORGET: the kernel gives references back. */
export const forget: Handler = {
  input: ForgetIn,
  silent: true,
  handle({ inodes }, request) {
    inodes.forget(request.nodeId, ForgetIn.get.nlookup(request.view, BODY));
  },
};

/** BATCH_FORGET: the same for many nodes. */
export const batchForget: Handler = {
  input: BatchForgetIn,
  silent: true,
  handle({ inodes }, request) {
    const { view } = request;
    const room = Math.floor((request.bodyLength - BatchForgetIn.size) / ForgetOne.size);
    const count = Math.min(BatchForgetIn.get.count(view, BODY), room);
    for (let index = 0; index < count; index++) {
      const base = BODY + BatchForgetIn.size + index * ForgetOne.size;
      inodes.forget(ForgetOne.get.nodeid(view, base), ForgetOne.get.nlookup(view, base));
    }
  },
};

function nameOf(request: Request): string {
  try {
    return request.names(undefined)[0] ?? '';
  } catch (error) {
    // Names in the tree are UTF-8, so no file has this one.
    if (error instanceof FsError && error.code === 'EILSEQ') throw new FsError('ENOENT', error.message);
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof FsError && error.code === 'ENOENT';
}
