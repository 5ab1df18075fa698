import type { Clock } from '../../../clock.ts';
import { forEachBounded } from '../../../for-each-bounded.ts';
import {
  CALLER_LOOK_MAX_MS,
  CALLER_LOOK_MIN_MS,
  CALLER_LOOKS_AT_ONCE_MAX,
  UNKNOWN_CALLER_WAIT_MS,
} from '../../../limits.ts';
import type { CallerState } from './caller-state.ts';
import type { Request } from './request.ts';

interface Caller {
  readonly threadId: number;
  /** Its requests, several only of threads that have no number, each with the time since when its caller is `unknown`. */
  readonly requests: Map<Request, number>;
  /** When it is looked at next, and the pause until the look after that. */
  nextMs: number;
  pauseMs: number;
}

/**
 * Watches the callers whose requests wait and to whom the kernel has sent a signal. It interrupts the requests of a caller
 * as soon as that is about to leave.
 *
 * The kernel sends INTERRUPT once for a request, at the first signal, whichever it is; of SIGKILL after that it tells
 * nothing, and the caller waits for the answer. So a caller that stays is looked at again, as long as its request waits.
 *
 * A caller that the mount can't see may be dying or not. To end its call at once would be a false error after every
 * harmless signal; never to end it would keep a killed process for as long as the store is away. So its request goes on,
 * but for {@link UNKNOWN_CALLER_WAIT_MS} only.
 */
export class CallerWatch {
  readonly #look: (threadId: number) => Promise<CallerState>;
  readonly #clock: Clock;
  /** By thread. */
  readonly #callers = new Map<number, Caller>();
  #isRunning = false;
  /** Ends the pause. */
  #pause = new AbortController();

  constructor(look: (threadId: number) => Promise<CallerState>, clock: Clock) {
    this.#look = look;
    this.#clock = clock;
  }

  /** The number of threads that are watched. */
  get size(): number {
    return this.#callers.size;
  }

  /** Watches the caller of a request until {@link forget}. */
  watch(request: Request): void {
    const { threadId } = request;
    const now = this.#clock.monotonic();
    const known = this.#callers.get(threadId);
    const caller: Caller = known ?? { threadId, requests: new Map(), nextMs: now, pauseMs: 0 };
    this.#callers.set(threadId, caller);
    caller.requests.set(request, now);
    caller.nextMs = now;
    caller.pauseMs = CALLER_LOOK_MIN_MS;
    if (this.#isRunning) this.#pause.abort();
    else void this.#run();
  }

  /** The request was answered. */
  forget(request: Request): void {
    const caller = this.#callers.get(request.threadId);
    if (caller === undefined || !caller.requests.delete(request) || caller.requests.size > 0) return;
    this.#callers.delete(request.threadId);
    if (this.#callers.size === 0) this.#pause.abort();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#callers.size > 0) {
      this.#pause = new AbortController();
      const due = this.#due();
      await forEachBounded(due, CALLER_LOOKS_AT_ONCE_MAX, async (caller) => this.#lookAt(caller));
      await this.#untilNext();
    }
    this.#isRunning = false;
  }

  #due(): readonly Caller[] {
    const now = this.#clock.monotonic();
    return [...this.#callers.values()].filter(({ nextMs }) => nextMs <= now);
  }

  async #untilNext(): Promise<void> {
    let next = Number.POSITIVE_INFINITY;
    for (const { nextMs } of this.#callers.values()) next = Math.min(next, nextMs);
    if (next === Number.POSITIVE_INFINITY) return;
    const { signal } = this.#pause;
    try {
      await this.#clock.sleep(Math.max(0, next - this.#clock.monotonic()), signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  async #lookAt(caller: Caller): Promise<void> {
    caller.nextMs = Number.POSITIVE_INFINITY;
    const state = await this.#look(caller.threadId);
    const now = this.#clock.monotonic();
    for (const [request, sinceMs] of caller.requests) {
      if (state === 'staying') caller.requests.set(request, now);
      else if (state === 'leaving' || now - sinceMs >= UNKNOWN_CALLER_WAIT_MS) request.interrupt();
    }
    // A request that came during the look, for which another one is due already, stays.
    if (caller.nextMs !== Number.POSITIVE_INFINITY) return;
    caller.nextMs = now + caller.pauseMs;
    caller.pauseMs = Math.min(2 * caller.pauseMs, CALLER_LOOK_MAX_MS);
  }
}
