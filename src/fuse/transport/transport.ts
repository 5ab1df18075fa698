import type { Logger } from '../../log.ts';
import type { Operations } from '../operations.ts';
import type { Invalidation } from '../tree/invalidation.ts';

/** The transports there are, the default first. */
export const TRANSPORT_NAMES = ['kernel', 'fuse-native'] as const;
export type TransportName = (typeof TRANSPORT_NAMES)[number];

/**
 * A way to serve the kernel's requests: receives them, asks {@link Operations}, and replies exactly once to each.
 * Whatever goes wrong inside becomes an errno; a transport never throws out of a request.
 */
export interface Transport {
  readonly name: TransportName;
  /**
   * Mounts and starts to serve; resolves once the kernel can ask.
   *
   * @param mountpoint absolute path of an existing directory
   * @throws UserError when the system refuses, with what to do about it; nothing is left mounted then
   */
  mount(mountpoint: string, operations: Operations, options: TransportOptions): Promise<MountedTransport>;
}

export interface TransportOptions {
  /** What `df` and mount(8) show as the device. */
  readonly source: string;
  /** Let other users in; file modes then decide what they may. */
  readonly allowOther: boolean;
  readonly allowNonEmpty: boolean;
  readonly readOnly: boolean;
  /** Seconds that the kernel may keep names and attributes of what lives until the next refresh. */
  readonly refreshSeconds: number;
  readonly log: Logger;
}

export interface MountedTransport {
  /** Resolves when the mount is gone, whoever ended it. */
  readonly closed: Promise<void>;
  /** Takes what the kernel should no longer believe; absent where it can't be told. */
  readonly invalidation?: Invalidation;
  /** Interrupts requests that wait, unmounts (lazily if the mount is busy) and resolves when it is gone. */
  unmount(): Promise<void>;
}
