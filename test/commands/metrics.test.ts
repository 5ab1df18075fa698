import { once } from 'node:events';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import * as fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Metric, expose } from '../../src/commands/metrics/exposition.ts';
import { listenForMetrics } from '../../src/commands/metrics/metrics-server.ts';
import { silentLogger } from '../../src/log.ts';
import { readMetrics } from '../support/metrics-text.ts';

describe('the text', () => {
  test('is what the format says', () => {
    const metrics: readonly Metric[] = [
      {
        name: 'a_total',
        help: 'Back\\slash,\nline.',
        type: 'counter',
        samples: [
          { labels: {}, value: 3 },
          { labels: { key: 'q"b\\n\n', other: '' }, value: 1e21 },
        ],
      },
      { name: 'none', help: 'Nothing.', type: 'gauge', samples: [] },
      {
        name: 'b',
        help: 'B.',
        type: 'gauge',
        samples: [-0.5, 1e-7, Infinity, -Infinity, Number.NaN].map((value, index) => ({
          labels: { index: String(index) },
          value,
        })),
      },
    ];
    expect(expose(metrics)).toBe(
      [
        '# HELP a_total Back\\\\slash,\\nline.',
        '# TYPE a_total counter',
        'a_total 3',
        'a_total{key="q\\"b\\\\n\\n",other=""} 1e+21',
        '# HELP b B.',
        '# TYPE b gauge',
        'b{index="0"} -0.5',
        'b{index="1"} 1e-7',
        'b{index="2"} +Inf',
        'b{index="3"} -Inf',
        'b{index="4"} NaN',
        '',
      ].join('\n'),
    );
  });

  /** There is no negative zero in the text. */
  const someNumber = fc.double({ noNaN: true }).map((number) => number + 0);

  test('whatever stands in labels comes out as it was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), someNumber, (value, number) => {
        const samples = [{ labels: { key: value }, value: number }];
        const read = readMetrics(expose([{ name: 'a', help: 'A.', type: 'gauge', samples }]));
        expect([...(read.get('a')?.samples ?? [])]).toEqual([[`a{key="${value}"}`, number]]);
      }),
    );
  });
});

describe('the server', () => {
  async function listening() {
    const server = await listenForMetrics(0, silentLogger);
    onTestFinished(() => server.close());
    const ask = async (path: string, options: { method?: string; headers?: Record<string, string> } = {}) => {
      const asked = request(new URL(path, server.url), options).end();
      const [response] = await once(asked, 'response');
      return {
        status: response.statusCode as number,
        type: response.headers['content-type'] as string,
        text: await text(response),
      };
    };
    return { server, ask };
  }

  test('answers on loopback alone, and says what it can not do', async () => {
    const { server, ask } = await listening();
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
    expect(await ask('/metrics')).toMatchObject({ status: 503 });
    server.serve(async () => 'a 1\n');
    expect(await ask('/metrics?x=y')).toEqual({
      status: 200,
      type: 'text/plain; version=0.0.4; charset=utf-8',
      text: 'a 1\n',
    });
    expect(await ask('/metrics', { method: 'HEAD' })).toMatchObject({ status: 200, text: '' });
    expect(await ask('/metrics', { method: 'POST' })).toMatchObject({ status: 405 });
    expect(await ask('/')).toMatchObject({ status: 404 });
    expect(await ask('/metrics', { headers: { host: 'localhost:1' } })).toMatchObject({ status: 200 });
    // As a page of the web would ask whose name means this machine.
    expect(await ask('/metrics', { headers: { host: 'evil.example' } })).toMatchObject({ status: 403 });
  });

  test('a failure is one of that answer, and tells nothing of itself', async () => {
    const { server, ask } = await listening();
    server.serve(async () => {
      throw new Error('where it hurts');
    });
    const failed = await ask('/metrics');
    expect(failed.status).toBe(500);
    expect(failed.text).not.toContain('hurts');
    server.serve(async () => 'a 1\n');
    expect(await ask('/metrics')).toMatchObject({ status: 200 });
  });

  test('a port that is taken is said to be', async () => {
    const { server } = await listening();
    const port = Number(new URL(server.url).port);
    await expect(listenForMetrics(port, silentLogger)).rejects.toThrow(
      `metrics can't be served on port ${port} of 127.0.0.1: it is in use`,
    );
  });
});
