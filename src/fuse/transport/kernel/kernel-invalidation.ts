import { KERNEL_NOTIFICATIONS_MAX } from '../../../limits.ts';
import type { Invalidation } from '../../tree/invalidation.ts';
import type { DirectoryNode, Node } from '../../tree/node.ts';
import type { Connection } from './connection.ts';
import type { Device } from './device.ts';
import { deleteMessage, invalidateEntryMessage, invalidateInodeMessage } from './notifications.ts';

/**
 * Tells the kernel what it should no longer believe. It acts on that some time later, one after the other, and may have
 * to wait for requests under way: never wait for {@link settled} inside an operation.
 *
 * It is told when no request waits that has locked what it will lock for that. Else, should we be killed meanwhile, the
 * request would wait for us, the kernel for the request, and what is left of us for the kernel: for ever.
 *
 * What the kernel does not know is not told to it. Above {@link KERNEL_NOTIFICATIONS_MAX} that wait, further ones are
 * dropped: what the tree says of what can change is believed for some seconds only, so no more than these are lost.
 */
export class KernelInvalidation implements Invalidation {
  readonly #connection: Connection;
  readonly #device: Device;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(connection: Connection, device: Device) {
    this.#connection = connection;
    this.#device = device;
  }

  /** Resolves when the kernel has acted on all that it was told so far. */
  get settled(): Promise<unknown> {
    return this.#last;
  }

  invalidateEntry(parent: DirectoryNode, name: string): void {
    const id = this.#connection.inodes.idOf(parent);
    if (id !== undefined) this.#send([id], () => invalidateEntryMessage(id, name));
  }

  deleteEntry(parent: DirectoryNode, name: string, child: Node): void {
    const childId = this.#connection.inodes.idOf(child);
    if (childId === undefined) return this.invalidateEntry(parent, name);
    const id = this.#connection.inodes.idOf(parent);
    if (id !== undefined) this.#send([id, childId], () => deleteMessage(id, childId, name));
  }

  invalidateNode(node: Node, { content }: { readonly content: boolean }): void {
    const id = this.#connection.inodes.idOf(node);
    if (id !== undefined) this.#send([id], () => invalidateInodeMessage(id, content));
  }

  /** @param nodeIds which the kernel locks for it */
  #send(nodeIds: readonly number[], message: () => Buffer): void {
    if (this.#waiting >= KERNEL_NOTIFICATIONS_MAX) {
      this.#connection.log.debug(
        { waiting: this.#waiting },
        'the kernel is behind with notifications: one is dropped',
      );
      return;
    }
    this.#waiting += 1;
    this.#last = this.#sendInTurn(this.#last, nodeIds, message()).finally(() => {
      this.#waiting -= 1;
    });
  }

  async #sendInTurn(before: Promise<unknown>, nodeIds: readonly number[], message: Buffer): Promise<void> {
    await before;
    await this.#connection.unlocked(nodeIds);
    await this.#device.notify(message);
  }
}
