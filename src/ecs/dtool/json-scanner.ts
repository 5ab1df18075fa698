import { isUtf8 } from 'node:buffer';
import { BitStack } from './bit-stack.ts';

/** The next bytes of a text, for as long as there are any. Empty chunks are allowed. */
export type ByteSource = () => Uint8Array | undefined;

/** What keeps a text from being read, as the end of a sentence about it. */
export class JsonFlaw extends Error {
  override readonly name = 'JsonFlaw';
}

/** A string of the text, as bytes between the quotes; gone at the next call of the scanner. */
export interface StringToken {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** Whether there are backslashes between them; otherwise it is the UTF-8 of the string. */
  readonly isEscaped: boolean;
}

/** Bytes of JSON's grammar (RFC 8259). */
export const QUOTE = 0x22;
export const COMMA = 0x2c;
export const COLON = 0x3a;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const SPACE = 0x20;
const ZERO = 0x30;
const NINE = 0x39;
/** What is no byte: the text has ended. */
export const END = -1;

const SIMPLE_ESCAPES: ReadonlySet<number> = new Set(Buffer.from('"\\/bfnrt'));
const LOWER_U = 0x75;
const LITERALS: ReadonlyMap<number, readonly [text: string, value: unknown]> = new Map([
  [0x74, ['true', true]],
  [0x66, ['false', false]],
  [0x6e, ['null', null]],
]);
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?$/;
/** The longest number that is taken without a look at its grammar: digits alone, exact as a double. */
const PLAIN_DIGITS_MAX = 15;

/**
 * Reads JSON from front to back, chunk by chunk. It keeps nothing but the chunk at hand and the token in it, so a text
 * of any size and any depth takes bounded memory: one bit for each level.
 *
 * What it accepts is what `JSON.parse` accepts, in UTF-8.
 */
export class JsonScanner {
  readonly #next: ByteSource;
  readonly #tokenMaxBytes: number;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #end = 0;
  /** Bytes of the text before `#bytes`. */
  #before = 0;
  /** The beginning of a character whose end has not come yet. */
  #incomplete: Uint8Array = new Uint8Array(0);

  /** @param tokenMaxBytes strings and numbers that are asked for and longer are a flaw */
  constructor(next: ByteSource, tokenMaxBytes: number) {
    this.#next = next;
    this.#tokenMaxBytes = tokenMaxBytes;
  }

  /** The first byte that is no white space, which stays; {@link END} at the end. */
  peek(): number {
    for (;;) {
      while (this.#at < this.#end) {
        const byte = this.#bytes[this.#at] ?? 0;
        if (byte > SPACE || (byte !== SPACE && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) return byte;
        this.#at++;
      }
      if (!this.#fill(this.#at)) return END;
    }
  }

  /** Takes a byte that has to come next, white space aside. */
  expect(byte: number): void {
    if (this.peek() !== byte) throw this.unexpected();
    this.#at++;
  }

  /** After a value in an object: whether another one follows; the comma or brace is taken. */
  another(close: number): boolean {
    const byte = this.peek();
    if (byte !== COMMA && byte !== close) throw this.unexpected();
    this.#at++;
    return byte === COMMA;
  }

  /** After the opening brace or bracket: whether it closes at once, which is taken. */
  isEmpty(close: number): boolean {
    if (this.peek() !== close) return false;
    this.#at++;
    return true;
  }

  /** The string that comes next. */
  string(): StringToken {
    this.expect(QUOTE);
    const { start, isEscaped } = this.#scanString(true);
    return { bytes: this.#bytes, start, end: this.#at - 1, isEscaped };
  }

  /** The number that comes next. */
  number(): number {
    this.peek();
    let start = this.#at;
    let value = 0;
    for (;;) {
      const byte = this.#bytes[this.#at] ?? 0;
      if (this.#at < this.#end && byte >= ZERO && byte <= NINE) {
        value = value * 10 + (byte - ZERO);
        this.#at++;
      } else if (this.#at < this.#end || !this.#fill(start)) break;
      else start = 0;
    }
    const digits = this.#at - start;
    const isWhole = !isNumberByte(this.#at < this.#end ? (this.#bytes[this.#at] ?? 0) : 0);
    if (
      isWhole &&
      digits > 0 &&
      digits <= PLAIN_DIGITS_MAX &&
      (digits === 1 || this.#bytes[start] !== ZERO)
    ) {
      return value;
    }
    for (;;) {
      if (this.#at < this.#end && isNumberByte(this.#bytes[this.#at] ?? 0)) this.#at++;
      else if (this.#at < this.#end || !this.#fill(start)) break;
      else start = 0;
    }
    const text = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + start, this.#at - start).toString(
      'latin1',
    );
    if (!NUMBER.test(text)) throw this.unexpected();
    return Number(text);
  }

  /** Any value. Of an array or an object, which is skipped, there comes an empty one. */
  value(): unknown {
    const byte = this.peek();
    if (byte === QUOTE) return decodeString(this.string());
    if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      this.skip();
      return byte === OPEN_ARRAY ? [] : {};
    }
    return this.#scalar(byte);
  }

  /** Skips any value, however long and deep. */
  skip(): void {
    /** Whether each open level is an object. */
    const levels = new BitStack();
    for (;;) {
      const byte = this.peek();
      if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        const isObject = byte === OPEN_OBJECT;
        this.#at++;
        if (!this.isEmpty(isObject ? CLOSE_OBJECT : CLOSE_ARRAY)) {
          levels.push(isObject);
          if (isObject) this.#skipKey();
          continue;
        }
      } else if (byte === QUOTE) {
        this.#at++;
        this.#scanString(false);
      } else this.#scalar(byte);
      while (levels.size > 0 && !this.another(levels.top ? CLOSE_OBJECT : CLOSE_ARRAY)) levels.pop();
      if (levels.size === 0) return;
      if (levels.top) this.#skipKey();
    }
  }

  /** @throws JsonFlaw when anything but white space is left */
  finish(): void {
    if (this.peek() !== END) throw this.unexpected();
  }

  unexpected(): JsonFlaw {
    if (this.#at >= this.#end) return new JsonFlaw('it is not JSON: it ends too early');
    const byte = this.#bytes[this.#at] ?? 0;
    const shown =
      byte > SPACE && byte < 0x7f ? String.fromCharCode(byte) : `0x${byte.toString(16).padStart(2, '0')}`;
    return new JsonFlaw(`it is not JSON: ${shown} is unexpected at byte ${this.#before + this.#at}`);
  }

  #skipKey(): void {
    this.expect(QUOTE);
    this.#scanString(false);
    this.expect(COLON);
  }

  #scalar(byte: number): unknown {
    const literal = LITERALS.get(byte);
    if (!literal) {
      if (byte !== MINUS && !(byte >= ZERO && byte <= NINE)) throw this.unexpected();
      return this.number();
    }
    const [text, value] = literal;
    for (const wanted of Buffer.from(text)) {
      if ((this.#at >= this.#end && !this.#fill(this.#at)) || this.#bytes[this.#at] !== wanted)
        throw this.unexpected();
      this.#at++;
    }
    return value;
  }

  /** From behind the opening quote to behind the closing one. */
  #scanString(keep: boolean): { readonly start: number; readonly isEscaped: boolean } {
    let start = this.#at;
    let isEscaped = false;
    for (;;) {
      const bytes = this.#bytes;
      const end = this.#end;
      let at = this.#at;
      let byte = 0;
      while (at < end) {
        byte = bytes[at] ?? 0;
        if (byte === QUOTE || byte === BACKSLASH || byte < SPACE) break;
        at++;
      }
      this.#at = at;
      if (keep && at - start > this.#tokenMaxBytes) throw this.#tooLong();
      if (at < end) {
        if (byte === QUOTE) {
          this.#at++;
          return { start, isEscaped };
        }
        if (byte < SPACE) throw this.unexpected();
        isEscaped = true;
        start -= this.#escape(keep ? start : undefined);
      } else {
        if (!this.#fill(keep ? start : at)) throw this.unexpected();
        start = keep ? 0 : this.#at;
      }
    }
  }

  /**
   * Takes an escape.
   *
   * @param keepFrom what has to stay in the buffer
   * @returns by how much what stayed has moved to the front
   */
  #escape(keepFrom: number | undefined): number {
    let moved = 0;
    const take = (): number => {
      if (this.#at >= this.#end) {
        const from = keepFrom === undefined ? this.#at : keepFrom - moved;
        if (!this.#fill(from)) throw this.unexpected();
        moved += from;
      }
      return this.#bytes[this.#at++] ?? 0;
    };
    take();
    const kind = take();
    if (kind === LOWER_U) {
      for (let digit = 0; digit < 4; digit++) {
        if (!isHexDigit(take())) throw this.#unexpectedBefore();
      }
    } else if (!SIMPLE_ESCAPES.has(kind)) throw this.#unexpectedBefore();
    return moved;
  }

  #unexpectedBefore(): JsonFlaw {
    this.#at--;
    return this.unexpected();
  }

  #tooLong(): JsonFlaw {
    return new JsonFlaw(`a value in it is longer than ${this.#tokenMaxBytes} bytes`);
  }

  /**
   * Makes more bytes available; those from `from` on are kept, at the front.
   *
   * @returns false at the end of the text
   */
  #fill(from: number): boolean {
    const chunk = this.#next();
    if (!chunk) {
      if (this.#incomplete.length > 0) throw new JsonFlaw('it is not UTF-8');
      return false;
    }
    const kept = this.#end - from;
    if (kept > this.#tokenMaxBytes) throw this.#tooLong();
    const front = kept + this.#incomplete.length;
    let bytes = chunk;
    if (front > 0) {
      bytes = new Uint8Array(front + chunk.length);
      bytes.set(this.#bytes.subarray(from, this.#end));
      bytes.set(this.#incomplete, kept);
      bytes.set(chunk, front);
    }
    const end = bytes.length - incompleteAtEnd(bytes, kept);
    if (!isUtf8(bytes.subarray(kept, end))) throw new JsonFlaw('it is not UTF-8');
    this.#incomplete = bytes.slice(end);
    this.#before += from;
    this.#at -= from;
    this.#bytes = bytes;
    this.#end = end;
    return true;
  }
}

/** The string that a token stands for; it may have lone surrogates, by escapes. */
export function decodeString({ bytes, start, end, isEscaped }: StringToken): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8');
  if (!isEscaped) return text;
  const value: unknown = JSON.parse(`"${text}"`);
  return String(value);
}

function isHexDigit(byte: number): boolean {
  const lower = byte | 0x20;
  return (byte >= ZERO && byte <= NINE) || (lower >= 0x61 && lower <= 0x66);
}

/** Digits, signs, dot and exponent. */
function isNumberByte(byte: number): boolean {
  return (
    (byte >= ZERO && byte <= NINE) ||
    byte === MINUS ||
    byte === 0x2b ||
    byte === 0x2e ||
    (byte | 0x20) === 0x65
  );
}

/** How many bytes at the end begin a character that goes on behind it: 0 to 3. */
function incompleteAtEnd(bytes: Uint8Array, from: number): number {
  for (let back = 1; back <= 3 && bytes.length - back >= from; back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return length > back ? back : 0;
    }
  }
  return 0;
}
