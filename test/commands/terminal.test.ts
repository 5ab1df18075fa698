import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  formatBytes,
  formatLatency,
  formatTable,
  formatTime,
  printable,
} from '../../src/commands/terminal.ts';

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1536, '1.5 KiB'],
  [1024 * 1024 - 1, '1.0 MiB'],
  [18_035_000, '17.2 MiB'],
  [2 ** 50 * 5000, '5000.0 PiB'],
])('%d bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test.each([
  [undefined, '-'],
  [0, '0 ms'],
  [0.0345, '0.035 ms'],
  [12.345, '12 ms'],
  [994, '990 ms'],
  [999, '1 s'],
  [1540, '1.5 s'],
  [30_000, '30 s'],
])('%d ms are %s', (ms, text) => {
  expect(formatLatency(ms)).toBe(text);
});

test('times are minutes in UTC, and unknown ones hyphens', () => {
  expect(formatTime(1_767_225_659)).toBe('2026-01-01 00:00');
  expect(formatTime(undefined)).toBe('-');
  expect(formatTime(1e20)).toBe('-');
  expect(formatTime(-1)).toBe('1969-12-31 23:59');
  expect(formatTime(253_402_300_800)).toBe('+010000-01-01 00:00');
});

test('nothing that a terminal would obey gets through', () => {
  expect(printable('a\u001b[31m\u0007\u202e\u009b\ud800é🙂')).toBe(
    'a\\u{1b}[31m\\u{7}\\u{202e}\\u{9b}\\u{d800}é🙂',
  );
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(/[\p{Control}\p{Format}\p{Surrogate}]/u.test(printable(text))).toBe(false);
    }),
  );
});

test('tables have columns as wide as what is in them, and one line a row', () => {
  const table = formatTable(
    [{ title: 'NAME' }, { title: 'SIZE', align: 'right' }],
    [
      ['a', '1 B'],
      ['long\nname', '17.2 MiB'],
    ],
  );
  expect(table).toBe('NAME               SIZE\na                   1 B\nlong\\u{a}name  17.2 MiB');
});
