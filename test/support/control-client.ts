import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

/** What a mount answered, and the socket that it listens at. */
export interface ControlAnswer {
  readonly socket: string;
  readonly result: unknown;
}

/**
 * Asks all mounts of a user as a command would, without a process for it. Those that were killed are left out.
 *
 * @param directory where their sockets are
 */
export async function askMounts(directory: string, command: string): Promise<readonly ControlAnswer[]> {
  const names = await readdir(directory).catch(() => []);
  const sockets = names.filter((name) => name.endsWith('.sock')).map((name) => join(directory, name));
  const answers = await Promise.all(sockets.map(async (socket) => askMount(socket, command)));
  return answers.flatMap((answer) => answer ?? []);
}

/**
 * @returns undefined when nobody listens there, or any more
 * @throws what the mount refused
 */
export async function askMount(socket: string, command: string): Promise<ControlAnswer | undefined> {
  const connection = connect(socket);
  let line = '';
  try {
    await once(connection, 'connect');
    connection.write(`${JSON.stringify({ command })}\n`);
    line = await text(connection);
  } catch {
    return undefined;
  }
  if (line === '') return undefined;
  const { result, error }: { result?: unknown; error?: { message: string } } = JSON.parse(line);
  if (error) throw new Error(error.message);
  return { socket, result };
}
