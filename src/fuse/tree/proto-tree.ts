import type { Problem } from '../../ecs/dtool/format-error.ts';
import type { ProtoItems } from '../../ecs/dtool/proto-items.ts';
import type { DatasetItems } from './dataset-items.ts';
import { Directory } from './directory.ts';
import { buildItemTree, type ItemOwner, type ItemTree } from './item-tree.ts';
import type { Attributes, SpaceUsage } from './node.ts';
import type { Refreshing } from './refreshing.ts';

export interface ProtoTreeOptions {
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
  readonly #tree: Refreshing<ItemTree>;

  /** @param refreshing makes a value that is refreshed of how it is loaded */
  constructor(
    owner: ItemOwner,
    refreshing: (load: LoadItemTree) => Refreshing<ItemTree>,
    options: ProtoTreeOptions,
  ) {
    this.#tree = refreshing(async (previous, signal) => {
      const { items, problems } = await options.list(signal);
      const hashed = items.map((item) => ({ ...item, hash: item.hash ?? '' }));
      const tree = buildItemTree(owner, hashed, previous);
      options.onLoad(tree, problems);
      return tree;
    });
    this.data = new Directory(options.dataAttributes, 'refresh', [
      async (signal) => (await this.#tree.get(signal)).data,
    ]);
    this.unrepresentable = new Directory(options.unrepresentableAttributes, 'refresh', [
      async (signal) => (await this.#tree.get(signal)).unrepresentable,
    ]);
  }

  get usage(): SpaceUsage | undefined {
    return this.#tree.latest;
  }

  async hasUnrepresentable(signal: AbortSignal): Promise<boolean> {
    return (await this.#tree.get(signal)).unrepresentable.size > 0;
  }

  async load(signal: AbortSignal): Promise<void> {
    await this.#tree.get(signal);
  }

  expire(): void {
    this.#tree.expire();
  }

  forget(): void {}
}
