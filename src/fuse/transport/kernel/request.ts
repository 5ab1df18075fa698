import { isUtf8 } from 'node:buffer';
import { FsError, messageOf } from '../../../errors.ts';
import { NAME_MAX_BYTES } from '../../../limits.ts';
import { errnoOf, errnoOfCode } from '../../errno.ts';
import { OutHeader } from './abi/replies.ts';
import { InHeader } from './abi/requests.ts';
import type { Connection } from './connection.ts';
import type { Owner } from '../../tree/changes.ts';
import type { Node } from '../../tree/node.ts';
import { replyBytes, replyHead, replyView } from './reply-buffer.ts';

/** A buffer that a request was read into. It is used again as soon as the request has been dispatched. */
export interface Message {
  readonly bytes: Buffer;
  readonly view: DataView;
}

const NUL = 0;
const UNIQUE_SECOND_HALF = InHeader.at.unique + 4;

/**
 * One request of the kernel: what it asks, the signal that cancels it, and the one reply it gets. Whatever comes after
 * the first reply is dropped.
 *
 * The message (structure, names, data) can be read until the handler first awaits; header fields stay.
 */
export class Request {
  readonly opcode: number;
  /** Identifies the request in INTERRUPT; exact below 2^53, which a kernel never reaches. */
  readonly unique: number;
  readonly nodeId: number;
  readonly uid: number;
  readonly gid: number;
  /** The thread that waits for the reply; 0 where the mount can't see into its pid namespace. */
  readonly threadId: number;
  readonly #connection: Connection;
  // The two halves of `unique` as they came, so that the reply has them whatever they are.
  readonly #unique0: number;
  readonly #unique1: number;
  #message: Message | undefined;
  readonly #length: number;
  #controller: AbortController | undefined;
  #isInterruptible = true;
  #answered = false;

  /** @param length bytes of the message, at least those of the header */
  constructor(connection: Connection, message: Message, length: number) {
    const { view } = message;
    this.#connection = connection;
    this.#message = message;
    this.#length = length;
    this.opcode = InHeader.get.opcode(view, 0);
    this.unique = InHeader.get.unique(view, 0);
    this.nodeId = InHeader.get.nodeid(view, 0);
    this.uid = InHeader.get.uid(view, 0);
    this.gid = InHeader.get.gid(view, 0);
    this.threadId = InHeader.get.pid(view, 0);
    this.#unique0 = view.getUint32(InHeader.at.unique, true);
    this.#unique1 = view.getUint32(UNIQUE_SECOND_HALF, true);
  }

  get answered(): boolean {
    return this.#answered;
  }

  /** Bytes after the header. */
  get bodyLength(): number {
    return this.#length - InHeader.size;
  }

  /** The message; its body starts at {@link BODY}. */
  get view(): DataView {
    return this.#read().view;
  }

  /** All fields of the structure after the header. */
  fields<T>(input: { decode(view: DataView, base: number): T }): T {
    return input.decode(this.view, BODY);
  }

  /**
   * The NUL-terminated strings after the structure, shared with the message.
   *
   * @throws FsError EINVAL when there are fewer
   */
  byteStrings(input: { readonly size: number } | undefined, count: number): Buffer[] {
    const { bytes } = this.#read();
    let start = BODY + (input?.size ?? 0);
    return Array.from({ length: count }, () => {
      const end = bytes.indexOf(NUL, start);
      if (end < 0 || end >= this.#length) throw new FsError('EINVAL', 'a name without its end');
      const found = bytes.subarray(start, end);
      start = end + 1;
      return found;
    });
  }

  /**
   * The same as text.
   *
   * @throws FsError EINVAL when there are fewer, EILSEQ when one is not UTF-8
   */
  strings(input: { readonly size: number } | undefined, count: number): string[] {
    return this.byteStrings(input, count).map((bytes) => {
      const text = bytes.toString();
      // Decoding replaces what is no UTF-8, and such a name must not stand for the one with the replacement in it.
      if (text.includes('\u{fffd}') && !isUtf8(bytes)) {
        throw new FsError('EILSEQ', 'a name that is not UTF-8');
      }
      return text;
    });
  }

  /**
   * The names of directory entries after the structure.
   *
   * @throws FsError as {@link strings}, ENAMETOOLONG and, for what is no name, EINVAL
   */
  names(input: { readonly size: number } | undefined, count = 1): string[] {
    const names = this.strings(input, count);
    for (const name of names) {
      if (Buffer.byteLength(name) > NAME_MAX_BYTES) {
        throw new FsError('ENAMETOOLONG', `a name of more than ${NAME_MAX_BYTES} bytes`);
      }
      if (name === '' || name.includes('/')) throw new FsError('EINVAL', 'not the name of a file');
    }
    return names;
  }

  /**
   * `count` bytes from `offset` after the header, shared with the message.
   *
   * @throws FsError EINVAL when the message is shorter
   */
  data(offset: number, count: number): Buffer {
    if (offset + count > this.bodyLength) throw new FsError('EINVAL', 'a request shorter than its data');
    return this.#read().bytes.subarray(BODY + offset, BODY + offset + count);
  }

  /** Whether a caller that is about to leave ends the request. */
  get isInterruptible(): boolean {
    return this.#isInterruptible;
  }

  /**
   * The {@link signal} of a request about `node`. Of a node on the local disk, which answers within milliseconds, only the
   * end of the mount ends a request: as on the local disk itself, no signal makes a call fail.
   *
   * @throws FsError EINTR when the mount is ending
   */
  signalFor(node: Node): AbortSignal {
    this.#isInterruptible = node.isLocal !== true;
    return this.signal;
  }

  /**
   * Aborts when the caller leaves or the mount ends. Whoever asks for it declares that the request may wait, which
   * makes it interruptible.
   *
   * @throws FsError EINTR when the mount is ending
   */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#connection.admit(this);
      this.#controller = new AbortController();
    }
    return this.#controller.signal;
  }

  /** Replies EINTR at once, whatever becomes of the operation, and cancels it. */
  interrupt(): void {
    this.error(errnoOfCode('EINTR'));
    this.#controller?.abort();
  }

  /** The message's buffer is about to be used again. */
  detach(): void {
    this.#message = undefined;
  }

  /**
   * Replies with the first `length` bytes of the reply buffer's body.
   *
   * @returns whether the kernel took it: if not, nothing the reply hands over (a reference, a handle) is the kernel's
   */
  reply(length = 0): boolean {
    if (!this.#answer()) return false;
    this.#encodeHeader(length, 0);
    return this.#connection.device.write(replyBytes, OutHeader.size + length);
  }

  /** Replies with data, uncopied. */
  replyData(parts: readonly Uint8Array[]): boolean {
    if (!this.#answer()) return false;
    let length = 0;
    for (const part of parts) length += part.byteLength;
    this.#encodeHeader(length, 0);
    return this.#connection.device.writeParts([replyHead, ...parts]);
  }

  /** Replies with a positive errno. */
  error(errno: number): boolean {
    if (!this.#answer()) return false;
    this.#encodeHeader(0, -errno);
    return this.#connection.device.write(replyBytes, OutHeader.size);
  }

  /** Replies with what a thrown value means, and logs it when it is none of the errors that file operations have. */
  fail(error: unknown): void {
    const errno = errnoOf(error);
    if (!this.#answered && !(error instanceof FsError) && errno === errnoOfCode('EIO')) {
      this.#connection.log.error({ opcode: this.opcode, error: messageOf(error) }, 'request failed');
    }
    this.error(errno);
  }

  #read(): Message {
    if (this.#message === undefined) throw new Error('the message was read after the handler first waited');
    return this.#message;
  }

  #answer(): boolean {
    if (this.#answered) return false;
    this.#answered = true;
    if (this.#controller !== undefined) this.#connection.settle(this);
    return true;
  }

  #encodeHeader(length: number, error: number): void {
    OutHeader.set.len(replyView, 0, OutHeader.size + length);
    OutHeader.set.error(replyView, 0, error);
    replyView.setUint32(OutHeader.at.unique, this.#unique0, true);
    replyView.setUint32(OutHeader.at.unique + 4, this.#unique1, true);
  }
}

/** Where the body of a message starts. */
export const BODY = InHeader.size;

/** Returns who asks, and so owns what is made. */
export function callerOf({ uid, gid }: Request): Owner {
  return { uid, gid };
}
