import { availableParallelism } from 'node:os';
import { AWAKE_AFTER_REPLY_MS, AWAKE_PAUSE_MAX_MS } from '../../../../limits.ts';

/**
 * Keeps the event loop from going to sleep for a moment after a request, while requests follow each other closely. Who asks
 * for one thing at a time asks for the next some microseconds after the answer, and to wake a process that sleeps takes
 * several times as long as that.
 *
 * It costs at most {@link AWAKE_AFTER_REPLY_MS} of the processor after each such request. With a single processor it would
 * keep the one who asks from running, so there it does nothing.
 */
export class StayAwake {
  readonly #isWorthwhile = availableParallelism() > 1;
  #last = 0;
  #until = 0;
  #isTurning = false;

  /** A request was dispatched. */
  served(): void {
    const now = performance.now();
    const follows = now - this.#last <= AWAKE_PAUSE_MAX_MS;
    this.#last = now;
    if (!follows || !this.#isWorthwhile) return;
    this.#until = now + AWAKE_AFTER_REPLY_MS;
    if (this.#isTurning) return;
    this.#isTurning = true;
    setImmediate(this.#turn);
  }

  /** With an immediate to run, the loop only looks whether there is something to read, and does not wait for it. */
  readonly #turn = (): void => {
    this.#isTurning = performance.now() < this.#until;
    if (this.#isTurning) setImmediate(this.#turn);
  };
}
