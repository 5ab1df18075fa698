import { createHash } from 'node:crypto';
import type { DatasetSpec } from '../../src/demo/dataset-objects.ts';
import { seededRandom } from '../../src/demo/random.ts';

/** 2026-01-01 00:00 UTC, in seconds. */
export const CREATED_AT = 1_767_225_600;

/** A uuid that depends on the seed alone. */
export function uuidOf(seed: string): string {
  const hex = createHash('sha1').update(seed).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join(
    '-',
  );
}

/** A frozen dataset with the items given as text or bytes by relpath. */
export function datasetOf(
  name: string,
  items: Readonly<Record<string, Buffer | string>>,
  more: Partial<DatasetSpec> = {},
): DatasetSpec {
  return {
    name,
    uuid: uuidOf(name),
    items: Object.entries(items).map(([relpath, content]) => [relpath, Buffer.from(content)]),
    readme: `---\ndescription: ${name}\n`,
    createdAt: CREATED_AT,
    ...more,
  };
}

/** Bytes that look random and depend on the seed alone. */
export function randomBytesOf(seed: number, length: number): Buffer {
  const random = seededRandom(seed);
  const bytes = Buffer.alloc(length);
  for (let offset = 0; offset + 4 <= length; offset += 4)
    bytes.writeUInt32LE(Math.floor(random() * 2 ** 32), offset);
  return bytes;
}
