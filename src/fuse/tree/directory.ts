import { FsError } from '../../errors.ts';
import type { Attributes, DirectoryEntries, DirectoryEntry, DirectoryNode, Lifetime, Node } from './node.ts';

/** The entries of a directory by name, in the order in which they are listed. */
export type Entries = ReadonlyMap<string, Node>;

/**
 * Some of a directory's entries: as they are, or to be asked from the store.
 *
 * A function gets the name when only that one is wanted: older entries that have it will do.
 */
export type Layer = Entries | ((signal: AbortSignal, name?: string) => Promise<Entries>);

/**
 * A directory made of layers. A name is looked for in one layer after the other, so what is known at hand costs no
 * request; a listing shows all of them.
 */
export class Directory implements DirectoryNode {
  readonly kind = 'directory';
  readonly lifetime: Lifetime;
  readonly #attributes: Attributes;
  #layers: readonly Layer[] | (() => readonly Layer[]);
  /** The last listing and what it was made of. */
  #listing: { readonly of: readonly Entries[]; readonly entries: DirectoryEntries } | undefined;

  /** @param layers or what makes them when somebody first looks into it */
  constructor(
    attributes: Attributes,
    lifetime: Lifetime,
    layers: readonly Layer[] | (() => readonly Layer[]),
  ) {
    this.#attributes = attributes;
    this.lifetime = lifetime;
    this.#layers = layers;
  }

  /** Changes what is in it, at once for everybody who has it. Listings that were given out stay as they are. */
  replace(layers: readonly Layer[]): void {
    this.#layers = layers;
  }

  attributes(): Attributes {
    return this.#attributes;
  }

  async lookup(name: string, signal: AbortSignal): Promise<Node> {
    for (const layer of this.#made()) {
      const entries = typeof layer === 'function' ? await layer(signal, name) : layer;
      const node = entries.get(name);
      if (node) return node;
    }
    throw new FsError('ENOENT', `no entry ${name}`);
  }

  async list(signal: AbortSignal): Promise<DirectoryEntries> {
    const all = await Promise.all(
      this.#made().map(async (layer) => (typeof layer === 'function' ? layer(signal) : layer)),
    );
    const last = this.#listing;
    if (last && all.every((entries, index) => entries === last.of[index])) return last.entries;
    const entries = all.flatMap((layer) =>
      Array.from(layer, ([name, node]): DirectoryEntry => ({ name, node })),
    );
    this.#listing = { of: all, entries };
    return entries;
  }

  #made(): readonly Layer[] {
    if (typeof this.#layers === 'function') this.#layers = this.#layers();
    return this.#layers;
  }
}
