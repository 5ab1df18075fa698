import type { RequestOptions } from '../ecs/object-store.ts';
import { SharedTask } from '../shared-task.ts';
import type { LoadOptions } from './fetch-blocks.ts';

/**
 * Neighbouring blocks on their way together. Each is its waiters' as soon as it has landed, whatever becomes of the
 * others; when nobody waits for any of them the rest is given up.
 */
export class Flight {
  readonly #start: () => SharedTask<void>;
  #task: SharedTask<void> | undefined;
  readonly #landings: ReadonlyMap<number, Landing>;
  readonly #promotion = new AbortController();

  /**
   * @param load is called as soon as somebody waits; hands over every block unless it fails
   * @param onEnd hears of every block once: that it has landed, or that it will not
   */
  constructor(
    numbers: readonly number[],
    load: (options: Omit<LoadOptions, 'memory'> & Pick<RequestOptions, 'promotion'>) => Promise<void>,
    onEnd: (number: number, block: Uint8Array | undefined) => void,
  ) {
    this.#landings = new Map(numbers.map((number) => [number, new Landing()]));
    const promotion = this.#promotion.signal;
    const flying = new Set(numbers);
    const onBlock = (number: number, block: Uint8Array): void => {
      flying.delete(number);
      onEnd(number, block);
      this.#landing(number).land(number, block);
    };
    const run = async (signal: AbortSignal): Promise<void> => {
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
    };
    this.#start = () => new SharedTask(run);
  }

  /** Whether it was given up: who wants a block that has not landed must start another flight. */
  get abandoned(): boolean {
    return this.#task?.abandoned === true;
  }

  /** Somebody waits for what was fetched ahead. */
  promote(): void {
    this.#promotion.abort();
  }

  /**
   * Waits for some of the blocks, none of which has landed.
   *
   * @param see has each of them when it lands, for the time of the call, even after the signal's abort
   * @throws the signal's reason as soon as it aborts, or why one of them does not come
   */
  async wait(numbers: readonly number[], signal: AbortSignal, see: SeeBlock = () => {}): Promise<void> {
    const landings = numbers.map(async (number) => this.#landing(number).wait(see));
    // Not before it is known who sees what lands.
    this.#task ??= this.#start();
    await this.#task.waitFor(Promise.all(landings), signal);
  }

  #landing(number: number): Landing {
    const landing = this.#landings.get(number);
    if (!landing) throw new Error(`block ${number} was never on the flight`);
    return landing;
  }
}

type SeeBlock = (number: number, block: Uint8Array) => void;

/** What becomes of one block. */
class Landing {
  readonly #end: Promise<void>;
  /** Undefined when it has landed. */
  #waiting: SeeBlock[] | undefined = [];
  #resolve: (() => void) | undefined;
  #reject: ((reason: unknown) => void) | undefined;

  constructor() {
    this.#end = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // With nobody waiting there is nobody to tell.
    this.#end.catch(() => {});
  }

  async wait(see: SeeBlock): Promise<void> {
    if (!this.#waiting) throw new Error('the block has landed and may be gone');
    this.#waiting.push(see);
    return this.#end;
  }

  land(number: number, block: Uint8Array): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const see of waiting) see(number, block);
    this.#resolve?.();
  }

  miss(reason: unknown): void {
    this.#reject?.(reason);
  }
}
