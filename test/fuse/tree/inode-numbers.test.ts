import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import {
  ItemInodeNumbers,
  localInode,
  LocalInodeNumbers,
  ROOT_INO,
  inodeNumber,
} from '../../../src/fuse/tree/inode-numbers.ts';
import { uuidOf } from '../../support/datasets.ts';

const identifierOf = (text: string): string => createHash('sha1').update(text).digest('hex');

test('are the same for ever', () => {
  expect(inodeNumber('dataset', 'uuid', 'README.yml')).toBe(5161355713635634);
  expect(new ItemInodeNumbers(uuidOf('a')).of(identifierOf('a.txt'))).toBe(2350671608241865);
  expect(new LocalInodeNumbers('bucket').of(12)).toBe(7822474533522677);
});

test('are safe integers above the root and do not clash', () => {
  const items = [new ItemInodeNumbers(uuidOf('a')), new ItemInodeNumbers(uuidOf('b'))];
  const seen = new Set<number>();
  for (let index = 0; index < 100_000; index += 1) {
    const identifier = identifierOf(`${index}`);
    for (const numbers of items) seen.add(numbers.of(identifier));
  }
  for (let index = 0; index < 20_000; index += 1) seen.add(inodeNumber('data', uuidOf('a'), `/d${index}`));
  expect(seen.size).toBe(220_000);
  for (const ino of seen) if (!Number.isSafeInteger(ino) || ino <= ROOT_INO) expect.fail(`${ino}`);
});

test('the numbers of the root and below are left out', () => {
  const numbers = new ItemInodeNumbers(uuidOf('a'));
  // The identifier whose hash cancels out with the dataset's.
  const digest = createHash('sha1')
    .update(`items\0${uuidOf('a')}`)
    .digest('hex');
  expect(numbers.of(digest)).toBeGreaterThan(ROOT_INO);
  expect(inodeNumber('a', 'b')).not.toBe(inodeNumber('a/b'));
});

test('of local files are different for different ones, of any size', () => {
  const numbers = new LocalInodeNumbers('bucket');
  const seen = new Set<number>();
  let count = 0;
  for (const base of [
    0n,
    2n ** 31n,
    2n ** 32n,
    2n ** 52n,
    2n ** 53n,
    2n ** 60n,
    2n ** 63n,
    2n ** 64n - 1000n,
  ]) {
    for (let index = 0n; index < 1000n; index += 1n) {
      const inode = localInode(base + index);
      expect(BigInt(inode)).toBe(base + index);
      seen.add(numbers.of(inode));
      count += 1;
    }
  }
  expect(seen.size).toBe(count);
  for (const ino of seen) if (!Number.isSafeInteger(ino) || ino <= ROOT_INO) expect.fail(`${ino}`);
});
