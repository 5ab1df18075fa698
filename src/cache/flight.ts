import type { RequestOptions } from '../ecs/object-store.ts';
import { SharedTask } from '../shared-task.ts';
import type { LoadOptions } from './fetch-blocks.ts';

/**
 * Neighbouring blocks on their way together. Each is its waiters' as soon as it has landed, whatever becomes of the
 * others; when nobody waits for any of them the rest is given up.
 */
export class Flight {
  readonly #task: SharedTask<void>;
  readonly #landings: ReadonlyMap<number, Landing>;
  readonly #promotion = new AbortController();

  /**
   * @param load is called at once; hands over every block unless it fails
   * @param onEnd hears of every block once: that it has landed, or that it will not
   */
  constructor(
    run: readonly number[],
    load: (options: LoadOptions & Pick<RequestOptions, 'promotion'>) => Promise<void>,
    onEnd: (number: number, block: Uint8Array | undefined) => void,
  ) {
    this.#landings = new Map(run.map((number) => [number, new Landing()]));
    const promotion = this.#promotion.signal;
    const flying = new Set(run);
    const onBlock = (number: number, block: Uint8Array): void => {
      flying.delete(number);
      onEnd(number, block);
      this.#landing(number).land(block);
    };
    this.#task = new SharedTask(async (signal) => {
      let reason: unknown = new Error('the flight ended without the block');
      try {
        await load({ signal, promotion, onBlock });
      } catch (error) {
        reason = error;
        throw error;
      } finally {
        for (const number of flying) {
          onEnd(number, undefined);
          this.#landing(number).miss(reason);
        }
      }
    });
  }

  /** Whether it was given up: who wants a block that has not landed must start another flight. */
  get abandoned(): boolean {
    return this.#task.abandoned;
  }

  /** Somebody waits for what was fetched ahead. */
  promote(): void {
    this.#promotion.abort();
  }

  /**
   * Waits for some of the blocks.
   *
   * @returns them in the order of their numbers
   * @throws the signal's reason as soon as it aborts, or why one of them does not come
   */
  async wait(numbers: readonly number[], signal: AbortSignal): Promise<readonly Uint8Array[]> {
    const blocks = numbers.map(async (number) => this.#landing(number).block);
    return this.#task.waitFor(Promise.all(blocks), signal);
  }

  #landing(number: number): Landing {
    const landing = this.#landings.get(number);
    if (!landing) throw new Error(`block ${number} was never on the flight`);
    return landing;
  }
}

/** What becomes of one block. */
class Landing {
  readonly block: Promise<Uint8Array>;
  #resolve: ((block: Uint8Array) => void) | undefined;
  #reject: ((reason: unknown) => void) | undefined;

  constructor() {
    this.block = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // With nobody waiting there is nobody to tell.
    this.block.catch(() => {});
  }

  land(block: Uint8Array): void {
    this.#resolve?.(block);
  }

  miss(reason: unknown): void {
    this.#reject?.(reason);
  }
}
