import type { Outcome, Outcomes } from './suite.ts';

/** A case that ends otherwise in staging than on the local disk. */
export interface Difference {
  readonly suite: string;
  readonly test: string;
  readonly case: string;
  /** Undefined where the case was not reached. */
  readonly local: Outcome | undefined;
  readonly staging: Outcome | undefined;
}

/** A group of differences that SEMANTICS.md explains. */
export interface Expected {
  /** The words of SEMANTICS.md for it. */
  readonly why: string;
  readonly suite: string;
  /** `TEST` for any case of the test, or `TEST CASE`; a `*` stands for any text. */
  readonly cases: readonly string[];
}

/** Compares the outcomes of one test. */
export function differencesOf(
  suite: string,
  test: string,
  { local, staging }: { readonly local: Outcomes; readonly staging: Outcomes },
): readonly Difference[] {
  return [...new Set([...local.keys(), ...staging.keys()])]
    .map((name) => ({ suite, test, case: name, local: local.get(name), staging: staging.get(name) }))
    .filter((difference) => difference.local?.state !== difference.staging?.state);
}

/** @returns the group that a difference belongs to; undefined when nothing explains it */
export function expectedBy(
  { suite, test, case: name }: Difference,
  groups: readonly Expected[],
): Expected | undefined {
  return groups.find(
    (group) =>
      group.suite === suite &&
      group.cases.some((pattern) => {
        const text = patternOf(pattern);
        return text.test(test) || text.test(`${test} ${name}`);
      }),
  );
}

/** One line for people. */
export function describeDifference({ suite, test, case: name, local, staging }: Difference): string {
  const say = (outcome: Outcome | undefined): string =>
    outcome === undefined
      ? 'not reached'
      : [outcome.state, outcome.detail].filter((text) => text !== '').join(': ');
  return `${suite} ${test} ${name}: local disk ${say(local)}; staging ${say(staging)}`;
}

function patternOf(pattern: string): RegExp {
  const text = pattern
    .split('*')
    .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`))
    .join('.*');
  return new RegExp(`^${text}$`);
}
