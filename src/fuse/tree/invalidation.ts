import type { Entries } from './directory.ts';
import type { DirectoryNode, Node } from './node.ts';

/**
 * Hears that something which was said of the tree is true no longer, so that whoever has kept it asks again. Told is
 * what changes by itself: in the bucket, or by a command of ours. What is changed through the mount is known to who
 * changed it.
 *
 * All of these return at once, whatever there is to do, and may be called at any time.
 */
export interface Invalidation {
  /** A name in a directory stands for something else, or for something where there was nothing. */
  invalidateEntry(parent: DirectoryNode, name: string): void;
  /**
   * A name in a directory is gone, and `child`, which it stood for, with it: for good, under every name. The difference
   * is heard by who watches the directory (inotify) or has the child open, which has no names any more.
   */
  deleteEntry(parent: DirectoryNode, name: string, child: Node): void;
  /** The attributes of a node have changed, and with `content` also its data or listing. */
  invalidateNode(node: Node, options: { readonly content: boolean }): void;
}

/** Passes on what the tree tells to whoever serves it, once there is somebody: before that nobody has kept anything. */
export class InvalidationRelay implements Invalidation {
  #listener: Invalidation | undefined;

  /** There is one listener; a second one takes the place of the first. */
  connect(listener: Invalidation): void {
    this.#listener = listener;
  }

  invalidateEntry(parent: DirectoryNode, name: string): void {
    this.#listener?.invalidateEntry(parent, name);
  }

  deleteEntry(parent: DirectoryNode, name: string, child: Node): void {
    this.#listener?.deleteEntry(parent, name, child);
  }

  invalidateNode(node: Node, options: { readonly content: boolean }): void {
    this.#listener?.invalidateNode(node, options);
  }
}

/**
 * Tells what is another between two lists of a directory's entries. Files and links that have lost their name must not
 * come back; directories may, or have another name by now, and who is in one can go on.
 */
export function invalidateChanged(
  to: Invalidation,
  parent: DirectoryNode,
  before: Entries,
  after: Entries,
): void {
  if (before === after) return;
  for (const [name, node] of before) {
    if (after.get(name) === node) continue;
    if (after.has(name) || node.kind === 'directory') to.invalidateEntry(parent, name);
    else to.deleteEntry(parent, name, node);
  }
  for (const name of after.keys()) if (!before.has(name)) to.invalidateEntry(parent, name);
}
