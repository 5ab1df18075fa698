import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { describeDifference, differencesOf, type Expected, expectedBy } from './difference.ts';
import { outcomesOf } from './pjdfstest.ts';
import type { Outcomes } from './suite.ts';

const PASSED = { state: 'passed', detail: '' } as const;
const FAILED = { state: 'failed', detail: 'expected 0, got EPERM' } as const;

function outcomes(...entries: [string, typeof PASSED | typeof FAILED][]): Outcomes {
  return new Map(entries);
}

describe('the difference between two places', () => {
  test('is every case that ends otherwise, and every case that only one place has reached', () => {
    const local = outcomes(['1', PASSED], ['2', PASSED], ['3', FAILED], ['4', PASSED]);
    const staging = outcomes(['1', PASSED], ['2', FAILED], ['3', PASSED], ['5', FAILED]);
    const differences = differencesOf('suite', 'a.t', { local, staging });
    expect(differences.map(({ case: name }) => name)).toEqual(['2', '3', '4', '5']);
    expect(differences.map(describeDifference).slice(0, 2)).toEqual([
      'suite a.t 2: local disk passed; staging failed: expected 0, got EPERM',
      'suite a.t 3: local disk failed: expected 0, got EPERM; staging passed',
    ]);
  });

  test('is none where both places fail, whatever they say of it', () => {
    const local = outcomes(['1', FAILED]);
    const staging: Outcomes = new Map([['1', { state: 'failed', detail: 'something else' }]]);
    expect(differencesOf('suite', 'a.t', { local, staging })).toEqual([]);
  });

  test.each<[readonly string[], boolean]>([
    [['mknod/01.t'], true],
    [['mknod/01.t 7'], true],
    [['mknod/*'], true],
    [['mknod/01.t 70'], false],
    [['mknod/01xt 7'], false],
    [['mknod/0'], false],
  ])('%j: expects the case 7 of mknod/01.t: %s', (cases, isExpected) => {
    const groups: readonly Expected[] = [{ why: 'devices', suite: 'pjdfstest', cases }];
    const difference = { suite: 'pjdfstest', test: 'mknod/01.t', case: '7', local: PASSED, staging: FAILED };
    expect(expectedBy(difference, groups)?.why).toBe(isExpected ? 'devices' : undefined);
    expect(expectedBy({ ...difference, suite: 'ltp' }, groups)).toBeUndefined();
  });
});

describe('what pjdfstest prints', () => {
  test('is a case for each line, with the reason and without random names', () => {
    const output = `1..3
ok 1
not ok 2 - tried 'mkfifo pjdfstest_0123456789abcdef0123456789abcdef 0644', expected 0, got EPERM
ok 3 # TODO later
`;
    expect([...outcomesOf({ output, isLate: false })]).toEqual([
      ['1', PASSED],
      ['2', { state: 'failed', detail: "tried 'mkfifo pjdfstest_… 0644', expected 0, got EPERM" }],
      ['3', { state: 'skipped', detail: '# TODO later' }],
    ]);
  });

  test.each([
    ['1..3\nok 1\n', false, '1 cases of 3'],
    ['ok 1\n', false, '1 cases of no plan'],
    ['1..1\nok 1\n', true, 'not over after 600 s'],
  ])('%j (late: %s) is not taken for a whole run', (output, isLate, detail) => {
    expect(outcomesOf({ output, isLate }).get('plan')).toEqual({ state: 'failed', detail });
  });
});

test('SEMANTICS.md has the words of every expected difference', () => {
  const read = (path: string): string => readFileSync(resolve(import.meta.dirname, path), 'utf8');
  const groups = z
    .array(z.object({ why: z.string().min(10) }))
    .parse(JSON.parse(read('expected-differences.json')));
  expect(groups.length).toBeGreaterThan(0);
  const prose = read('../../SEMANTICS.md').replaceAll(/\s+/g, ' ');
  expect(groups.map(({ why }) => why).filter((why) => !prose.includes(why))).toEqual([]);
});
