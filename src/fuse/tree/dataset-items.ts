import type { DirectoryNode, SpaceUsage } from './node.ts';

/** The items of a dataset, frozen or not, as its directories need them. */
export interface DatasetItems {
  /** The directory of all items that have a place in it. */
  readonly data: DirectoryNode;
  /** That of the others, by identifier. */
  readonly unrepresentable: DirectoryNode;
  /** What the items take; undefined before they were first read. */
  readonly usage: SpaceUsage | undefined;
  /** @throws FsError, as all of these, when the items can't be read */
  hasUnrepresentable(signal: AbortSignal): Promise<boolean>;
  /** Makes sure that the items can be read. */
  load(signal: AbortSignal): Promise<void>;
  /** Makes what can change be looked at again when it is next asked for. */
  expire(): void;
  /** Lets go of what is in memory, of a dataset that is no more. */
  forget(): void;
}
