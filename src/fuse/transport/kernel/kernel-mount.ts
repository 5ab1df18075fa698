import { UserError } from '../../../errors.ts';
import { findMount, type MountEntry } from '../../mount-table.ts';
import { detach } from '../../unmount.ts';
import type { Connection } from './connection.ts';
import type { Device } from './device.ts';
import { KernelInvalidation } from './kernel-invalidation.ts';
import type { MountedKernel } from './kernel-transport.ts';
import type { Receiver } from './receive/receiver.ts';

/** What a mount is made of. */
export interface KernelMountParts {
  /** What the system says of the mount; absent when we do not know where it is. */
  readonly place: MountEntry | undefined;
  readonly connection: Connection;
  readonly device: Device;
  readonly receiver: Receiver;
}

/**
 * A mount from its first request to its last: serving → ending → gone. It ends when the descriptor says that the kernel
 * has let go (somebody unmounted) or when {@link unmount} is called.
 */
export class KernelMount implements MountedKernel {
  readonly closed: Promise<void>;
  readonly invalidation: KernelInvalidation;
  readonly #parts: KernelMountParts;
  #unmounting: Promise<void> | undefined;

  constructor(parts: KernelMountParts) {
    this.#parts = parts;
    const { connection, device, receiver } = parts;
    this.invalidation = new KernelInvalidation(connection, device);
    this.closed = settle(connection, receiver);
  }

  get receive(): Receiver['mode'] {
    return this.#parts.receiver.mode;
  }

  get knownNodes(): number {
    return this.#parts.connection.inodes.size;
  }

  get waitingRequests(): number {
    return this.#parts.connection.waiting;
  }

  get watchedCallers(): number {
    return this.#parts.connection.watchedCallers;
  }

  unmount(): Promise<void> {
    this.#unmounting ??= this.#unmount();
    return this.#unmounting;
  }

  async #unmount(): Promise<void> {
    const { connection, place, receiver } = this.#parts;
    // Whoever waits goes first: a mount with a waiting caller is busy.
    connection.end();
    const detached =
      place !== undefined && (await isOnTop(place)) && (await detach(place.mountpoint, false)).done;
    // Closing the device makes the kernel fail all further calls: of who uses the mount, and in mount namespaces that
    // have a copy of it. A dead mount can be taken off its place although it is in use.
    await receiver.stop();
    if (place !== undefined && !detached && (await isOnTop(place))) {
      const { done, message } = await detach(place.mountpoint, true);
      if (!done && (await isOnTop(place))) {
        throw new UserError(
          `can't unmount ${place.mountpoint}: ${message}`,
          `Try \`umount -l ${place.mountpoint}\`.`,
        );
      }
    }
    await this.closed;
  }
}

/** Whether what the unmount command would take off is this mount, and not one that came after it. */
async function isOnTop(place: MountEntry): Promise<boolean> {
  return (await findMount(place.mountpoint))?.device === place.device;
}

/** Cleans up when the device is closed: what still waits is cancelled, what is open is closed. */
async function settle(connection: Connection, receiver: Receiver): Promise<void> {
  await receiver.ended;
  connection.end();
  connection.operations.releaseAll();
}
