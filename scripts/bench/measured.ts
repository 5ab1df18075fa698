import { mostOf, type ProcessMemory } from './process-memory.ts';
import type { Figure, Figures, Row, Subject } from './row.ts';

/** What a row was measured at in all rounds. */
export class Measured {
  readonly row: Row;
  /** By line and subject, a figure for each round. */
  readonly figures: Readonly<Record<string, Partial<Record<Subject, Figure[]>>>>;
  #memory: ProcessMemory | undefined;

  constructor(row: Row) {
    this.row = row;
    this.figures = Object.fromEntries(Object.keys(row.lines).map((line) => [line, {}]));
  }

  /** @param memory of our programs; undefined where none of them ran */
  add(subject: Subject, figures: Figures, memory: ProcessMemory | undefined): void {
    for (const [line, figure] of Object.entries(figures)) {
      const ofLine = this.figures[line];
      if (!ofLine) throw new Error(`${this.row.name} has no line ${line}`);
      (ofLine[subject] ??= []).push(figure);
    }
    if (memory) this.#memory = mostOf(memory, this.#memory);
  }

  /** The most that our programs had in any round; undefined where none of them ran. */
  get memory(): ProcessMemory | undefined {
    return this.#memory;
  }

  /** Whether a subject was ended, and so need not be measured again. */
  wasEnded(subject: Subject): boolean {
    return Object.values(this.figures).some((ofLine) => ofLine[subject]?.some(isEnded));
  }

  /** The median of a line; `over` where one of its figures is. Undefined where there is none. */
  medianOf(subject: Subject, line: string): Figure | undefined {
    const figures = this.figures[line]?.[subject] ?? [];
    const sorted = figures.map(valueOf).toSorted((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)];
    return median !== undefined && figures.some(isEnded) ? { over: median } : median;
  }
}

/** The number of a figure, or what it is more than. */
export function valueOf(figure: Figure): number {
  return isEnded(figure) ? figure.over : figure;
}

export function isEnded(figure: Figure): figure is { readonly over: number } {
  return typeof figure !== 'number';
}
