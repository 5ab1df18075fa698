import type { LocalInode } from './inode-numbers.ts';

/** So many entries are looked at for each that changes: more than one, so that the dead ones don't gather. */
const LOOKED_AT = 2;

/**
 * Nodes of local files by their inode. A node that a transport remembers is held here; any other one is found for as long
 * as somebody else holds it.
 */
export class LocalNodes<T extends { readonly inode: LocalInode }> {
  readonly #nodes = new Map<LocalInode, T | WeakRef<T>>();
  #sweep = this.#nodes.entries();

  get(inode: LocalInode): T | undefined {
    const found = this.#nodes.get(inode);
    return found instanceof WeakRef ? found.deref() : found;
  }

  /** From now on this is the node of its inode. */
  add(node: T): void {
    this.#nodes.set(node.inode, new WeakRef(node));
    this.#sweepSome();
  }

  /** Whether to hold a node, unless its inode is another node's by now. */
  hold(node: T, isHeld: boolean): void {
    if (this.get(node.inode) !== node) return;
    this.#nodes.set(node.inode, isHeld ? node : new WeakRef(node));
    if (!isHeld) this.#sweepSome();
  }

  delete(node: T): void {
    if (this.get(node.inode) === node) this.#nodes.delete(node.inode);
  }

  #sweepSome(): void {
    for (let looked = 0; looked < LOOKED_AT; looked += 1) {
      const next = this.#sweep.next();
      if (next.done) {
        this.#sweep = this.#nodes.entries();
        return;
      }
      const [inode, node] = next.value;
      if (node instanceof WeakRef && node.deref() === undefined) this.#nodes.delete(inode);
    }
  }
}
