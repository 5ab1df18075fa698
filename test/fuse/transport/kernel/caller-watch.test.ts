import { constants } from 'node:os';
import { beforeEach, expect, test } from 'vitest';
import { CALLER_LOOK_MAX_MS, CALLER_LOOK_MIN_MS, UNKNOWN_CALLER_WAIT_MS } from '../../../../src/limits.ts';
import { silentLogger } from '../../../../src/log.ts';
import { FakeKernel, names, request, u64 } from '../../../support/fake-kernel.ts';
import { createFixture } from '../../../support/fixture-tree.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { memoryTree } from '../../../support/memory-tree.ts';
import { Opcode } from '../../../../src/fuse/transport/kernel/abi/opcodes.ts';
import { InHeader } from '../../../../src/fuse/transport/kernel/abi/requests.ts';

const EINTR = -constants.errno.EINTR;
const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

let clock: ManualClock;
let kernel: FakeKernel;
let stuckDirectory: number;

beforeEach(async () => {
  clock = new ManualClock();
  kernel = new FakeKernel(createFixture({ uid: 1, gid: 1 }).tree, silentLogger, clock);
  const { body } = await kernel.call('LOOKUP', 1, names('stuck-dir'));
  stuckDirectory = Number(body.readBigUInt64LE(0));
});

const errorOf = (unique: bigint) => kernel.replies.find((one) => one.unique === unique)?.error;
const lookUp = (name: string) => kernel.send('LOOKUP', stuckDirectory, names(name));
const interrupt = async (unique: bigint) => {
  kernel.send('INTERRUPT', 0, u64(unique));
  await settled();
};
/** Lets time pass in steps, so that every look that is due takes place. */
const pass = async (ms: number) => {
  for (let left = ms; left > 0; left -= CALLER_LOOK_MIN_MS) {
    clock.advance(Math.min(left, CALLER_LOOK_MIN_MS));
    await settled();
  }
};

test('a caller that stays is looked at again, ever less often, until it is about to leave', async () => {
  kernel.caller = 'staying';
  const unique = lookUp('x');
  await interrupt(unique);
  expect(kernel.looks).toBe(1);
  await pass(CALLER_LOOK_MIN_MS);
  expect(kernel.looks).toBe(2);
  await pass(60_000);
  expect(errorOf(unique)).toBeUndefined();
  expect(kernel.looks).toBeGreaterThan(60_000 / (CALLER_LOOK_MAX_MS + CALLER_LOOK_MIN_MS));
  expect(kernel.looks).toBeLessThan(60_000 / CALLER_LOOK_MAX_MS + 10);
  kernel.caller = 'leaving';
  await pass(CALLER_LOOK_MAX_MS);
  expect(errorOf(unique)).toBe(EINTR);
  expect([kernel.connection.watchedCallers, clock.sleeping]).toEqual([0, 0]);
});

test('another caller is looked at at once, whoever is watched already', async () => {
  kernel.caller = 'staying';
  await interrupt(lookUp('x'));
  await pass(10 * CALLER_LOOK_MAX_MS);
  const looks = kernel.looks;
  kernel.threadId = 4343;
  kernel.caller = 'leaving';
  const unique = lookUp('y');
  await interrupt(unique);
  expect([errorOf(unique), kernel.looks]).toEqual([EINTR, looks + 1]);
});

test('a caller that the mount can not see goes on for a time, and then is let go', async () => {
  kernel.caller = 'unknown';
  kernel.threadId = 0;
  const first = lookUp('x');
  await interrupt(first);
  await pass(UNKNOWN_CALLER_WAIT_MS - CALLER_LOOK_MAX_MS);
  const second = lookUp('y');
  await interrupt(second);
  expect(errorOf(first)).toBeUndefined();
  await pass(2 * CALLER_LOOK_MAX_MS);
  expect([errorOf(first), errorOf(second)]).toEqual([EINTR, undefined]);
  await pass(UNKNOWN_CALLER_WAIT_MS);
  expect(errorOf(second)).toBe(EINTR);
});

test('a caller that has been seen to stay has that time anew', async () => {
  kernel.caller = 'staying';
  const unique = lookUp('x');
  await interrupt(unique);
  await pass(2 * UNKNOWN_CALLER_WAIT_MS);
  kernel.caller = 'unknown';
  await pass(UNKNOWN_CALLER_WAIT_MS / 2);
  expect(errorOf(unique)).toBeUndefined();
});

test('the end of the mount ends the watch', async () => {
  kernel.caller = 'staying';
  const unique = lookUp('x');
  await interrupt(unique);
  expect(kernel.connection.watchedCallers).toBe(1);
  kernel.connection.end();
  await settled();
  expect(errorOf(unique)).toBe(EINTR);
  expect([kernel.connection.watchedCallers, clock.sleeping]).toEqual([0, 0]);
});

test('what is on the local disk is not interrupted, but by the end of the mount', async () => {
  const tree = memoryTree();
  const waits = Object.assign(tree.root, { isLocal: true, lookup: async () => new Promise<never>(() => {}) });
  kernel = new FakeKernel({ ...tree, root: waits });
  const unique = kernel.send('LOOKUP', 1, names('x'));
  await interrupt(unique);
  expect([kernel.looks, kernel.connection.waiting, errorOf(unique)]).toEqual([0, 1, undefined]);
  kernel.connection.end();
  expect(errorOf(unique)).toBe(EINTR);
});

test('the thread that waits is the one that the request names', async () => {
  const bytes = request(Opcode.LOOKUP, 4_000n, stuckDirectory, names('x'));
  bytes.writeUInt32LE(99, InHeader.at.pid);
  kernel.sendRaw(bytes);
  await interrupt(4_000n);
  expect(kernel.lookedAt).toEqual([99]);
});
