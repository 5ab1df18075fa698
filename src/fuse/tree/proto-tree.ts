import type { Problem } from '../../ecs/dtool/format-error.ts';
import type { ProtoItems } from '../../ecs/dtool/proto-items.ts';
import { PROTO_ITEM_BYTES } from '../../limits.ts';
import type { DatasetItems } from './dataset-items.ts';
import { Directory } from './directory.ts';
import type { ItemsMemory } from './items-memory.ts';
import { buildItemTree, type ItemOwner, type ItemTree } from './item-tree.ts';
import type { Attributes, SpaceUsage } from './node.ts';
import type { Refreshing } from './refreshing.ts';

export interface ProtoTreeOptions {
  /** Has the items dropped when others are used more. */
  readonly memory: ItemsMemory;
  readonly list: (signal: AbortSignal) => Promise<ProtoItems>;
  /** Hears of every tree that was made, and what was wrong with objects that are no items. */
  readonly onLoad: (tree: ItemTree, problems: readonly Problem[]) => void;
  readonly dataAttributes: Attributes;
  readonly unrepresentableAttributes: Attributes;
}

export type LoadItemTree = (previous: ItemTree | undefined, signal: AbortSignal) => Promise<ItemTree>;

/** The items of a dataset that is not frozen, which may change. */
export class ProtoTree implements DatasetItems {
  readonly data: Directory;
  readonly unrepresentable: Directory;
  readonly #memory: ItemsMemory;
  readonly #tree: Refreshing<ItemTree>;

  /** @param refreshing makes a value that is refreshed of how it is loaded */
  constructor(
    owner: ItemOwner,
    refreshing: (load: LoadItemTree) => Refreshing<ItemTree>,
    options: ProtoTreeOptions,
  ) {
    this.#memory = options.memory;
    this.#tree = refreshing(async (previous, signal) => {
      const { items, problems } = await options.list(signal);
      const hashed = items.map((item) => ({ ...item, hash: item.hash ?? '' }));
      const tree = buildItemTree(owner, hashed, previous);
      options.onLoad(tree, problems);
      this.#memory.keep(this, tree.files * PROTO_ITEM_BYTES, () => this.#tree.drop());
      return tree;
    });
    this.data = new Directory(options.dataAttributes, 'refresh', [
      async (signal) => (await this.#items(signal)).data,
    ]);
    this.unrepresentable = new Directory(options.unrepresentableAttributes, 'refresh', [
      async (signal) => (await this.#items(signal)).unrepresentable,
    ]);
  }

  get usage(): SpaceUsage | undefined {
    return this.#tree.latest;
  }

  async hasUnrepresentable(signal: AbortSignal): Promise<boolean> {
    return (await this.#items(signal)).unrepresentable.size > 0;
  }

  async load(signal: AbortSignal): Promise<void> {
    await this.#items(signal);
  }

  expire(): void {
    this.#tree.expire();
  }

  forget(): void {
    this.#memory.remove(this);
  }

  async #items(signal: AbortSignal): Promise<ItemTree> {
    const tree = await this.#tree.get(signal);
    this.#memory.use(this);
    return tree;
  }
}
