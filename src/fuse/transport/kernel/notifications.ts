/**
 * Messages that tell the kernel what it should no longer believe. What they name by node has to be known to the
 * kernel; the functions take its numbers, see `InodeTable.idOf`.
 */
import { Notification } from './abi/opcodes.ts';
import {
  NotifyDeleteOut,
  NotifyInvalEntryOut,
  NotifyInvalInodeOut,
  NotifyRetrieveOut,
  OutHeader,
} from './abi/replies.ts';

const BODY = OutHeader.size;

/** The name may stand for something else now: it is looked up again. */
export function invalidateEntryMessage(parent: number, name: string): Buffer {
  const { message, view, namelen } = withName(Notification.INVAL_ENTRY, NotifyInvalEntryOut.size, name);
  NotifyInvalEntryOut.set.parent(view, BODY, parent);
  NotifyInvalEntryOut.set.namelen(view, BODY, namelen);
  return message;
}

/** The attributes have changed, and with `content` also the data or listing: both are asked for again. */
export function invalidateInodeMessage(id: number, content: boolean): Buffer {
  const { message, view } = withName(Notification.INVAL_INODE, NotifyInvalInodeOut.size);
  NotifyInvalInodeOut.set.ino(view, BODY, id);
  NotifyInvalInodeOut.set.off(view, BODY, content ? 0 : -1);
  return message;
}

/** The name is gone: whoever watches the directory hears of it (inotify). */
export function deleteMessage(parent: number, child: number, name: string): Buffer {
  const { message, view, namelen } = withName(Notification.DELETE, NotifyDeleteOut.size, name);
  NotifyDeleteOut.set.parent(view, BODY, parent);
  NotifyDeleteOut.set.child(view, BODY, child);
  NotifyDeleteOut.set.namelen(view, BODY, namelen);
  return message;
}

/**
 * Asks for nothing (no byte of a file): the answer, NOTIFY_REPLY, wakes whoever reads the device. The file has to be a
 * regular one.
 */
export function wakeMessage(file: number): Buffer {
  const { message, view } = withName(Notification.RETRIEVE, NotifyRetrieveOut.size);
  NotifyRetrieveOut.set.nodeid(view, BODY, file);
  return message;
}

/** A notification without its fields; with a name it ends in that and a NUL. */
function withName(
  code: number,
  size: number,
  name?: string,
): { message: Buffer; view: DataView; namelen: number } {
  const namelen = name === undefined ? 0 : Buffer.byteLength(name);
  const length = BODY + size + (name === undefined ? 0 : namelen + 1);
  const view = new DataView(new ArrayBuffer(length));
  const message = Buffer.from(view.buffer);
  OutHeader.set.len(view, 0, length);
  // With a unique of zero the kernel takes the error for the code of a notification.
  OutHeader.set.error(view, 0, code);
  if (name !== undefined) message.write(name, BODY + size);
  return { message, view, namelen };
}
