import { closeSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { messageOf, UserError } from '../../../errors.ts';
import { MOUNT_COMMAND_TIMEOUT_MS } from '../../../limits.ts';
import { findMount } from '../../mount-table.ts';
import type { Operations } from '../../operations.ts';
import { detach } from '../../unmount.ts';
import type { MountedTransport, Transport, TransportOptions } from '../transport.ts';
import { Connection } from './connection.ts';
import { Device } from './device.ts';
import { dispatch } from './dispatcher.ts';
import { KernelMount, type KernelMountParts } from './kernel-mount.ts';
import { mountDevice } from './mount/mount.ts';
import type { MountedDevice } from './mount/mounted-device.ts';
import { raiseReadAhead } from './mount/read-ahead.ts';
import type { KernelInvalidation } from './kernel-invalidation.ts';
import { wakeMessage } from './notifications.ts';
import type { ReceiveMode, Receiver, ReceiverOptions } from './receive/receiver.ts';
import { startReceiver } from './receive/start.ts';

export interface KernelTransportOptions {
  /** How requests are waited for; default `auto`. */
  readonly receive?: ReceiveMode;
}

/** A mount that this transport serves. */
export interface MountedKernel extends MountedTransport {
  readonly invalidation: KernelInvalidation;
  /** How requests are waited for. */
  readonly receive: Receiver['mode'];
  /** Nodes that the kernel holds references to, the root included. */
  readonly knownNodes: number;
  /** Requests that wait for their answer. */
  readonly waitingRequests: number;
  /** Callers that have been sent a signal and whose requests go on. */
  readonly watchedCallers: number;
}

/**
 * Serves the FUSE kernel protocol on /dev/fuse without libfuse: Linux 5.4 and newer. As root it needs mount(8), as a
 * user fusermount3 and the package koffi.
 */
export class KernelTransport implements Transport {
  readonly name = 'kernel';
  readonly #receive: ReceiveMode;

  constructor(options: KernelTransportOptions = {}) {
    this.#receive = options.receive ?? 'auto';
  }

  /**
   * @param mountpoint absolute path of an existing directory, or `/dev/fd/N` for a device that is mounted already and
   *   becomes ours
   */
  async mount(mountpoint: string, operations: Operations, options: TransportOptions): Promise<MountedKernel> {
    const { log } = options;
    const mounted = await mountDevice(mountpoint, options);
    const device = new Device(mounted.fd, log);
    let onInit!: (refusal: UserError | undefined) => void;
    const agreed = new Promise<void>((resolve, reject) => {
      onInit = (refusal) => (refusal === undefined ? resolve() : reject(refusal));
    });
    const connection = new Connection(operations, device, {
      refreshSeconds: options.refreshSeconds,
      log,
      onInit,
    });
    const { place, receiver } = await this.#start(mounted, {
      device,
      log,
      onMessage: (message, length) => dispatch(connection, message, length),
      wake: () => wake(mounted, device, connection),
    });
    const mount = new KernelMount({ place, connection, device, receiver });
    const timer = setTimeout(() => onInit(silent(mountpoint)), MOUNT_COMMAND_TIMEOUT_MS);
    try {
      await Promise.race([agreed, mount.closed.then(() => Promise.reject(endedEarly(mountpoint)))]);
    } catch (error) {
      await mount.unmount();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    if (place !== undefined) await raiseReadAhead(place.device, log);
    return mount;
  }

  async #start(
    mounted: MountedDevice,
    options: ReceiverOptions,
  ): Promise<Pick<KernelMountParts, 'place' | 'receiver'>> {
    try {
      const place = mounted.mountpoint === undefined ? undefined : await findMount(mounted.mountpoint);
      return { place, receiver: startReceiver(this.#receive, options) };
    } catch (error) {
      closeSync(mounted.fd);
      if (mounted.mountpoint !== undefined) await detach(mounted.mountpoint, true);
      throw error;
    }
  }
}

/**
 * Makes the kernel send a request: about a file it knows, which works wherever the mount is or was, or else through the
 * mount point. A mount that somebody took away lazily and that is in use without any file stays until it is not.
 */
function wake(mounted: MountedDevice, device: Device, connection: Connection): void {
  const file = connection.inodes.anyFile();
  if (file !== undefined) {
    const message = wakeMessage(file);
    if (device.write(message, message.byteLength)) return;
  }
  if (mounted.mountpoint === undefined) return;
  // The request is what counts: how it ends does not matter, and it ends with the device at the latest.
  statfs(mounted.mountpoint).catch((error: unknown) => {
    connection.log.debug({ error: messageOf(error) }, 'the mount ended while it was asked for its size');
  });
}

function silent(mountpoint: string): UserError {
  return new UserError(
    `the kernel has not introduced itself at ${mountpoint} within ${MOUNT_COMMAND_TIMEOUT_MS / 1000} s`,
    'A device given as /dev/fd/N must be newly mounted: another program has served this one.',
  );
}

function endedEarly(mountpoint: string): UserError {
  return new UserError(`the mount on ${mountpoint} ended before it was ready`);
}
