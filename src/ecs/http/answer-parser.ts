import { isUtf8 } from 'node:buffer';
import { HTTP_HEAD_MAX_BYTES, HTTP_INTERIM_ANSWERS_MAX } from '../../limits.ts';

export type HttpMethod = 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';

/** What stands before the body of an answer. */
export interface AnswerHead {
  readonly status: number;
  /** Names in lower case; values as they were sent: UTF-8 where the bytes are that, else ISO 8859-1. */
  readonly fields: readonly (readonly [name: string, value: string])[];
}

/** Who hears what a connection says. */
export interface AnswerListener {
  /** Once, with the final head; interim ones (status 1xx) are left out. */
  onHead(head: AnswerHead): void;
  /** The next bytes of the body, which are the listener's for the time of the call. */
  onData(bytes: Uint8Array): void;
  /** The answer is whole as far as HTTP knows. */
  onEnd(): void;
}

/** What is not the HTTP that it should be. */
export class HttpSyntaxError extends Error {
  override readonly name = 'HttpSyntaxError';
}

/**
 * Where the parser is: between answers; in a head; in a body of so many bytes, or one that lasts as long as the
 * connection; in the size of a chunk, its bytes, the line break behind them, or the trailer behind the last.
 */
type State = 'idle' | 'head' | 'body' | 'body to the end' | 'size' | 'chunk' | 'chunk end' | 'trailer';

/**
 * Takes the answers of one connection apart (RFC 9112), one after the other. Bytes of a body need not pass through it:
 * {@link room} says how many come next, and {@link landed} takes them as read.
 */
export class AnswerParser {
  #state: State = 'idle';
  #listener: AnswerListener | undefined;
  #isHead = false;
  /** Bytes that are left of a body or a chunk. */
  #left = 0;
  /** The beginning of what is looked at as a whole: a head, or a line. */
  #pending: Buffer = EMPTY;
  #interimAnswers = 0;
  #trailerBytes = 0;
  #keepsAlive = true;
  #keepAliveMs: number | undefined;

  /** Whether no answer is expected. */
  get isIdle(): boolean {
    return this.#state === 'idle';
  }

  /** Whether another request may follow the last answer, as far as that says. */
  get keepsAlive(): boolean {
    return this.#keepsAlive;
  }

  /** For how long the server keeps the connection after the last answer, in ms; undefined where it does not say. */
  get keepAliveMs(): number | undefined {
    return this.#keepAliveMs;
  }

  /** How many of the next bytes are nothing but the body's. */
  get room(): number {
    if (this.#state === 'body' || this.#state === 'chunk') return this.#left;
    return this.#state === 'body to the end' ? Number.POSITIVE_INFINITY : 0;
  }

  /** A request was sent. */
  expect(method: HttpMethod, listener: AnswerListener): void {
    this.#listener = listener;
    this.#isHead = method === 'HEAD';
    this.#state = 'head';
    this.#interimAnswers = 0;
    this.#trailerBytes = 0;
    this.#keepAliveMs = undefined;
  }

  /** So many bytes of the body, at most {@link room}, are where they belong. */
  landed(count: number): void {
    if (this.#state === 'body to the end') return;
    this.#left -= count;
    if (this.#left > 0) return;
    if (this.#state === 'chunk') this.#state = 'chunk end';
    else this.#end();
  }

  /** @throws HttpSyntaxError when they are no answer, or more than that */
  push(bytes: Buffer): void {
    for (let rest = bytes; rest.length > 0; ) {
      if (this.#state === 'idle') throw new HttpSyntaxError('bytes that nobody asked for');
      if (this.room > 0) {
        const data = rest.subarray(0, Math.min(rest.length, this.room));
        rest = rest.subarray(data.length);
        this.#listener?.onData(data);
        this.landed(data.length);
      } else rest = this.#takeText(rest);
    }
  }

  /**
   * The server has closed the connection.
   *
   * @returns whether that is what ends the answer
   */
  close(): boolean {
    if (this.#state !== 'body to the end') return false;
    this.#end();
    return true;
  }

  /** Takes a head or a line as soon as it is there, and leaves the rest. */
  #takeText(bytes: Buffer): Buffer {
    const mark = this.#state === 'head' ? HEAD_END : LINE_END;
    const before = this.#pending.length;
    const all = before === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    // What ends it may have begun before.
    const end = all.indexOf(mark, Math.max(0, before - mark.length + 1), 'latin1');
    if ((end === -1 ? all.length : end) > HTTP_HEAD_MAX_BYTES) {
      throw new HttpSyntaxError(`more than ${HTTP_HEAD_MAX_BYTES} bytes without an end`);
    }
    // Whatever else speaks there may never say what would end a head.
    const opening = all.toString('latin1', 0, PROTOCOL.length);
    if (this.#state === 'head' && !PROTOCOL.startsWith(opening)) throw new HttpSyntaxError('no HTTP answer');
    if (end === -1) {
      // The bytes are somebody else's soon.
      this.#pending = before === 0 ? Buffer.from(bytes) : all;
      return EMPTY;
    }
    this.#pending = EMPTY;
    const text = all.subarray(0, end);
    if (this.#state === 'head') this.#takeHead(text);
    else this.#takeLine(text.toString('latin1'));
    return all.subarray(end + mark.length);
  }

  #takeLine(line: string): void {
    if (this.#state === 'trailer') {
      this.#trailerBytes += line.length + LINE_END.length;
      if (this.#trailerBytes > HTTP_HEAD_MAX_BYTES)
        throw new HttpSyntaxError(`a trailer of more than ${HTTP_HEAD_MAX_BYTES} bytes`);
      if (line === '') this.#end();
    } else if (this.#state === 'chunk end') {
      if (line !== '') throw new HttpSyntaxError('a chunk is longer than its size');
      this.#state = 'size';
    } else {
      const [, digits] = /^([0-9a-f]{1,12})[\t ]*(?:;|$)/i.exec(line) ?? [];
      if (digits === undefined) throw new HttpSyntaxError('a chunk without a size');
      this.#left = Number.parseInt(digits, 16);
      this.#state = this.#left === 0 ? 'trailer' : 'chunk';
    }
  }

  #takeHead(text: Buffer): void {
    const [statusLine = EMPTY, ...lines] = linesOf(text);
    const [, minor, digits] = /^HTTP\/1\.(\d) (\d{3})(?: |$)/.exec(statusLine.toString('latin1')) ?? [];
    if (digits === undefined) throw new HttpSyntaxError('no status line');
    const status = Number(digits);
    if (status === 101) throw new HttpSyntaxError('another protocol, which nobody asked for');
    if (status < 200) {
      this.#interimAnswers += 1;
      if (this.#interimAnswers <= HTTP_INTERIM_ANSWERS_MAX) return;
      throw new HttpSyntaxError(`more than ${HTTP_INTERIM_ANSWERS_MAX} interim answers`);
    }
    const fields = lines.map(fieldOf);
    const valuesOf = (name: string): readonly string[] =>
      fields.filter(([other]) => other === name).map(([, value]) => value);
    const connection = valuesOf('connection').join(',').toLowerCase();
    this.#keepsAlive = minor === '1' && !/(?:^|,)[\t ]*close[\t ]*(?:,|$)/.test(connection);
    const [, seconds] = /(?:^|[,\t ])timeout=(\d{1,9})/i.exec(valuesOf('keep-alive').join(',')) ?? [];
    if (seconds !== undefined) this.#keepAliveMs = Number(seconds) * 1_000;
    this.#frame(status, valuesOf('transfer-encoding'), valuesOf('content-length'));
    const isWhole = this.#state === 'body' && this.#left === 0;
    this.#listener?.onHead({ status, fields });
    if (isWhole) this.#end();
  }

  /** How long the body is (RFC 9112, 6.3). */
  #frame(status: number, encodings: readonly string[], lengths: readonly string[]): void {
    this.#state = 'body';
    this.#left = 0;
    if (this.#isHead || status === 204 || status === 304) return;
    if (encodings.length > 0) {
      if (encodings.join(',').trim().toLowerCase() !== 'chunked') {
        throw new HttpSyntaxError('an encoding that nobody asked for');
      }
      // With both, somebody on the way may see another end.
      if (lengths.length > 0) this.#keepsAlive = false;
      this.#state = 'size';
    } else if (lengths.length > 0) {
      const [length = ''] = lengths;
      if (!/^\d{1,15}$/.test(length) || lengths.some((other) => other !== length)) {
        throw new HttpSyntaxError('no length is announced that could be one');
      }
      this.#left = Number(length);
    } else {
      this.#keepsAlive = false;
      this.#state = 'body to the end';
    }
  }

  #end(): void {
    const listener = this.#listener;
    this.#state = 'idle';
    this.#listener = undefined;
    listener?.onEnd();
  }
}

const EMPTY = Buffer.of();
const LINE_END = '\r\n';
const PROTOCOL = 'HTTP/1.';
const HEAD_END = '\r\n\r\n';

function linesOf(text: Buffer): readonly Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0; start <= text.length; ) {
    const end = text.indexOf(LINE_END, start, 'latin1');
    const line = text.subarray(start, end === -1 ? text.length : end);
    lines.push(line);
    start += line.length + LINE_END.length;
  }
  return lines;
}

function fieldOf(line: Buffer): readonly [string, string] {
  const colon = line.indexOf(':');
  const name = line.toString('latin1', 0, Math.max(0, colon)).toLowerCase();
  // Neither spaces around it nor a line that goes on in the next one are allowed any more.
  if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) throw new HttpSyntaxError('a header field without a name');
  const value = line.subarray(colon + 1);
  return [name, value.toString(isUtf8(value) ? 'utf8' : 'latin1').replace(/^[\t ]+|[\t ]+$/g, '')];
}
