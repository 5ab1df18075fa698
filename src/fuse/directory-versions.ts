import type { DirectoryNode } from './tree/node.ts';

/** Counts the changes to the entries of directories, so that a listing that was taken before one is known for old. */
export class DirectoryVersions {
  /** None where there is no number. */
  readonly #versions = new WeakMap<DirectoryNode, number>();

  of(node: DirectoryNode): number {
    return this.#versions.get(node) ?? 0;
  }

  changed(node: DirectoryNode): void {
    this.#versions.set(node, this.of(node) + 1);
  }
}
