import { StoreError } from './object-store.ts';

/** The head of the answer to a GET, as far as its body is concerned. */
export interface ResponseHead {
  readonly status: number;
  /** Content-Length in bytes. */
  readonly contentLength: number | undefined;
  readonly contentRange: string | undefined;
}

interface Where {
  readonly bucket: string;
  readonly key: string;
}

/**
 * A sink for the answer to a GET with `Range: bytes=offset-(offset + length - 1)`, where length is that of all
 * targets, which are filled. An answer with the whole object (status 200), which a server may give to any ranged
 * request (RFC 9110, 14.2), is taken up to the range's end.
 *
 * @param onFilled hears that so many targets are full, before the last is
 * @throws StoreError `short` when the object ends before the range, `bad-response` when the answer is another part
 * of the object, or announces more or fewer bytes than it should
 */
export function rangeSink(
  head: ResponseHead,
  where: Where,
  offset: number,
  targets: readonly Uint8Array[],
  onFilled?: (count: number) => void,
): BodySink {
  const length = lengthOf(targets);
  const whole = head.status === 200;
  const { first, last, size } = whole ? wholeObject(head, where) : partOfObject(head, where);
  if (size < offset + length) {
    const range = `bytes ${offset} to ${offset + length - 1}`;
    throw new StoreError('short', where, `${range} were asked for, and the object has ${size} bytes`);
  }
  if (!whole && (first !== offset || last !== offset + length - 1)) {
    throw badResponse(where, `asked for bytes ${offset} to ${offset + length - 1}, got ${first} to ${last}`);
  }
  const announced = head.contentLength ?? last - first + 1;
  if (announced !== last - first + 1) {
    throw badResponse(where, `${announced} bytes are announced for the bytes ${first} to ${last}`);
  }
  return new BodySink(where, size, offset - first, targets, { leavesRest: whole, onFilled });
}

/**
 * A sink for the answer to a GET of a whole object, and the buffer that it fills.
 *
 * @throws StoreError `too-large` when it has more than `maxBytes`, `bad-response` when it does not announce how many
 * it has: nothing would tell the whole from a part
 */
export function wholeSink(
  head: ResponseHead,
  where: Where,
  maxBytes: number,
): { readonly sink: BodySink; readonly content: Buffer } {
  const { size } = wholeObject(head, where);
  if (size > maxBytes) {
    throw new StoreError('too-large', where, `the object has ${size} bytes, and ${maxBytes} are allowed`);
  }
  const content = Buffer.allocUnsafeSlow(size);
  return { sink: new BodySink(where, size, 0, [content]), content };
}

/** Takes the body of an answer as it comes. */
export interface AnswerSink {
  /** Where the next bytes of the body belong, for {@link landed}; undefined: nowhere, {@link write} takes them. */
  readonly room: Uint8Array | undefined;
  /**
   * So many bytes of the body have been put into {@link room}.
   *
   * @returns as {@link write}
   */
  landed(count: number): boolean;
  /**
   * Copies the next bytes of the body.
   *
   * @returns whether all is there and the rest of the body is not wanted
   * @throws StoreError `bad-response` when there are more than there should be
   */
  write(chunk: Uint8Array): boolean;
  /**
   * The body is at its end.
   *
   * @throws StoreError `bad-response` when bytes are missing
   */
  end(): void;
  /** What a body that did not come whole is an error of. */
  broken(how: 'ended' | 'broke off'): StoreError;
}

/** Keeps a body as text, whatever its length is. */
export class TextSink implements AnswerSink {
  readonly room = undefined;
  readonly #where: Where;
  readonly #maxBytes: number;
  readonly #chunks: Buffer[] = [];
  #received = 0;

  /** @param maxBytes a longer body is refused with `bad-response` */
  constructor(where: Where, maxBytes: number) {
    this.#where = where;
    this.#maxBytes = maxBytes;
  }

  /** What has come, as UTF-8. */
  get text(): string {
    return Buffer.concat(this.#chunks).toString();
  }

  landed(): boolean {
    return false;
  }

  write(chunk: Uint8Array): boolean {
    this.#received += chunk.length;
    if (this.#received > this.#maxBytes)
      throw badResponse(this.#where, `the answer has more than ${this.#maxBytes} bytes`);
    this.#chunks.push(Buffer.from(chunk));
    return false;
  }

  end(): void {}

  broken(how: 'ended' | 'broke off'): StoreError {
    return badResponse(this.#where, `the answer ${how} after ${this.#received} bytes`);
  }
}

/** Fills targets with a body: skips some bytes, then fills the targets one after the other. Nothing else is kept. */
export class BodySink implements AnswerSink {
  /** Of the whole object, in bytes. */
  readonly size: number;
  readonly #where: Where;
  readonly #targets: readonly Uint8Array[];
  readonly #skip: number;
  readonly #wanted: number;
  readonly #leavesRest: boolean;
  readonly #onFilled: ((count: number) => void) | undefined;
  #received = 0;
  #index = 0;
  /** How much of `targets[index]` is filled. */
  #filled = 0;

  /**
   * @param options.leavesRest whether more may follow, which is not waited for; default: no
   * @param options.onFilled as for {@link rangeSink}
   */
  constructor(
    where: Where,
    size: number,
    skip: number,
    targets: readonly Uint8Array[],
    options: {
      readonly leavesRest?: boolean;
      readonly onFilled?: ((count: number) => void) | undefined;
    } = {},
  ) {
    this.#where = where;
    this.size = size;
    this.#skip = skip;
    this.#targets = targets;
    this.#wanted = skip + lengthOf(targets);
    this.#leavesRest = options.leavesRest ?? false;
    this.#onFilled = options.onFilled;
  }

  get room(): Uint8Array | undefined {
    return this.#received < this.#skip ? undefined : this.#targets[this.#index]?.subarray(this.#filled);
  }

  landed(count: number): boolean {
    this.#received += count;
    this.#fill(count);
    return this.#leavesRest && this.#received >= this.#wanted;
  }

  write(chunk: Uint8Array): boolean {
    // What is left of the bytes to skip may be more than this chunk, or none of it.
    let from = Math.min(chunk.length, Math.max(0, this.#skip - this.#received));
    this.#received += chunk.length;
    for (
      let target = this.#targets[this.#index];
      target !== undefined && from < chunk.length;
      target = this.#targets[this.#index]
    ) {
      const count = Math.min(chunk.length - from, target.length - this.#filled);
      target.set(chunk.subarray(from, from + count), this.#filled);
      from += count;
      this.#fill(count);
    }
    if (this.#received > this.#wanted && !this.#leavesRest) {
      throw badResponse(this.#where, `the answer has more than the ${this.#wanted} bytes it should have`);
    }
    return this.#leavesRest && this.#received >= this.#wanted;
  }

  end(): void {
    if (this.#received < this.#wanted) throw this.broken('ended');
  }

  /** So many bytes more are in the target that is being filled, which has room for them. */
  #fill(count: number): void {
    this.#filled += count;
    if (this.#filled < (this.#targets[this.#index]?.length ?? 0)) return;
    this.#index += 1;
    this.#filled = 0;
    if (this.#index < this.#targets.length) this.#onFilled?.(this.#index);
  }

  broken(how: 'ended' | 'broke off'): StoreError {
    return badResponse(this.#where, `the answer ${how} after ${this.#received} of ${this.#wanted} bytes`);
  }
}

function lengthOf(targets: readonly Uint8Array[]): number {
  return targets.reduce((sum, target) => sum + target.length, 0);
}

interface Part {
  /** First and last byte of the part. */
  readonly first: number;
  readonly last: number;
  /** Of the whole object, in bytes. */
  readonly size: number;
}

function wholeObject({ status, contentLength }: ResponseHead, where: Where): Part {
  if (status !== 200) throw badResponse(where, `status ${status} to a request for an object`);
  if (contentLength === undefined) throw badResponse(where, 'the answer has no Content-Length');
  return { first: 0, last: contentLength - 1, size: contentLength };
}

function partOfObject({ status, contentRange }: ResponseHead, where: Where): Part {
  if (status !== 206) throw badResponse(where, `status ${status} to a request for a range`);
  const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(contentRange ?? '') ?? [];
  if (size === undefined) throw badResponse(where, `Content-Range is ${JSON.stringify(contentRange ?? '')}`);
  return { first: Number(first), last: Number(last), size: Number(size) };
}

function badResponse(where: Where, detail: string): StoreError {
  return new StoreError('bad-response', where, detail);
}
