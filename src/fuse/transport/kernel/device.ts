import { write, writeSync, writevSync } from 'node:fs';
import { promisify } from 'node:util';
import { messageOf } from '../../../errors.ts';
import type { Logger } from '../../../log.ts';
import { errnoOfCode } from '../../errno.ts';
import { OutHeader } from './abi/replies.ts';
import type { ReplySink } from './connection.ts';

const writeInPool = promisify(write);

/** What the kernel answers when nobody waits for a reply any more: the caller was killed, or the mount is gone. */
const NOBODY_WAITS: readonly unknown[] = ['ENOENT', 'ENODEV', 'ENOTCONN', 'ECONNABORTED', 'EPERM'];
/** What it answers to a notification when what is gone is still in use: it has acted on it as far as that goes. */
const IN_USE: readonly unknown[] = ['ENOTEMPTY', 'EBUSY'];
/** From so many parts on they are copied together: writev(2) takes at most 1,024, and a message must be one call. */
const PARTS_MAX = 512;

/**
 * The descriptor of /dev/fuse as a place to write to. Whoever closes the descriptor calls {@link close} first, so that
 * no late reply ends up in a file that got the same number.
 */
export class Device implements ReplySink {
  readonly fd: number;
  readonly #log: Logger;
  #open = true;
  #notifies = true;
  #notifying: Promise<unknown> = Promise.resolve();

  constructor(fd: number, log: Logger) {
    this.fd = fd;
    this.#log = log;
  }

  write(bytes: Uint8Array, length: number): boolean {
    if (!this.#open) return false;
    try {
      writeSync(this.fd, bytes, 0, length);
      return true;
    } catch (error) {
      this.#refused(error, bytes);
      return false;
    }
  }

  writeParts(parts: readonly Uint8Array[]): boolean {
    if (!this.#open) return false;
    try {
      writevSync(this.fd, parts.length > PARTS_MAX ? [Buffer.concat(parts)] : parts);
      return true;
    } catch (error) {
      this.#refused(error, parts[0]);
      return false;
    }
  }

  /**
   * Writes a notification, one after the other, on a thread of the pool: the kernel takes locks that requests hold
   * until they are answered, so this may wait for replies, and the thread that replies must not.
   *
   * @returns whether the kernel took it; false too when it does not know what the notification is about
   */
  async notify(bytes: Uint8Array): Promise<boolean> {
    const turn = this.#notifying.then(() => this.#notifyNow(bytes));
    this.#notifying = turn;
    return turn;
  }

  /**
   * Sends no more notifications; resolves when the one under way is through, for which requests have to be answered
   * until then.
   */
  async endNotifications(): Promise<void> {
    this.#notifies = false;
    await this.#notifying;
  }

  /** Writes nothing more. Notifications have ended before. */
  close(): void {
    this.#open = false;
  }

  async #notifyNow(bytes: Uint8Array): Promise<boolean> {
    if (!this.#notifies) return false;
    try {
      await writeInPool(this.fd, bytes);
      return true;
    } catch (error) {
      if (has(error, IN_USE)) return true;
      if (!isNobodyWaiting(error)) this.#log.warn({ error: messageOf(error) }, 'notification was refused');
      return false;
    }
  }

  /** The kernel found fault with a reply: it gets one that it can't, or else the caller might wait for ever. */
  #refused(error: unknown, message: Uint8Array | undefined): void {
    if (isNobodyWaiting(error) || message === undefined) return;
    this.#log.error({ error: messageOf(error) }, 'the kernel refused a reply');
    const head = message.slice(0, OutHeader.size);
    const view = new DataView(head.buffer);
    OutHeader.set.len(view, 0, OutHeader.size);
    OutHeader.set.error(view, 0, -errnoOfCode('EIO'));
    try {
      writeSync(this.fd, head);
    } catch (second) {
      if (!isNobodyWaiting(second)) this.#log.error({ error: messageOf(second) }, 'a request got no reply');
    }
  }
}

function isNobodyWaiting(error: unknown): boolean {
  return has(error, NOBODY_WAITS);
}

function has(error: unknown, codes: readonly unknown[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(error.code);
}
