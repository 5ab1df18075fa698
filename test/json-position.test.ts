import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { jsonErrorPosition } from '../src/json-position.ts';

describe('where JSON ends', () => {
  test.each([
    ['', 1, 1],
    ['{', 1, 2],
    ['{"a" 1}', 1, 6],
    ['{"a": x}', 1, 7],
    ['{"a": "s', 1, 7],
    ['{"a": 1,}', 1, 9],
    ['{a: 1}', 1, 2],
    ["{'a': 1}", 1, 2],
    ['[1 2]', 1, 4],
    ['[1,]', 1, 4],
    ['[1}', 1, 3],
    ['01', 1, 2],
    ['{"a": 1}\n}', 2, 1],
    ['{\n  "a": 1\n  "b": 2\n}', 3, 3],
    ['{"a": "tab\there"}', 1, 7],
    ['\ufeff{}', 1, 1],
  ])('%j: line %i, column %i', (text, line, column) => {
    expect(() => JSON.parse(text) as unknown).toThrow(SyntaxError);
    expect(jsonErrorPosition(text)).toEqual({ line, column });
  });

  test('agrees with JSON.parse on what JSON is', () => {
    const almost = fc
      .tuple(fc.json(), fc.nat(), fc.constantFrom('', ',', '"', '}', '[', '\\', ' ', '0', 'x'))
      .map(([text, at, insert]) => {
        const cut = at % (text.length + 1);
        return text.slice(0, cut) + insert + text.slice(cut + (at % 2));
      });
    fc.assert(
      fc.property(fc.oneof(fc.json(), almost, fc.string()), (text) => {
        expect(jsonErrorPosition(text) === undefined).toBe(isJson(text));
      }),
      { numRuns: 2_000 },
    );
  });

  test('depth is no limit', () => {
    expect(jsonErrorPosition('['.repeat(100_000))).toEqual({ line: 1, column: 100_001 });
  });
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
