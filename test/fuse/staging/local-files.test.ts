import { constants } from 'node:os';
import { expect, test } from 'vitest';
import { ERRNO, nameOfErrno } from '../../../src/errno.ts';
import { FsError } from '../../../src/errors.ts';
import { errnoOf } from '../../../src/fuse/errno.ts';
import { localError } from '../../../src/fuse/staging/local-files.ts';

/** What Node throws for an error number that it has no name for. */
const nameless = (errno: number): Error =>
  Object.assign(new Error(`Unknown system error -${errno}: close`), {
    errno: -errno,
    code: `Unknown system error -${errno}`,
  });

test('every error number of the local disk is that of the mount', () => {
  for (const errno of Object.values(ERRNO)) {
    const error = localError(nameless(errno));
    expect(errnoOf(error), error.code).toBe(errno);
    expect(nameOfErrno(errno)).toBe(error.code);
  }
  expect(localError(nameless(122))).toMatchObject({ code: 'EDQUOT' });
});

test.runIf(process.platform === 'linux')('the numbers are those of the system', () => {
  for (const [name, errno] of Object.entries(constants.errno)) {
    const known = nameOfErrno(errno);
    expect(known, name).toBeDefined();
    if (known && known !== name) expect(ERRNO).not.toHaveProperty(name);
  }
  // 41 and 58 are second names of 11 and 35.
  const numbers = Array.from({ length: 133 }, (_, index) => index + 1).filter(
    (errno) => ![41, 58].includes(errno),
  );
  expect(numbers.filter((errno) => nameOfErrno(errno) === undefined)).toEqual([]);
});

test('what is no error of the system is EIO', () => {
  for (const error of [nameless(999), nameless(4095), new Error('x'), { errno: -122 }, undefined]) {
    expect(localError(error)).toBeInstanceOf(FsError);
    expect(localError(error).code).toBe('EIO');
  }
});
