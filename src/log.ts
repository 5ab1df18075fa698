import { destination, pino, type Logger } from 'pino';
import type { LogLevel } from './log-level.ts';
import { openPrivateFile } from './private-files.ts';

export type { Logger };

/** Where a key may hide in what is logged. Nothing we log on purpose has one; this is the second lock. */
const SECRET_PATHS = ['secretAccessKey', '*.secretAccessKey', '*.*.secretAccessKey', 'headers.authorization'];

/**
 * Makes the logger: one JSON object a line.
 *
 * @param level the least important level that is written
 * @param file path that lines are appended to, see {@link openPrivateFile}; standard error when absent
 * @throws the file system's error when the file can't be opened
 */
export function createLogger(level: LogLevel, file?: string): Logger {
  const stream = destination({ dest: file === undefined ? 2 : openPrivateFile(file), sync: true });
  return pino({ level, redact: { paths: SECRET_PATHS, censor: '[hidden]' }, base: null }, stream);
}

/** A logger that says nothing, for tests and for commands whose output is their result. */
export const silentLogger: Logger = pino({ level: 'silent' });
