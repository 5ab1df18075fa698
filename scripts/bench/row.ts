import type { Sizes } from './sizes.ts';
import type { World } from './world.ts';

/** What is put side by side; `limit` is what a line compares all with, such as a plain HTTP client or a local disk. */
export const SUBJECTS = ['ours', 's3fs', 'rclone', 'dtool', 'limit'] as const;
export type Subject = (typeof SUBJECTS)[number];

/** What a subject was measured at; `over` where it was ended then, so that all that is known is that it is more. */
export type Figure = number | { readonly over: number };

/** By the names of lines. */
export type Figures = Readonly<Record<string, Figure>>;

/** The median of what a subject was measured at, of one of the row's lines; undefined where it was not. */
export type MedianOf = (subject: Subject, line: string) => Figure | undefined;

/** What a line is to reach. */
export interface Target {
  readonly text: string;
  /** Undefined where something was not measured that it compares with, or not to its end. */
  isMet(medianOf: MedianOf): boolean | undefined;
}

/** One line of the table. */
export interface Line {
  readonly title: string;
  /** Without one the figure is a bare number. */
  readonly unit: string;
  /** Whether more is better or less. */
  readonly better: 'more' | 'less';
  readonly target?: Target;
  /** What `limit` is here. */
  readonly limit?: string;
}

/** Work that is measured at once, and the lines that come of it. */
export interface Row {
  /** For the command line. */
  readonly name: string;
  readonly lines: Readonly<Record<string, Line>>;
  /** For work that takes long: how many rounds are enough. */
  readonly maxRounds?: number;
  /** Measures one subject once. Undefined where it can't be measured. */
  measure(world: World, subject: Subject): Promise<Figures | undefined>;
}

export type RowOf = (sizes: Sizes) => Row;
