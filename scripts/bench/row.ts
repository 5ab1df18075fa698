import type { World } from './world.ts';

/** What is put side by side; `limit` is what a row compares all with, such as a plain HTTP client or a local disk. */
export const SUBJECTS = ['ours', 's3fs', 'rclone', 'limit'] as const;
export type Subject = (typeof SUBJECTS)[number];

/** One line of the table. */
export interface Row {
  /** For the command line. */
  readonly name: string;
  readonly title: string;
  readonly unit: 'MB/s' | 's' | 'ms' | 'requests' | 'MiB';
  /** Whether more is better or less. */
  readonly better: 'more' | 'less';
  /** What it is to be, in words (field.md's target). */
  readonly target: string;
  /** What `limit` is here. */
  readonly limit?: string;
  /** Measures one subject once. Undefined where it can't be measured. */
  measure(world: World, subject: Subject): Promise<number | undefined>;
}
