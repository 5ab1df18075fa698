/**
 * A program that reads random ranges of random files and holds them against the same files elsewhere.
 *
 * Usage: range-reader.mjs DIRECTORY TRUTH SEED READS. What the kernel keeps is passed by. Prints `{"right":N,"wrong":[…],"errors":{code:N}}`.
 */
import { closeSync, constants, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';

const [directory = '', truth = '', seed = '', reads = ''] = process.argv.slice(2);
const names = readdirSync(truth).toSorted();
const counts = { right: 0, wrong: [], errors: {} };
let state = Number(seed);

/** Uniform in [0, bound): the generator of Lehmer with Park's and Miller's numbers. */
const random = (bound) => {
  state = (state * 48_271) % 2_147_483_647;
  return Math.floor((state / 2_147_483_647) * bound);
};

for (let read = 0; read < Number(reads); read += 1) {
  const name = names[random(names.length)];
  const expected = readFileSync(join(truth, name));
  const offset = random(expected.length + 2);
  const length = 1 + random(300_000);
  const target = Buffer.alloc(length);
  try {
    const file = openSync(join(directory, name), constants.O_RDONLY | constants.O_DIRECT);
    try {
      const got = readSync(file, target, 0, length, offset);
      const isRight = target.subarray(0, got).equals(expected.subarray(offset, offset + length));
      if (isRight) counts.right += 1;
      else counts.wrong.push(`${name} ${offset}+${length}: ${got}`);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    counts.errors[error.code] = (counts.errors[error.code] ?? 0) + 1;
  }
}
process.stdout.write(JSON.stringify(counts));
