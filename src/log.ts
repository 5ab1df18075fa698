import { pino, type Logger } from 'pino';
import type { LogLevel } from './log-level.ts';
import { LogStream } from './log-stream.ts';

export type { Logger };

/** Where a key may hide in what is logged. Nothing we log on purpose has one; this is the second lock. */
const SECRET_PATHS = ['secretAccessKey', '*.secretAccessKey', '*.*.secretAccessKey', 'headers.authorization'];

/**
 * Makes the logger: one JSON object a line.
 *
 * @param level the least important level that is written
 * @param stream takes the lines; default: standard error
 */
export function createLogger(level: LogLevel, stream: LogStream = LogStream.ofStandardError()): Logger {
  return pino({ level, redact: { paths: SECRET_PATHS, censor: '[hidden]' }, base: null }, stream);
}

/** A logger that says nothing, for tests and for commands whose output is their result. */
export const silentLogger: Logger = pino({ level: 'silent' });
