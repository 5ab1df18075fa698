import { FsError, type UserError } from '../../../errors.ts';
import type { Logger } from '../../../log.ts';
import type { Operations } from '../../operations.ts';
import type { Node } from '../../tree/node.ts';
import { InodeTable } from './inode-table.ts';
import type { Request } from './request.ts';

/** Where replies go: /dev/fuse, or a test. */
export interface ReplySink {
  /** Writes one message, the first `length` bytes of `bytes`; never throws. Returns whether the kernel took it. */
  write(bytes: Uint8Array, length: number): boolean;
  /** The same for a message in parts, the first of which is the header. */
  writeParts(parts: readonly Uint8Array[]): boolean;
}

export interface ConnectionOptions {
  readonly refreshSeconds: number;
  readonly log: Logger;
  /** Told once, when the kernel has introduced itself: what keeps us from serving it, if anything does. */
  readonly onInit: (refusal: UserError | undefined) => void;
}

/**
 * All that the requests of one mount share: what they ask, what the kernel knows, and which of them wait.
 *
 * serving → ending. From {@link end} on whatever would wait gets EINTR.
 */
export class Connection {
  readonly operations: Operations;
  readonly inodes: InodeTable;
  readonly device: ReplySink;
  readonly refreshSeconds: number;
  readonly log: Logger;
  readonly onInit: (refusal: UserError | undefined) => void;
  readonly #waiting = new Map<number, Request>();
  #ending = false;

  constructor(operations: Operations, device: ReplySink, options: ConnectionOptions) {
    this.operations = operations;
    this.inodes = new InodeTable(operations.root);
    this.device = device;
    this.refreshSeconds = options.refreshSeconds;
    this.log = options.log;
    this.onInit = options.onInit;
  }

  /** The number of requests that wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** @throws FsError ESTALE */
  node(request: Request): Node {
    return this.inodes.node(request.nodeId);
  }

  /**
   * Takes a request among those that wait.
   *
   * @throws FsError EINTR when the mount is ending
   */
  admit(request: Request): void {
    if (this.#ending) throw new FsError('EINTR', 'the mount is ending');
    this.#waiting.set(request.unique, request);
  }

  /** A request was answered. */
  settle(request: Request): void {
    if (this.#waiting.get(request.unique) === request) this.#waiting.delete(request.unique);
  }

  /** The caller of a request gives up. One that was answered meanwhile is unknown here, and that is fine. */
  interrupt(unique: number): void {
    this.#waiting.get(unique)?.interrupt();
  }

  /** Interrupts all that wait or will. */
  end(): void {
    this.#ending = true;
    for (const request of this.#waiting.values()) request.interrupt();
  }
}
