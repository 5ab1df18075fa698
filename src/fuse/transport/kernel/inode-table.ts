import { FsError } from '../../../errors.ts';
import type { DirectoryNode, Node } from '../../tree/node.ts';
import { ROOT_ID } from './abi/flags.ts';

/**
 * The nodes that the kernel knows, by the number it knows them by, with the count of its references: as many as
 * replies named the node, less what FORGET took back. At zero the node is let go and its number given to another one
 * under a new generation, so the table is never longer than what the kernel knew at once.
 *
 * Numbers here are not inode numbers: they mean nothing beyond this mount.
 */
export class InodeTable {
  /** Of the nodes that don't know it themselves: there may be millions, and each place here takes half as much as they do. */
  readonly #ids = new Map<Node, number>();
  /** By number; the first place is never used, as 0 means "no node". */
  readonly #nodes: (Node | undefined)[] = [undefined];
  readonly #lookups: number[] = [0];
  readonly #generations: number[] = [0];
  readonly #free: number[] = [];

  /** @param root is known from the start and never forgotten */
  constructor(root: DirectoryNode) {
    this.remember(root);
  }

  /** Nodes that the kernel knows, the root included. */
  get size(): number {
    return this.#nodes.length - 1 - this.#free.length;
  }

  /** @throws FsError ESTALE when the kernel should not know this number */
  node(id: number): Node {
    const node = this.#nodes[id];
    if (node === undefined) throw new FsError('ESTALE', `no node has the number ${id}`);
    return node;
  }

  /** The number of a node, or undefined when the kernel does not know it. */
  idOf(node: Node): number | undefined {
    const { remembered } = node;
    return remembered === undefined ? this.#ids.get(node) : remembered || undefined;
  }

  /** The number of some regular file that the kernel knows, if there is one. */
  anyFile(): number | undefined {
    const id = this.#nodes.findIndex((node) => node?.kind === 'file');
    return id < 0 ? undefined : id;
  }

  /** Tells apart the nodes that had the same number one after the other. */
  generation(id: number): number {
    return this.#generations[id] ?? 0;
  }

  /** Counts one more reference and returns the node's number. */
  remember(node: Node): number {
    const known = this.idOf(node);
    if (known !== undefined) {
      this.#lookups[known] = (this.#lookups[known] ?? 0) + 1;
      return known;
    }
    const id = this.#free.pop() ?? this.#nodes.length;
    this.#name(node, id);
    this.#nodes[id] = node;
    this.#lookups[id] = 1;
    this.#generations[id] ??= 0;
    return id;
  }

  /** @param id 0 for none any more */
  #name(node: Node, id: number): void {
    if (node.remembered !== undefined) node.remembered = id;
    else if (id === 0) this.#ids.delete(node);
    else this.#ids.set(node, id);
  }

  /** Takes back `count` references. Unknown numbers are ignored: FORGET has no reply that could complain. */
  forget(id: number, count: number): void {
    const node = this.#nodes[id];
    if (node === undefined || id === ROOT_ID) return;
    const left = (this.#lookups[id] ?? 0) - count;
    this.#lookups[id] = left;
    if (left > 0) return;
    this.#name(node, 0);
    this.#nodes[id] = undefined;
    this.#generations[id] = this.generation(id) + 1;
    this.#free.push(id);
  }
}
