import { READ_AHEAD_MAX_BYTES } from '../limits.ts';

/**
 * How far all the files that are read in sequence may be fetched ahead: each reader has an equal part of the whole,
 * since what is fetched beyond that is evicted before anybody reads it. What is on its way at once never exceeds the
 * whole, whoever comes and goes.
 */
export class ReadAheadBudget {
  readonly #maxBytes: number;
  #readers = 0;
  #inFlightBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that are being fetched ahead now. */
  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  /** The most that one reader may be ahead of its program, in bytes. */
  get windowBytes(): number {
    return Math.min(READ_AHEAD_MAX_BYTES, Math.floor(this.#maxBytes / Math.max(1, this.#readers)));
  }

  /** Counts a reader in until the function that is returned is called. */
  join(): () => void {
    this.#readers += 1;
    return () => {
      this.#readers -= 1;
    };
  }

  /** Takes so many bytes, or as many as are left, to be fetched; {@link give} gives them back. */
  take(bytes: number): number {
    const taken = Math.min(bytes, this.#maxBytes - this.#inFlightBytes);
    this.#inFlightBytes += taken;
    return taken;
  }

  give(bytes: number): void {
    this.#inFlightBytes -= bytes;
  }
}
