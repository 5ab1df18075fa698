import { FsError } from '../../../../errors.ts';
import { GetxattrOut } from '../abi/replies.ts';
import { GetxattrIn } from '../abi/requests.ts';
import { REPLY_BODY, replyView } from '../reply-buffer.ts';
import { BODY, type Request } from '../request.ts';
import type { Handler } from './handler.ts';

/** GETXATTR */
export const getxattr: Handler = {
  input: GetxattrIn,
  handle(connection, request) {
    const [name = ''] = request.strings(GetxattrIn, 1);
    const node = connection.node(request);
    // ls -l asks for ACLs and security labels; told "not supported" it asks once and not for every file.
    if (!name.startsWith('user.') && node.xattrs?.has(name) !== true) {
      throw new FsError('ENOTSUP', `no extended attributes like ${name} here`);
    }
    replyValue(request, connection.operations.getxattr(node, name));
  },
};

/** LISTXATTR: the names, each with its NUL. */
export const listxattr: Handler = {
  input: GetxattrIn,
  handle(connection, request) {
    const names = connection.operations.listxattr(connection.node(request));
    replyValue(request, Buffer.from(names.map((name) => `${name}\0`).join('')));
  },
};

/** A caller that passes no room asks for the length. */
function replyValue(request: Request, value: Uint8Array): void {
  const room = GetxattrIn.get.size(request.view, BODY);
  if (room === 0) {
    GetxattrOut.set.size(replyView, REPLY_BODY, value.byteLength);
    replyView.setUint32(REPLY_BODY + GetxattrOut.at.padding, 0);
    request.reply(GetxattrOut.size);
    return;
  }
  if (value.byteLength > room) throw new FsError('ERANGE', 'the value is longer than the buffer for it');
  request.replyData([value]);
}
