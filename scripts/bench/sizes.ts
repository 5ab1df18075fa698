/** How much work the rows are. */
export interface Sizes {
  /** Bytes of the item that is read. */
  readonly largeBytes: number;
  /** Items of the dataset that is listed beside others. */
  readonly items: number;
  /** Items of two datasets between which growth is measured. */
  readonly fewItems: number;
  readonly manyItems: number;
  /** Datasets of two buckets between which growth is measured. */
  readonly fewDatasets: number;
  readonly manyDatasets: number;
  /** Datasets of the bucket that is listed beside dtool. */
  readonly listedDatasets: number;
  /** Items that are frozen beside dtool. */
  readonly frozenItems: number;
}

const MiB = 2 ** 20;

/** What the targets are about. */
export const FULL: Sizes = {
  largeBytes: 1_024 * MiB,
  items: 100_000,
  fewItems: 10_000,
  manyItems: 1_000_000,
  fewDatasets: 1_000,
  manyDatasets: 10_000,
  listedDatasets: 200,
  frozenItems: 1_000,
};

/** Enough to see that every row runs; the figures say nothing. */
export const SMALL: Sizes = {
  largeBytes: 64 * MiB,
  items: 2_000,
  fewItems: 1_000,
  manyItems: 20_000,
  fewDatasets: 20,
  manyDatasets: 200,
  listedDatasets: 20,
  frozenItems: 50,
};
