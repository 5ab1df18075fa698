import { cpus } from 'node:os';
import { isEnded, type Measured, valueOf } from './measured.ts';
import { type Line, SUBJECTS, type Subject } from './row.ts';
import { MEMORY_MAX_MIB } from './rows/memory.ts';
import { ratioOf } from './target.ts';

export interface Setting {
  readonly server: string;
  readonly rounds: number;
  readonly size: 'full' | 'small';
}

/** A table in Markdown, with medians. A ratio above 1 says that we are better. */
export function tableOf(setting: Setting, measured: readonly Measured[]): string {
  const lines = [
    `${machineOf(setting)}; medians of ${setting.rounds}; in brackets how many times as good ours is`,
    '',
    '| | ours | s3fs | rclone | dtool | limit | target | | our memory, MiB: end, most |',
    '|---|---|---|---|---|---|---|---|---|',
  ];
  for (const ofRow of measured) {
    const { row, memory } = ofRow;
    let memoryCell = memory ? `${memory.nowMiB.toFixed(0)}, ${memory.peakMiB.toFixed(0)}` : '';
    for (const [name, line] of Object.entries(row.lines)) {
      const title = line.unit === '' ? line.title : `${line.title}, ${line.unit}`;
      const cells = SUBJECTS.map((subject) => cellOf(ofRow, name, line, subject));
      const verdict = [line.target?.text ?? '', verdictOf(ofRow, line), memoryCell];
      lines.push(`| ${[title, ...cells, ...verdict].join(' | ')} |`);
      memoryCell = '';
    }
  }
  const most = Math.max(...measured.map(({ memory }) => memory?.peakMiB ?? 0));
  const verdict = most <= MEMORY_MAX_MIB ? 'met' : 'missed';
  lines.push(
    `| most memory in any row, MiB | ${most.toFixed(0)} | | | | | cache (256) + 150 | ${verdict} | |`,
  );
  return lines.join('\n');
}

/** The same for programs, with all figures. */
export function resultsOf(setting: Setting, measured: readonly Measured[]): object {
  const rows = measured.map((ofRow) => ({
    name: ofRow.row.name,
    lines: Object.entries(ofRow.row.lines).map(([name, line]) => ({
      name,
      title: line.title,
      unit: line.unit,
      limit: line.limit,
      target: line.target?.text,
      verdict: verdictOf(ofRow, line),
      figures: ofRow.figures[name],
    })),
    memory: ofRow.memory,
  }));
  return { machine: machineOf(setting), ...setting, rows };
}

function machineOf({ server, size }: Setting): string {
  const [cpu] = cpus();
  const sizes = size === 'small' ? ', SMALL SIZES' : '';
  return `On ${server}, Node ${process.version}, ${cpus().length} cores, ${cpu?.model ?? 'unknown'}${sizes}`;
}

function cellOf(measured: Measured, name: string, line: Line, subject: Subject): string {
  const figure = measured.medianOf(subject, name);
  if (figure === undefined) return '–';
  const more = isEnded(figure) ? '> ' : '';
  const what = subject === 'limit' && line.limit !== undefined ? `, ${line.limit}` : '';
  const ours = measured.medianOf('ours', name);
  const text = `${more}${rounded(valueOf(figure))}${what}`;
  if (subject === 'ours' || ours === undefined || isEnded(ours)) return text;
  return `${text} (${more}${rounded(ratioOf(line.better, ours, valueOf(figure)))})`;
}

/** Three digits that count, and all before the point. */
function rounded(figure: number): string {
  return figure >= 100 ? Math.round(figure).toLocaleString('en') : String(Number(figure.toPrecision(3)));
}

function verdictOf(measured: Measured, { target }: Line): string {
  if (!target) return '';
  const isMet = target.isMet((subject, line) => measured.medianOf(subject, line));
  return isMet === undefined ? 'not known' : isMet ? 'met' : 'missed';
}
