import { KERNEL_NOTIFICATIONS_MAX } from '../../../limits.ts';
import type { Logger } from '../../../log.ts';
import type { Invalidation } from '../../tree/invalidation.ts';
import type { DirectoryNode, Node } from '../../tree/node.ts';
import type { Device } from './device.ts';
import type { InodeTable } from './inode-table.ts';
import { deleteMessage, invalidateEntryMessage, invalidateInodeMessage } from './notifications.ts';

/**
 * Tells the kernel what it should no longer believe. It acts on that some time later, one after the other, and may have
 * to wait for requests under way: never wait for {@link settled} inside an operation.
 *
 * What the kernel does not know is not told to it. Above {@link KERNEL_NOTIFICATIONS_MAX} that wait, further ones are
 * dropped: what the tree says of what can change is believed for some seconds only, so no more than these are lost.
 */
export class KernelInvalidation implements Invalidation {
  readonly #inodes: InodeTable;
  readonly #device: Device;
  readonly #log: Logger;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(inodes: InodeTable, device: Device, log: Logger) {
    this.#inodes = inodes;
    this.#device = device;
    this.#log = log;
  }

  /** Resolves when the kernel has acted on all that it was told so far. */
  get settled(): Promise<unknown> {
    return this.#last;
  }

  invalidateEntry(parent: DirectoryNode, name: string): void {
    const id = this.#inodes.idOf(parent);
    if (id !== undefined) this.#send(() => invalidateEntryMessage(id, name));
  }

  deleteEntry(parent: DirectoryNode, name: string, child: Node): void {
    const childId = this.#inodes.idOf(child);
    if (childId === undefined) return this.invalidateEntry(parent, name);
    const id = this.#inodes.idOf(parent);
    if (id !== undefined) this.#send(() => deleteMessage(id, childId, name));
  }

  invalidateNode(node: Node, { content }: { readonly content: boolean }): void {
    const id = this.#inodes.idOf(node);
    if (id !== undefined) this.#send(() => invalidateInodeMessage(id, content));
  }

  #send(message: () => Buffer): void {
    if (this.#waiting >= KERNEL_NOTIFICATIONS_MAX) {
      this.#log.debug({ waiting: this.#waiting }, 'the kernel is behind with notifications: one is dropped');
      return;
    }
    this.#waiting += 1;
    this.#last = this.#device.notify(message()).finally(() => {
      this.#waiting -= 1;
    });
  }
}
