import { standardWriter, type Writer } from '../descriptor.ts';
import { UserError, hasErrorCode, messageOf } from '../errors.ts';

/**
 * Standard output or standard error of a command: the one way to both. It takes text at any time and writes it in its
 * order; a process must not exit before {@link settled} resolves, or a pipe loses what it had no room for yet.
 */
export class Output {
  readonly #fd: 1 | 2;
  readonly #failed = new AbortController();
  #writer: Writer | undefined;
  #waiting: Promise<void> = Promise.resolve();
  #unwritten = 0;
  #lost: UserError | undefined;

  constructor(fd: 1 | 2) {
    this.#fd = fd;
  }

  /** Aborts when something could not be written: nobody reads any more, or there is no room. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  /** Whether text waits for its reader. */
  get isBehind(): boolean {
    return this.#unwritten > 0;
  }

  /** Writes text. A command whose text is lost fails, unless its reader has gone. */
  write(text: string): void {
    this.#send(text, (error) => {
      if (!hasErrorCode(error, 'EPIPE')) this.#lost ??= this.#lostBy(error);
    });
  }

  /** Writes text that may be lost, such as how far the work is. */
  tell(text: string): void {
    this.#send(text, () => {});
  }

  /**
   * Resolves when the system has taken all text so far, which may be as long as its reader likes.
   *
   * @throws UserError when it took not all of it, though there is a reader
   */
  async settled(): Promise<void> {
    await this.#waiting;
    if (this.#lost) throw this.#lost;
  }

  #send(text: string, onError: (error: unknown) => void): void {
    this.#writer ??= standardWriter(this.#fd);
    this.#unwritten += 1;
    this.#waiting = this.#writer(Buffer.from(text))
      .catch((error: unknown) => {
        onError(error);
        this.#failed.abort();
      })
      .finally(() => (this.#unwritten -= 1));
  }

  #lostBy(cause: unknown): UserError {
    const name = this.#fd === 1 ? 'standard output' : 'standard error';
    return new UserError(`${name} could not be written: ${messageOf(cause)}`, undefined, { cause });
  }
}

export const standardOutput = new Output(1);
export const standardError = new Output(2);
