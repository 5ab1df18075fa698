import { setMaxListeners } from 'node:events';

/**
 * One run of an asynchronous task, shared by everybody who waits for it. It is cancelled when the last of them has
 * given up, and never because one of several has.
 */
export class SharedTask<T> {
  readonly #controller = new AbortController();
  readonly #result: Promise<T>;
  #waiters = 0;
  #settled = false;

  /** @param run is started at once; its signal aborts when nobody waits any more */
  constructor(run: (signal: AbortSignal) => Promise<T>) {
    // A task may ask for many things at once with its one signal: that is no leak.
    setMaxListeners(0, this.#controller.signal);
    this.#result = run(this.#controller.signal).finally(() => {
      this.#settled = true;
    });
    // Whoever waits gets the rejection; with nobody left there is nobody to tell.
    this.#result.catch(() => {});
  }

  /** Whether it was cancelled: who comes now must start another one. */
  get abandoned(): boolean {
    return this.#controller.signal.aborted;
  }

  /**
   * Waits for the result.
   *
   * @throws the signal's reason as soon as it aborts, or what the task threw
   */
  async wait(signal: AbortSignal): Promise<T> {
    return this.waitFor(this.#result, signal);
  }

  /**
   * Waits for something that the task brings about on its way, as one of those for whose sake it runs.
   *
   * @param part settles at the latest when the task does
   * @throws the signal's reason as soon as it aborts, or what the part was rejected with
   */
  async waitFor<P>(part: Promise<P>, signal: AbortSignal): Promise<P> {
    let onAbort: (() => void) | undefined;
    // Who has given up does not hear of it.
    part.catch(() => {});
    this.#waiters += 1;
    try {
      // Who has given up beforehand counts as one who waited, or else a task that nobody wants would go on.
      signal.throwIfAborted();
      const aborted = new Promise<never>((_, reject) => {
        onAbort = () => reject(signal.reason);
        signal.addEventListener('abort', onAbort, { once: true });
      });
      return await Promise.race([part, aborted]);
    } finally {
      if (onAbort) signal.removeEventListener('abort', onAbort);
      this.#waiters -= 1;
      if (this.#waiters === 0 && !this.#settled) this.#controller.abort();
    }
  }
}
