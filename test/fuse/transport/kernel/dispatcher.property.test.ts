import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Opcode, type OpcodeName } from '../../../../src/fuse/transport/kernel/abi/opcodes.ts';
import { FakeKernel, request } from '../../../support/fake-kernel.ts';
import { createFixture } from '../../../support/fixture-tree.ts';

const SILENT: readonly OpcodeName[] = ['FORGET', 'BATCH_FORGET', 'INTERRUPT', 'NOTIFY_REPLY'];
const silent = new Set<number>(SILENT.map((name) => Opcode[name]));
const HEADER_BYTES = 40;
const turn = () => new Promise((resolve) => setImmediate(resolve));

const opcode = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...Object.values(Opcode)) },
  { weight: 1, arbitrary: fc.nat(0xffffffff) },
);
/** Bodies with small numbers, names and noise, so that some get past the first checks. */
const word = fc.oneof(
  fc.constantFrom(
    '0000000000000000',
    '0100000000000000',
    '0200000000000000',
    '0010000000000000',
    'ffffffffffffffff',
  ),
  fc.constantFrom('68656c6c6f2e7478', '7400', '6100', '6269670000000000', '7374756300'),
  fc.uint8Array({ minLength: 1, maxLength: 9 }).map((bytes) => Buffer.from(bytes).toString('hex')),
);
const body = fc.array(word, { maxLength: 16 }).map((words) => Buffer.from(words.join(''), 'hex'));
const message = fc.record({
  opcode,
  node: fc.oneof(fc.nat(20), fc.maxSafeNat()),
  body,
  /** Added to the length in the header. */
  lie: fc.oneof(
    { weight: 5, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer({ min: -64, max: 64 }) },
  ),
});

test('nonsense is answered once, or not at all where no reply belongs', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 40 }), async (messages) => {
      const kernel = new FakeKernel(createFixture({ uid: 0, gid: 0 }).tree);
      const expected = new Set<bigint>();
      messages.forEach(({ opcode: code, node, body: bytes, lie }, index) => {
        const unique = BigInt(index + 1) * 2n;
        const raw = request(code, unique, node, bytes);
        raw.writeUInt32LE((raw.readUInt32LE(0) + lie) >>> 0, 0);
        kernel.sendRaw(raw);
        if (!silent.has(code)) expected.add(unique);
      });
      await turn();
      // Lookups and reads that wait for ever are answered when the mount ends.
      kernel.connection.end();
      await turn();
      const uniques = kernel.replies.map((reply) => reply.unique);
      expect(new Set(uniques)).toEqual(expected);
      expect(uniques.length).toBe(expected.size);
      expect(kernel.connection.waiting).toBe(0);
      for (const { error, body: reply } of kernel.replies) {
        expect(error).toBeLessThanOrEqual(0);
        expect(error).toBeGreaterThan(-512);
        if (error !== 0) expect(reply.byteLength).toBe(0);
      }
    }),
    { numRuns: 500 },
  );
});

test('truncated messages are answered when their header is whole, and dropped when not', async () => {
  await fc.assert(
    fc.asyncProperty(message, fc.nat(), async ({ opcode: code, node, body: bytes }, cut) => {
      const kernel = new FakeKernel(createFixture({ uid: 0, gid: 0 }).tree);
      const whole = request(code, 2n, node, bytes);
      const length = cut % whole.byteLength;
      kernel.sendRaw(whole.subarray(0, length));
      await turn();
      kernel.connection.end();
      const answered = length >= HEADER_BYTES && !silent.has(code);
      expect(kernel.replies.length).toBe(answered ? 1 : 0);
      if (answered) expect(kernel.replies[0]?.error).toBeLessThan(0);
    }),
    { numRuns: 500 },
  );
});

test('a unique number of all 64 bits comes back as it was', async () => {
  await fc.assert(
    fc.asyncProperty(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), async (unique) => {
      const kernel = new FakeKernel(createFixture({ uid: 0, gid: 0 }).tree);
      kernel.sendRaw(request(Opcode.STATFS, unique, 1, Buffer.alloc(0)));
      kernel.sendRaw(request(Opcode.DESTROY, unique, 1, Buffer.alloc(0)));
      await turn();
      expect(kernel.replies.map((reply) => reply.unique)).toEqual([unique, unique]);
    }),
  );
});
