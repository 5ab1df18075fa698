import { FsError, messageOf } from '../../../errors.ts';
import { opcodeName } from './abi/opcodes.ts';
import { InHeader } from './abi/requests.ts';
import type { Connection } from './connection.ts';
import type { Handler } from './handlers/handler.ts';
import { handlerOf } from './handlers/table.ts';
import { Request, type Message } from './request.ts';

/**
 * Serves one message of the kernel: finds its handler and sees to it that there is one reply, whatever the message is
 * and whatever the handler does. Never throws. The message's buffer is free when this returns.
 *
 * @param length bytes of the buffer that the message fills
 */
export function dispatch(connection: Connection, message: Message, length: number): void {
  if (length < InHeader.size) {
    connection.log.error({ length }, 'dropped a message without a whole header');
    return;
  }
  const startedMs = performance.now();
  const request = new Request(connection, message, length);
  const handler = handlerOf(request.opcode);
  let pending: void | Promise<void> = undefined;
  try {
    check(handler, request, InHeader.get.len(message.view, 0), length);
    pending = handler.handle(connection, request);
    if (pending !== undefined) void settle(connection, request, pending, startedMs);
    else finish(handler, request);
  } catch (error) {
    if (handler.silent !== true) request.fail(error);
    else
      connection.log.error(
        { opcode: request.opcode, error: messageOf(error) },
        'dropped a message that takes no reply',
      );
  } finally {
    request.detach();
    if (pending === undefined) count(connection, request, startedMs);
  }
}

function check(handler: Handler, request: Request, claimed: number, length: number): void {
  if (claimed !== length) throw new FsError('EINVAL', 'a message whose length is not what it says');
  if (request.bodyLength < (handler.input?.size ?? 0)) {
    throw new FsError('EINVAL', 'a message shorter than its structure');
  }
}

async function settle(
  connection: Connection,
  request: Request,
  pending: Promise<void>,
  startedMs: number,
): Promise<void> {
  try {
    await pending;
    if (!request.answered) throw new Error('a handler ended without a reply');
  } catch (error) {
    request.fail(error);
  } finally {
    count(connection, request, startedMs);
  }
}

function count({ operations }: Connection, { opcode }: Request, startedMs: number): void {
  operations.requests.count(opcodeName(opcode), performance.now() - startedMs);
}

function finish(handler: Handler, request: Request): void {
  if (handler.silent !== true && !request.answered) throw new Error('a handler ended without a reply');
}
