import { Opcode, type OpcodeName } from '../../src/fuse/transport/kernel/abi/opcodes.ts';
import { OutHeader } from '../../src/fuse/transport/kernel/abi/replies.ts';
import { InHeader } from '../../src/fuse/transport/kernel/abi/requests.ts';
import { Connection, type ReplySink } from '../../src/fuse/transport/kernel/connection.ts';
import { dispatch } from '../../src/fuse/transport/kernel/dispatcher.ts';
import type { CallerState } from '../../src/fuse/transport/kernel/caller-state.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { Operations } from '../../src/fuse/operations.ts';
import type { Tree } from '../../src/fuse/tree/node.ts';
import { type Logger, silentLogger } from '../../src/log.ts';
import type { UserError } from '../../src/errors.ts';

export interface Reply {
  readonly unique: bigint;
  /** 0 or a negative errno. */
  readonly error: number;
  readonly body: Buffer;
}

/** The kernel's end of a connection without a kernel: sends requests and keeps the replies. */
export class FakeKernel implements ReplySink {
  readonly connection: Connection;
  readonly operations: Operations;
  readonly replies: Reply[] = [];
  /** What the connection said of INIT. */
  readonly inits: (UserError | undefined)[] = [];
  /** Whether replies are taken; when not, the caller was killed meanwhile. */
  takes = true;
  /** What every caller is about to do that has been sent a signal. */
  caller: CallerState = 'leaving';
  /** The thread that requests come from. */
  threadId = 4242;
  /** The threads that were looked at, one after the other. */
  readonly lookedAt: number[] = [];
  #lastUnique = 0n;

  constructor(tree: Tree, log: Logger = silentLogger, clock: Clock = systemClock) {
    this.operations = new Operations(tree);
    this.connection = new Connection(this.operations, this, {
      refreshSeconds: 60,
      log,
      onInit: (refusal) => this.inits.push(refusal),
      callerState: async (threadId) => {
        this.lookedAt.push(threadId);
        return this.caller;
      },
      clock,
    });
  }

  get looks(): number {
    return this.lookedAt.length;
  }

  write(bytes: Uint8Array, length: number): boolean {
    return this.writeParts([bytes.subarray(0, length)]);
  }

  writeParts(parts: readonly Uint8Array[]): boolean {
    // Copied: the buffer that replies are made in is used again.
    const message = Buffer.concat(parts);
    const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
    if (OutHeader.get.len(view, 0) !== message.byteLength) throw new Error('the length in a reply is wrong');
    this.replies.push({
      unique: message.readBigUInt64LE(OutHeader.at.unique),
      error: OutHeader.get.error(view, 0),
      body: message.subarray(OutHeader.size),
    });
    return this.takes;
  }

  /** Sends a request and returns its unique number. */
  send(opcode: OpcodeName | number, node: number, body: Uint8Array = Buffer.alloc(0)): bigint {
    this.#lastUnique += 2n;
    const message = request(
      typeof opcode === 'number' ? opcode : Opcode[opcode],
      this.#lastUnique,
      node,
      body,
    );
    message.writeUInt32LE(this.threadId, InHeader.at.pid);
    this.sendRaw(message);
    return this.#lastUnique;
  }

  /** Sends whatever bytes. The buffer is destroyed afterwards, as the next request would. */
  sendRaw(bytes: Buffer): void {
    const copy = Buffer.from(new ArrayBuffer(bytes.byteLength));
    bytes.copy(copy);
    dispatch(this.connection, { bytes: copy, view: new DataView(copy.buffer) }, copy.byteLength);
    copy.fill(0xa5);
  }

  /** Sends a request and waits for its reply. */
  async call(opcode: OpcodeName | number, node: number, body?: Uint8Array): Promise<Reply> {
    const unique = this.send(opcode, node, body);
    for (let turn = 0; turn < 100; turn++) {
      const reply = this.replies.find((one) => one.unique === unique);
      if (reply !== undefined) return reply;
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error(`no reply to ${opcode}`);
  }
}

/** The bytes of a request, made by hand from the layout of `fuse_in_header`. */
export function request(opcode: number, unique: bigint, node: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(InHeader.size);
  header.writeUInt32LE(header.byteLength + body.byteLength, 0);
  header.writeUInt32LE(opcode, 4);
  header.writeBigUInt64LE(unique, 8);
  header.writeBigUInt64LE(BigInt(node), 16);
  header.writeUInt32LE(1000, 24);
  header.writeUInt32LE(1000, 28);
  header.writeUInt32LE(4242, 32);
  return Buffer.concat([header, body]);
}

export const u32 = (...values: number[]): Buffer =>
  Buffer.concat(
    values.map((value) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(value >>> 0);
      return bytes;
    }),
  );

export const u64 = (...values: (number | bigint)[]): Buffer =>
  Buffer.concat(
    values.map((value) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(BigInt.asIntN(64, BigInt(value)));
      return bytes;
    }),
  );

/** Names with their NULs. */
export const names = (...values: string[]): Buffer =>
  Buffer.from(values.map((value) => `${value}\0`).join(''));
