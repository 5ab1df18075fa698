import { writeSync } from 'node:fs';
import { abortable } from './abortable.ts';
import { type Writer, standardWriter, writeAll } from './descriptor.ts';
import { messageOf } from './errors.ts';
import { LOG_FLUSH_MAX_MS, LOG_WAITING_MAX_BYTES } from './limits.ts';
import { type PrivateFile, openPrivateFileHandle } from './private-files.ts';

/** Lines that a log should have and does not. */
export interface LostLines {
  readonly lines: number;
  /** What kept the last of them out. */
  readonly reason: string;
}

/**
 * Where the lines of a log go: a file that they are appended to, or standard error. Lines are written in the background, in
 * their order, and nothing that goes wrong with that is an error: lines that could not be written are counted, and told of
 * by a line of their own as soon as one can be written again.
 */
export class LogStream {
  readonly #path: string | undefined;
  #file: PrivateFile | undefined;
  #standardError: Writer | undefined;
  readonly #waiting: string[] = [];
  #waitingBytes = 0;
  /** The lines under way, and how many of their bytes the file has. */
  #current: { readonly bytes: Uint8Array; written: number } | undefined;
  #writing: Promise<void> | undefined;
  #lost: LostLines | undefined;
  /** Lines that the log has been told are missing. */
  #toldLines = 0;
  /** Whether the file ends in the middle of a line. */
  #isTorn = false;

  private constructor(path?: string, file?: PrivateFile) {
    this.#path = path;
    this.#file = file;
    process.on('exit', () => this.flushSync());
  }

  /**
   * @param path absolute; see {@link openPrivateFileHandle}
   * @throws the file system's error when the file can't be opened
   */
  static async open(path: string): Promise<LogStream> {
    return new LogStream(path, await openPrivateFileHandle(path));
  }

  static ofStandardError(): LogStream {
    return new LogStream();
  }

  /** Undefined where none is lost. */
  get lost(): LostLines | undefined {
    return this.#lost;
  }

  /** Takes a line with its end. Never throws. */
  write(line: string): void {
    if (this.#waitingBytes + line.length > LOG_WAITING_MAX_BYTES) {
      this.#lose(1, 'it takes lines too slowly');
      return;
    }
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    this.#writing ??= this.#writeWaiting().finally(() => {
      this.#writing = undefined;
    });
  }

  /**
   * Opens the file anew by its name, as after it was renamed or removed.
   *
   * @throws the file system's error; the file that was open is written to then
   */
  async reopen(): Promise<void> {
    if (this.#path === undefined) return;
    const old = this.#file;
    this.#file = await openPrivateFileHandle(this.#path);
    this.#isTorn = false;
    await this.#writing;
    await old?.close();
  }

  /** Resolves when all lines so far are written or lost, or after {@link LOG_FLUSH_MAX_MS}. */
  async flush(): Promise<void> {
    await abortable(Promise.resolve(this.#writing), AbortSignal.timeout(LOG_FLUSH_MAX_MS)).catch(() => {});
  }

  /** Writes what is not written yet at once, before the process ends. A line that is just being written may be there twice. */
  flushSync(): void {
    const rest = this.#waiting.splice(0).map((line) => Buffer.from(line));
    this.#waitingBytes = 0;
    if (this.#current && this.#file)
      rest.unshift(Buffer.from(this.#current.bytes.subarray(this.#current.written)));
    try {
      let bytes = Buffer.concat(rest);
      while (bytes.length > 0) bytes = bytes.subarray(writeSync(this.#file?.fd ?? 2, bytes));
    } catch {
      // There is no later that it could be told in.
    }
  }

  async #writeWaiting(): Promise<void> {
    // All lines of one turn of the event loop go together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const lines = this.#waiting.splice(0);
      this.#waitingBytes = 0;
      const untold = (this.#lost?.lines ?? 0) - this.#toldLines;
      if (untold > 0 && (await this.#append([this.#notice(untold)])).whole === 1) this.#toldLines += untold;
      const { whole, reason = '' } = await this.#append(lines);
      if (whole < lines.length) this.#lose(lines.length - whole, reason);
    }
  }

  /** @returns how many of the lines are written, and what keeps the others out */
  async #append(lines: readonly string[]): Promise<{ readonly whole: number; readonly reason?: string }> {
    // What is left of a line that was torn ends here.
    const start = this.#isTorn ? '\n' : '';
    const current = { bytes: Buffer.from(start + lines.join('')), written: 0 };
    this.#current = current;
    try {
      await this.#send(current.bytes, (written) => {
        current.written = written;
      });
      this.#isTorn = false;
      return { whole: lines.length };
    } catch (error) {
      const { bytes, written } = current;
      if (written > 0) this.#isTorn = bytes[written - 1] !== NEWLINE;
      const whole = bytes.subarray(start.length, written).filter((byte) => byte === NEWLINE).length;
      return { whole, reason: messageOf(error) };
    } finally {
      this.#current = undefined;
    }
  }

  async #send(bytes: Uint8Array, onWritten: (length: number) => void): Promise<void> {
    if (this.#file) await writeAll(this.#file.fd, bytes, onWritten);
    else await (this.#standardError ??= standardWriter(2))(bytes);
  }

  #lose(lines: number, reason: string): void {
    this.#lost = { lines: (this.#lost?.lines ?? 0) + lines, reason };
  }

  #notice(lines: number): string {
    const msg = `${lines} lines of this log are lost: ${this.#lost?.reason}`;
    return `${JSON.stringify({ level: WARN, time: Date.now(), lostLines: lines, msg })}\n`;
  }
}

/** The number of the level in pino's lines. */
const WARN = 40;
const NEWLINE = 0x0a;
