import { FsError } from '../../../../errors.ts';
import { XattrFlag } from '../abi/flags.ts';
import { GetxattrOut } from '../abi/replies.ts';
import { GetxattrIn, SetxattrIn } from '../abi/requests.ts';
import { REPLY_BODY, replyView } from '../reply-buffer.ts';
import { BODY, type Request } from '../request.ts';
import type { Handler } from './handler.ts';

/** GETXATTR */
export const getxattr: Handler = {
  input: GetxattrIn,
  async handle(connection, request) {
    const [name = ''] = request.strings(GetxattrIn, 1);
    const room = GetxattrIn.get.size(request.view, BODY);
    replyValue(request, room, await connection.operations.getxattr(connection.node(request), name));
  },
};

/** LISTXATTR: the names, each with its NUL. */
export const listxattr: Handler = {
  input: GetxattrIn,
  async handle(connection, request) {
    const room = GetxattrIn.get.size(request.view, BODY);
    const names = await connection.operations.listxattr(connection.node(request));
    replyValue(request, room, Buffer.from(names.map((name) => `${name}\0`).join('')));
  },
};

/** SETXATTR: the value comes after the name. */
export const setxattr: Handler = {
  input: SetxattrIn,
  async handle(connection, request) {
    const { size, flags } = request.fields(SetxattrIn);
    const [name = ''] = request.strings(SetxattrIn, 1);
    const value = request.data(SetxattrIn.size + Buffer.byteLength(name) + 1, size);
    const must =
      (flags & XattrFlag.CREATE) !== 0 ? 'create' : (flags & XattrFlag.REPLACE) !== 0 ? 'replace' : undefined;
    // Copied: the message's buffer is used again, and the value may be kept.
    await connection.operations.setxattr(connection.node(request), name, Uint8Array.from(value), must);
    request.reply();
  },
};

/** REMOVEXATTR */
export const removexattr: Handler = {
  async handle(connection, request) {
    const [name = ''] = request.strings(undefined, 1);
    await connection.operations.removexattr(connection.node(request), name);
    request.reply();
  },
};

/** A caller that passes no room asks for the length. */
function replyValue(request: Request, room: number, value: Uint8Array): void {
  if (room === 0) {
    GetxattrOut.set.size(replyView, REPLY_BODY, value.byteLength);
    replyView.setUint32(REPLY_BODY + GetxattrOut.at.padding, 0);
    request.reply(GetxattrOut.size);
    return;
  }
  if (value.byteLength > room) throw new FsError('ERANGE', 'the value is longer than the buffer for it');
  request.replyData([value]);
}
