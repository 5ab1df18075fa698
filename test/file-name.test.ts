import { mkdirSync, mkdtempSync, readdirSync, rmSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fileNameFlaw, isFileName, safeFileName } from '../src/file-name.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'file-name-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Whether a local file system takes a name and gives it back. */
function isAccepted(name: string): boolean {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) return false;
  try {
    mkdirSync(`${directory}/${name}`);
  } catch {
    return false;
  }
  const [found] = readdirSync(directory);
  rmdirSync(`${directory}/${found}`);
  return found === name;
}

const anyName = fc.oneof(
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)) }),
  fc.string({ unit: fc.constantFrom('.', '/', '\0', 'a', '\ud83d', '\ude00') }),
  fc.integer({ min: 250, max: 260 }).map((length) => 'x'.repeat(length)),
  fc.integer({ min: 120, max: 130 }).map((length) => 'é'.repeat(length)),
);

describe('file names', () => {
  test('are what a local file system takes', () => {
    fc.assert(
      fc.property(anyName, (name) => {
        expect(isFileName(name)).toBe(isAccepted(name));
      }),
    );
  });

  test('can be made of anything, with the suffix whole', () => {
    fc.assert(
      fc.property(anyName, (name) => {
        const safe = safeFileName(name, '~12345678');
        expect(isAccepted(safe)).toBe(true);
        expect(safe.endsWith('~12345678')).toBe(true);
        expect(safe.startsWith('.')).toBe(false);
      }),
    );
  });

  test('have flaws that are told', () => {
    expect(fileNameFlaw('a')).toBeUndefined();
    expect(fileNameFlaw('')).toBe('has an empty component');
    expect(fileNameFlaw('..')).toBe('has a component ..');
    expect(fileNameFlaw('x'.repeat(256))).toBe('has a component over 255 bytes');
  });
});
