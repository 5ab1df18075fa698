/** What must not happen, ever. */
export type Violation =
  /** A read gave other bytes than were put there, or fewer. */
  | 'wrong-bytes'
  /** What fsync(2) had confirmed is not there. */
  | 'lost-after-fsync'
  /** What write(2) had confirmed is not there, though only the mount's process was killed. */
  | 'lost-after-write'
  /** An error that nothing that was done to the mount explains. */
  | 'dishonest-error'
  /** A call that failed since a signal came that its program handles. */
  | 'interrupted'
  /** A command said what is not so. */
  | 'false-report'
  /** The process of a mount ended, and nobody had ended it. */
  | 'died'
  /** A process or a system call that does not end. */
  | 'stuck'
  /** A mount, a descriptor, a temporary file that nobody has any use for. */
  | 'leaked';

export const VIOLATIONS: readonly Violation[] = [
  'wrong-bytes',
  'lost-after-fsync',
  'lost-after-write',
  'dishonest-error',
  'interrupted',
  'false-report',
  'died',
  'stuck',
  'leaked',
];

/** Counts by name. */
export class Figures {
  readonly counts = new Map<string, number>();

  add(name: string, count = 1): void {
    this.counts.set(name, this.get(name) + count);
  }

  get(name: string): number {
    return this.counts.get(name) ?? 0;
  }

  addAll(other: Iterable<readonly [string, number]>): void {
    for (const [name, count] of other) this.add(name, count);
  }

  /** A line for each, by name. */
  toString(): string {
    return [...this.counts]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, count]) => `${name.padEnd(32)} ${count}`)
      .join('\n');
  }
}
