import { expect, test } from 'vitest';
import { ignoring } from '../../src/freeze/ignore.ts';

const PATHS = [
  'a.sock',
  'deep/b.sock',
  'deep/er/c.sock',
  'a.sockx',
  'b',
  'tmp/x',
  'ü🙂',
  'a-b',
  'x[1]',
  'deep/tmp/y',
  '(a)+$',
];

test.each([
  ['*.sock', ['a.sock', 'deep/b.sock', 'deep/er/c.sock']],
  ['deep/*.sock', ['deep/b.sock']],
  ['deep/**', ['deep/b.sock', 'deep/er/c.sock', 'deep/tmp/y']],
  ['**/tmp/*', ['tmp/x', 'deep/tmp/y']],
  ['?', ['b', 'tmp/x', 'deep/tmp/y']],
  ['??', ['ü🙂']],
  ['[a-b]', ['b']],
  ['[!a-b]', ['tmp/x', 'deep/tmp/y']],
  ['a-b', ['a-b']],
  ['x[[]1]', ['x[1]']],
  ['(a)+$', ['(a)+$']],
  ['', []],
])('%j leaves out %j', (pattern, ignored) => {
  expect(PATHS.filter(ignoring([pattern]))).toEqual(ignored);
});

test('several patterns leave out what any of them does, and none nothing', () => {
  expect(PATHS.filter(ignoring(['b', '*.sockx']))).toEqual(['a.sockx', 'b']);
  expect(PATHS.filter(ignoring([]))).toEqual([]);
});
