import { type Clock, systemClock } from '../../../clock.ts';
import { FsError, type UserError } from '../../../errors.ts';
import type { Logger } from '../../../log.ts';
import type { Operations } from '../../operations.ts';
import type { Node } from '../../tree/node.ts';
import { Opcode } from './abi/opcodes.ts';
import { type CallerState, callerState } from './caller-state.ts';
import { CallerWatch } from './caller-watch.ts';
import { InodeTable } from './inode-table.ts';
import type { Request } from './request.ts';

/** Requests that lock a directory besides the node that they name. */
const LOCKS_TWO: ReadonlySet<number> = new Set([Opcode.RENAME, Opcode.RENAME2]);

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
  /** Looks at the thread of a caller; default: through /proc. */
  readonly callerState?: (threadId: number) => Promise<CallerState>;
  readonly clock?: Clock;
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
  readonly #callers: CallerWatch;
  /** To be told of the next request that was answered. */
  #onSettled: (() => void)[] = [];
  #ending = false;

  constructor(operations: Operations, device: ReplySink, options: ConnectionOptions) {
    this.operations = operations;
    this.inodes = new InodeTable(operations.root);
    this.device = device;
    this.refreshSeconds = options.refreshSeconds;
    this.log = options.log;
    this.onInit = options.onInit;
    this.#callers = new CallerWatch(options.callerState ?? callerState, options.clock ?? systemClock);
  }

  /** The number of requests that wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** The number of callers that have been sent a signal and whose requests go on. */
  get watchedCallers(): number {
    return this.#callers.size;
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
    if (this.#waiting.get(request.unique) !== request) return;
    this.#waiting.delete(request.unique);
    this.#callers.forget(request);
    for (const told of this.#onSettled.splice(0)) told();
  }

  /** Resolves when no request waits for which the kernel may have locked one of these nodes until it is answered. */
  async unlocked(nodeIds: readonly number[]): Promise<void> {
    while (this.#mayLock(nodeIds)) {
      await new Promise<void>((resolve) => {
        this.#onSettled.push(resolve);
      });
    }
  }

  /**
   * The caller of a request has been sent a signal. It ends the request if the caller is about to leave, now or later. A
   * request that was answered meanwhile is unknown here, and that is fine.
   */
  signalled(unique: number): void {
    const request = this.#waiting.get(unique);
    if (request?.isInterruptible === true) this.#callers.watch(request);
  }

  #mayLock(nodeIds: readonly number[]): boolean {
    for (const { nodeId, opcode } of this.#waiting.values())
      if (nodeIds.includes(nodeId) || LOCKS_TWO.has(opcode)) return true;
    return false;
  }

  /** Interrupts all that wait or will. */
  end(): void {
    this.#ending = true;
    for (const request of this.#waiting.values()) request.interrupt();
  }
}
