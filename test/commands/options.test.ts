import { describe, expect, test } from 'vitest';
import {
  parseBytes,
  parseId,
  parseInterval,
  parsePort,
  parseSeconds,
  parseTries,
  parseUmask,
} from '../../src/commands/options.ts';
import { GiB, KiB, MiB } from '../../src/limits.ts';

const good: readonly (readonly [(text: string) => number, string, number])[] = [
  [parseBytes, '4096', 4096],
  [parseBytes, '256M', 256 * MiB],
  [parseBytes, '1.5g', 1.5 * GiB],
  [parseBytes, '64KiB', 64 * KiB],
  [parseBytes, '1 kb', KiB],
  [parseSeconds, '60', 60],
  [parseSeconds, '0.5', 0.5],
  [parseInterval, '0.1', 0.1],
  [parseInterval, '86400', 86_400],
  [parseTries, '1', 1],
  [parseTries, '1000', 1000],
  [parseId, '0', 0],
  [parseId, '1000', 1000],
  [parseUmask, '077', 0o77],
  [parseUmask, '0', 0],
  [parseUmask, '0777', 0o777],
  [parsePort, '0', 0],
  [parsePort, '65535', 65_535],
];
test.each(good)('%o takes %s', (parse, text, value) => {
  expect(parse(text)).toBe(value);
});

const bad: readonly (readonly [(text: string) => number, readonly string[]])[] = [
  [parseBytes, ['', '0', '-1', 'M', '1T', '1e3', '0.1', '9'.repeat(20), 'NaN']],
  [parseSeconds, ['', ' ', '0', '-1', 'x', 'Infinity', '1e10', 'NaN']],
  [parseInterval, ['', '0', '0.09', '86401', 'x']],
  [parseTries, ['', '0', '-1', '1.5', '1001', 'all']],
  [parseId, ['', '-1', '1.5', '4294967295', 'root', '0x10']],
  [parseUmask, ['', '8', '-1', '1777', '0o7']],
  [parsePort, ['', '65536', '-1', '80.5', 'http']],
];
describe.each(bad)('%o', (parse, texts) => {
  test.each(texts)('refuses %j', (text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'commander.invalidArgument' }));
  });
});
