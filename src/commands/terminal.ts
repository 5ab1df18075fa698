import { styleText } from 'node:util';
import type { Problem } from '../ecs/dtool/format-error.ts';
import { UserError, messageOf } from '../errors.ts';
import { standardError, standardOutput } from './output.ts';

/** What commands print, and how: plain text, with colours on a terminal only. */

type Style = Parameters<typeof styleText>[0];

export function print(text: string): void {
  standardOutput.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** Text in a style where standard output is a terminal and NO_COLOR (no-color.org) is not set. */
export function styled(style: Style, text: string): string {
  return process.stdout.isTTY && !process.env['NO_COLOR'] ? styleText(style, text) : text;
}

/** One line for the error and one for what to do about it, on standard error. */
export function printError(error: unknown): void {
  const advice = error instanceof UserError ? error.advice : undefined;
  standardError.write(`dtool-ecs-mount: ${printable(messageOf(error))}\n`);
  if (advice !== undefined) standardError.write(`${printable(advice)}\n`);
}

/** What keeps datasets of a bucket from being shown, a line each on standard error: nothing is left out silently. */
export function printProblems(bucket: string, problems: readonly Problem[]): void {
  for (const { key, reason } of problems) printError(new UserError(`${bucket}/${key}: ${reason}`));
}

/**
 * Text that a terminal shows and does not obey: control characters and what is no valid Unicode come as escapes.
 * Names of datasets and items are chosen by others.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Control}\p{Format}\p{Surrogate}\u2028\u2029]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `\\u{${code.toString(16)}}`;
  });
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** Such as `17.2 MiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // What would be rounded to 1024.0 is 1.0 of the next unit.
  while (value >= (unit === 0 ? 1024 : 1023.95) && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${BYTE_UNITS[unit]}`;
}

/** Such as `0.35 ms`, `12 ms` or `1.5 s`: two digits count. A hyphen when unknown. */
export function formatLatency(ms: number | undefined): string {
  if (ms === undefined) return '-';
  const rounded = Number(ms.toPrecision(2));
  return rounded < 1000 ? `${rounded} ms` : `${rounded / 1000} s`;
}

/** Such as `2026-11-23 16:08`, in UTC; a hyphen when unknown. */
export function formatTime(seconds: number | undefined): string {
  if (seconds === undefined) return '-';
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime())
    ? '-'
    : date
        .toISOString()
        .replace(/:\d\d\.\d+Z$/, '')
        .replace('T', ' ');
}

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** Rows under titles, the columns as wide as what is in them. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(printable));
  const widths = columns.map(({ title }, column) =>
    Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]): string =>
    columns
      .map(({ align }, column) => {
        const cell = row[column] ?? '';
        const width = widths[column] ?? 0;
        return align === 'right' ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return [styled('bold', line(columns.map(({ title }) => title))), ...cells.map(line)].join('\n');
}
