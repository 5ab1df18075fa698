import { expect, test } from 'vitest';
import { z } from 'zod';
import { DISK_STRUCTURE_JSON } from '../../../src/ecs/dtool/disk-structure.ts';

test('the text has the form that dtool gives it', () => {
  const structure = z.record(z.string(), z.unknown()).parse(JSON.parse(DISK_STRUCTURE_JSON));
  expect(Object.keys(structure)).toEqual(Object.keys(structure).toSorted());
  expect(structure['admin_metadata_relpath']).toEqual(['.dtool', 'dtool']);
  expect(structure['storage_broker_version']).toMatch(/^\d+\.\d+\.\d+$/);
  expect(
    DISK_STRUCTURE_JSON.startsWith('{\n  "admin_metadata_relpath": [\n    ".dtool",\n    "dtool"\n  ],\n'),
  ).toBe(true);
  expect(DISK_STRUCTURE_JSON.endsWith('\n}')).toBe(true);
});
