import { KERNEL_REQUEST_MAX_BYTES } from '../../../../limits.ts';
import type { Logger } from '../../../../log.ts';
import type { Device } from '../device.ts';
import type { Message } from '../request.ts';

/** Ways to wait for requests; `auto` is the first that works here. */
export const RECEIVE_MODES = ['auto', 'pipe', 'worker'] as const;
export type ReceiveMode = (typeof RECEIVE_MODES)[number];

/** Reads the requests of a device, one message at a time, and owns its descriptor. */
export interface Receiver {
  readonly mode: Exclude<ReceiveMode, 'auto'>;
  /** Resolves when the descriptor is closed, whether the mount has ended or {@link stop} was called. */
  readonly ended: Promise<void>;
  /**
   * Reads no more and closes the descriptor, which ends the mount for whoever uses it. Requests that wait must have been
   * answered. Resolves as `ended`.
   */
  stop(): Promise<void>;
}

export interface ReceiverOptions {
  readonly device: Device;
  /** Called with each message and its length; the buffer is used again when this returns. Must not throw. */
  readonly onMessage: (message: Message, length: number) => void;
  /** Makes the kernel send a request, whichever, if it can be made to. */
  readonly wake: () => void;
  readonly log: Logger;
}

/** A request of the longest kind: its structures are less than a page. */
export const MESSAGE_MAX_BYTES = KERNEL_REQUEST_MAX_BYTES + 4096;

/** Errors of read(2) that say that the mount is gone: ENODEV after umount, ECONNABORTED after a forced one. */
export const GONE: readonly unknown[] = ['ENODEV', 'ECONNABORTED'];

export function messageOver(buffer: ArrayBuffer | SharedArrayBuffer, offset: number): Message {
  return {
    bytes: Buffer.from(buffer, offset, MESSAGE_MAX_BYTES),
    view: new DataView(buffer, offset, MESSAGE_MAX_BYTES),
  };
}
