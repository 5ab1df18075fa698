import { isEnded, valueOf } from './measured.ts';
import type { Figure, Subject, Target } from './row.ts';

/** No more than so many, in the line's unit. */
export function atMost(line: string, most: number, text = `at most ${most.toLocaleString('en')}`): Target {
  return { text, isMet: (medianOf) => holds(medianOf('ours', line), (ours) => ours <= most) };
}

/**
 * So many times as good as others, all of them that were measured; less than 1 for what need not be reached in full.
 *
 * @param better what the line's is
 */
export function timesAsGood(
  line: string,
  better: 'more' | 'less',
  times: number,
  others: readonly Subject[],
  text: string,
): Target {
  return {
    text,
    isMet: (medianOf) => {
      const rivals = others
        .map((subject) => medianOf(subject, line))
        .filter((figure) => figure !== undefined);
      if (rivals.length === 0) return undefined;
      return holds(medianOf('ours', line), (ours) => {
        const behind = rivals.filter((figure) => ratioOf(better, ours, valueOf(figure)) < times);
        if (behind.length === 0) return true;
        // Of who was ended it is not known how far behind it is.
        return behind.every(isEnded) ? undefined : false;
      });
    },
  };
}

/** At least (or at most) so much of what another line of ours is. */
export function partOf(
  line: string,
  compare: 'least' | 'most',
  part: number,
  other: string,
  text: string,
): Target {
  return {
    text,
    isMet: (medianOf) => {
      const reference = medianOf('ours', other);
      if (reference === undefined) return undefined;
      return holds(medianOf('ours', line), (ours) =>
        compare === 'least' ? ours >= part * valueOf(reference) : ours <= part * valueOf(reference),
      );
    },
  };
}

/** All of several. */
export function all(...targets: readonly Target[]): Target {
  return {
    text: targets.map(({ text }) => text).join('; '),
    isMet: (medianOf) => {
      const met = targets.map((target) => target.isMet(medianOf));
      return met.includes(false) ? false : met.includes(undefined) ? undefined : true;
    },
  };
}

/** Above 1 says that the first is better. */
export function ratioOf(better: 'more' | 'less', figure: number, other: number): number {
  return better === 'more' ? figure / other : other / figure;
}

/** A figure of ours that was ended holds no condition. */
function holds(
  figure: Figure | undefined,
  condition: (value: number) => boolean | undefined,
): boolean | undefined {
  if (figure === undefined) return undefined;
  return isEnded(figure) ? false : condition(figure);
}
