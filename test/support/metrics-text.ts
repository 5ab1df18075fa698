import { expect } from 'vitest';

/** A metric as Prometheus reads it. */
export interface ReadMetric {
  readonly help: string;
  readonly type: string;
  /** By the whole of what stands before the number: `name{label="value"}`, unescaped, labels in their order. */
  readonly samples: ReadonlyMap<string, number>;
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = '([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\\\\n]|\\\\[\\\\n"])*)"';
const SAMPLE = new RegExp(
  `^(${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)\\})? ([-+]?(?:\\d+(?:\\.\\d+)?(?:e[-+]?\\d+)?|Inf)|NaN)$`,
  'i',
);

/**
 * Reads the text format of Prometheus, version 0.0.4, more strictly than it does: each metric once, HELP and TYPE first, no
 * time, no series twice, counters are called `_total`, histograms are whole and add up.
 */
export function readMetrics(text: string): ReadonlyMap<string, ReadMetric> {
  expect(text.endsWith('\n')).toBe(true);
  const metrics = new Map<string, { help: string; type: string; samples: Map<string, number> }>();
  const lines = text.slice(0, -1).split('\n');
  let name = '';
  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index] ?? '';
    const [, begun, help] = new RegExp(`^# HELP (${NAME}) (.+)$`).exec(line) ?? [];
    if (begun !== undefined && help !== undefined) {
      name = begun;
      index += 1;
      const [, type = ''] =
        new RegExp(`^# TYPE ${name} (counter|gauge|histogram)$`).exec(lines[index] ?? '') ?? [];
      expect({ line, type, isNew: !metrics.has(name) }).toEqual({
        line,
        type: expect.stringMatching(/./),
        isNew: true,
      });
      expect(name.endsWith('_total'), name).toBe(type === 'counter');
      metrics.set(name, { help: unescape(help), type, samples: new Map() });
      continue;
    }
    const [, sampleName = '', labels, ...rest] = SAMPLE.exec(line) ?? [];
    const metric = metrics.get(name);
    const suffix = sampleName.slice(name.length);
    expect({ line, isNamed: sampleName.startsWith(name), suffix }).toEqual({
      line,
      isNamed: true,
      suffix: expect.stringMatching(metric?.type === 'histogram' ? /^_(bucket|sum|count)$/ : /^$/),
    });
    const series = unescape(labels === undefined ? sampleName : `${sampleName}{${labels}}`);
    expect(metric?.samples.has(series), series).toBe(false);
    metric?.samples.set(series, Number(rest.at(-1)?.replace(/inf/i, 'Infinity')));
  }
  for (const [each, metric] of metrics) {
    expect(metric.samples.size, each).toBeGreaterThan(0);
    if (metric.type === 'histogram') checkHistogram(each, metric.samples);
    if (metric.type === 'counter')
      for (const value of metric.samples.values()) expect(value, each).toBeGreaterThanOrEqual(0);
  }
  return metrics;
}

function checkHistogram(name: string, samples: ReadonlyMap<string, number>): void {
  const slots = new Map<string, [bound: number, count: number][]>();
  for (const [series, value] of samples) {
    const [, before = '', bound = ''] = /_bucket\{(.*?),?le="([^"]*)"\}$/.exec(series) ?? [];
    if (bound === '') continue;
    slots.set(before, [...(slots.get(before) ?? []), [Number(bound.replace('Inf', 'Infinity')), value]]);
  }
  expect(slots.size, name).toBeGreaterThan(0);
  for (const [labels, all] of slots) {
    expect(all.at(-1)?.[0]).toBe(Infinity);
    expect(all).toEqual(all.toSorted(([a], [b]) => a - b));
    expect(all.map(([, count]) => count)).toEqual(all.map(([, count]) => count).toSorted((a, b) => a - b));
    const of = labels === '' ? '' : `{${labels}}`;
    expect(samples.get(`${name}_count${of}`), `${name}${of}`).toBe(all.at(-1)?.[1]);
    expect(samples.get(`${name}_sum${of}`), `${name}${of}`).toBeGreaterThanOrEqual(0);
  }
}

function unescape(text: string): string {
  return text.replace(/\\(.)/g, (_, character: string) => (character === 'n' ? '\n' : character));
}
