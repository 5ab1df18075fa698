import type { Clock } from '../../clock.ts';
import { REFRESH_WAIT_MS } from '../../limits.ts';
import { SharedTask } from '../../shared-task.ts';

/**
 * A value from the store that is loaded when it is first needed, and again when it is needed after its time to live.
 * An old value is better than none: where a refresh takes long or fails, the value at hand is served on.
 */
export class Refreshing<T> {
  readonly #load: (previous: T | undefined, signal: AbortSignal) => Promise<T>;
  readonly #options: RefreshingOptions;
  #value: { readonly value: T } | undefined;
  #expires = 0;
  #loading: SharedTask<T> | undefined;

  constructor(
    load: (previous: T | undefined, signal: AbortSignal) => Promise<T>,
    options: RefreshingOptions,
  ) {
    this.#load = load;
    this.#options = options;
  }

  /** What was loaded last, however old; undefined before the first time. */
  get latest(): T | undefined {
    return this.#value?.value;
  }

  /** Replaces a value that is there by one made of it, without loading; the time to live goes on. */
  update(change: (value: T) => T): void {
    if (this.#value) this.#value = { value: change(this.#value.value) };
  }

  /** Makes the next one who asks load anew. */
  expire(): void {
    this.#expires = 0;
  }

  /**
   * The value: at once while it is young, else after a refresh, of which it awaits {@link REFRESH_WAIT_MS} when there
   * is an old value to fall back to.
   *
   * @param enough tells of an old value that it will do: it is given at once, and the refresh goes on behind
   * @throws what the loading threw, when there is no value at all; the signal's reason
   */
  async get(signal: AbortSignal, enough: (value: T) => boolean = () => false): Promise<T> {
    const held = this.#value;
    if (!held) return this.#start().wait(signal);
    if (this.#options.clock.monotonic() < this.#expires) return held.value;
    const refresh = this.refresh();
    if (!enough(held.value)) await this.#patience(refresh, signal);
    return this.#value?.value ?? held.value;
  }

  /** Starts a refresh unless one is under way; resolves when it has ended, well or not. */
  async refresh(): Promise<void> {
    try {
      // The refresh is everybody's: it ends with the mount, not with the reader that happened to start it.
      await this.#start().wait(this.#options.lifetime);
    } catch (error) {
      if (!this.#options.lifetime.aborted) this.#options.onError(error);
    }
  }

  async #patience(refresh: Promise<void>, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    try {
      await Promise.race([
        refresh,
        this.#options.clock.sleep(REFRESH_WAIT_MS, AbortSignal.any([signal, over.signal])),
      ]);
    } finally {
      over.abort();
    }
  }

  #start(): SharedTask<T> {
    if (this.#loading && !this.#loading.abandoned) return this.#loading;
    const task: SharedTask<T> = new SharedTask(async (signal) => {
      try {
        const value = await this.#load(this.latest, signal);
        this.#value = { value };
        this.#options.onSuccess?.();
        return value;
      } finally {
        // After a failure, too: a store that is away is not asked again for every file operation.
        this.#expires = this.#options.clock.monotonic() + this.#options.timeToLiveMs;
        if (this.#loading === task) this.#loading = undefined;
      }
    });
    this.#loading = task;
    return task;
  }
}

export interface RefreshingOptions {
  readonly timeToLiveMs: number;
  readonly clock: Clock;
  /** Aborts when the mount ends. */
  readonly lifetime: AbortSignal;
  /** Hears of refreshes that failed while an older value is served on. */
  readonly onError: (error: unknown) => void;
  /** Hears of every load that went well. */
  readonly onSuccess?: () => void;
}
