/** How one case of a suite ended. Suites that skip a case say why. */
export interface Outcome {
  readonly state: 'passed' | 'failed' | 'skipped';
  /** The suite's own words about a case that did not pass; empty where it has none. */
  readonly detail: string;
}

/** Outcomes by the name of the case, which is unique within its test. */
export type Outcomes = ReadonlyMap<string, Outcome>;

/** A directory for a suite to work in: a folder in `staging/` of a mount, or one on the local disk. */
export interface Place {
  readonly kind: 'staging' | 'local';
  /** Empty at first. */
  readonly directory: string;
  /** Type of the local disk's file system, such as `ext4`: both places are taken for it. */
  readonly diskType: string;
}

/** A public file system suite that is installed on this machine. */
export interface InstalledSuite {
  /** Where it was found. */
  readonly path: string;
  readonly tests: readonly string[];
  /**
   * Runs one test to its end. The test leaves the place empty, or the caller empties it.
   *
   * @throws Error when the suite itself can't be run
   */
  run(test: string, place: Place): Promise<Outcomes>;
}

export interface Suite {
  readonly name: string;
  /** The places where {@link find} looks, for the user who lacks the suite. */
  readonly whereabouts: readonly string[];
  /** @returns undefined when the suite is not installed */
  find(): Promise<InstalledSuite | undefined>;
}
