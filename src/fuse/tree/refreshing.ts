import type { Clock } from '../../clock.ts';
import { REFRESH_WAIT_MS } from '../../limits.ts';
import { SharedTask } from '../../shared-task.ts';
import { waitAtMost } from '../../wait-at-most.ts';

/**
 * A value from the store that is loaded when it is first needed, and again when it is needed after its time to live.
 * An old value is better than none: where a refresh takes long or fails, the value at hand is served on.
 */
export class Refreshing<T> {
  readonly #load: (previous: T | undefined, signal: AbortSignal) => Promise<T>;
  readonly #options: RefreshingOptions<T>;
  #value: { readonly value: T } | undefined;
  /** On {@link Clock.elapsed}: what others have changed during a suspend is as old as that was long. */
  #expires = 0;
  #loading: SharedTask<T> | undefined;
  /** Whether somebody learned that the value is out of date after the present load began. */
  #expiredWhileLoading = false;

  constructor(
    load: (previous: T | undefined, signal: AbortSignal) => Promise<T>,
    options: RefreshingOptions<T>,
  ) {
    this.#load = load;
    this.#options = options;
  }

  /** What was loaded last, however old; undefined before the first time. */
  get latest(): T | undefined {
    return this.#value?.value;
  }

  /** Takes a value from an earlier time, old as it is, unless there is one: who asks gets it when a load takes long. */
  seed(value: T): void {
    this.#value ??= { value };
  }

  /** Drops the value: the next one who asks waits for another. */
  drop(): void {
    this.#value = undefined;
    this.expire();
  }

  /** Makes the next one who asks load anew, even if a load is under way: it may have seen what was before. */
  expire(): void {
    this.#expires = 0;
    this.#expiredWhileLoading = true;
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
    const { clock } = this.#options;
    if (clock.elapsed() < this.#expires) return held.value;
    const refresh = this.refresh();
    if (!enough(held.value)) await waitAtMost(REFRESH_WAIT_MS, refresh, clock, signal);
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

  #start(): SharedTask<T> {
    if (this.#loading && !this.#loading.abandoned) return this.#loading;
    this.#expiredWhileLoading = false;
    const task: SharedTask<T> = new SharedTask(async (signal) => {
      try {
        const value = await this.#load(this.latest, signal);
        // One that was given up and comes to an end all the same must not undo what the next one found.
        if (this.#loading === task) {
          const previous = this.#value;
          this.#value = { value };
          this.#options.onSuccess?.();
          if (previous) this.#options.onChange?.(value, previous.value);
        }
        return value;
      } finally {
        if (this.#loading === task) {
          this.#loading = undefined;
          // After a failure, too: a store that is away is not asked again for every file operation.
          const { clock, timeToLiveMs } = this.#options;
          this.#expires = this.#expiredWhileLoading ? 0 : clock.elapsed() + timeToLiveMs;
        }
      }
    });
    this.#loading = task;
    return task;
  }
}

export interface RefreshingOptions<T> {
  readonly timeToLiveMs: number;
  readonly clock: Clock;
  /** Aborts when the mount ends. */
  readonly lifetime: AbortSignal;
  /** Hears of refreshes that failed while an older value is served on. */
  readonly onError: (error: unknown) => void;
  /** Hears of every load that went well. */
  readonly onSuccess?: () => void;
  /** Hears of every value that takes the place of an older one, once it is {@link Refreshing.latest}. */
  readonly onChange?: (value: T, previous: T) => void;
}
