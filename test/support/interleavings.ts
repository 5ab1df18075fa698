import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { decorate, type StoreRequest } from '../../src/ecs/decorated-object-store.ts';
import type { ObjectStore } from '../../src/ecs/object-store.ts';
import type { MemoryObjectStore } from './memory-object-store.ts';

/** Something that makes requests, such as a freeze. It depends on nothing but the answers to them. */
export type Actor = (store: ObjectStore) => Promise<unknown>;

/** One world to try an order in: made anew for each. */
export interface World {
  readonly memory: MemoryObjectStore;
  readonly actors: Readonly<Record<string, Actor>>;
  /** What the state depends on besides the bucket and the answers. */
  readonly more?: () => unknown;
  /** Checks what has come of it, when each actor has ended or was killed. */
  readonly check: (killed: ReadonlySet<string>) => Promise<void>;
}

export interface ExploreOptions {
  /** Actors that may be killed, at any point, one of them in a run; default none. */
  readonly mortal?: readonly string[];
  /** Turns from one actor to the other in a run, after which each ends what it does; default any number. */
  readonly turnsMax?: number;
}

interface Pending {
  readonly request: StoreRequest;
  readonly carryOut: () => Promise<string>;
  readonly giveUp: (reason: unknown) => void;
}

const GIVEN_UP = new Error('this order is not gone on with');

class Performer {
  readonly name: string;
  readonly pending: Pending[] = [];
  /** All that it has asked and heard. */
  history = '';
  isOver = false;
  #isGivenUp = false;
  #onChange = (): void => {};

  constructor(name: string, memory: MemoryObjectStore, actor: Actor) {
    this.name = name;
    const store = decorate(memory, async <T>(request: StoreRequest, run: () => Promise<T>): Promise<T> => {
      if (this.#isGivenUp) throw GIVEN_UP;
      const carriedOut = await new Promise<PromiseSettledResult<T>>((resolve, reject) => {
        const carryOut = async (): Promise<string> => {
          const [result] = await Promise.allSettled([run()]);
          resolve(result);
          return describe(result);
        };
        this.pending.push({ request, carryOut, giveUp: reject });
        this.#onChange();
      });
      if (carriedOut.status === 'rejected') throw carriedOut.reason;
      return carriedOut.value;
    });
    actor(store)
      .catch(() => {})
      .finally(() => {
        this.isOver = true;
        this.#onChange();
      });
  }

  /** Resolves when it waits for an answer, or has ended. */
  async settled(): Promise<void> {
    while (!this.isOver && this.pending.length === 0)
      await new Promise<void>((resolve) => (this.#onChange = resolve));
    // Others that it makes at once.
    await setImmediate();
  }

  /** Lets it end, so that it holds nothing any more: all that it asks from now on fails. */
  async giveUp(): Promise<void> {
    this.#isGivenUp = true;
    while (!this.isOver) {
      for (const { giveUp } of this.pending.splice(0)) giveUp(GIVEN_UP);
      await this.settled();
    }
  }

  async step(): Promise<string> {
    const next = this.pending.shift();
    if (!next) throw new Error('nothing to do');
    const { operation, key } = next.request;
    const heard = await next.carryOut();
    this.history = digest([this.history, operation, key, heard]);
    return `${this.name}: ${operation} ${key}`;
  }
}

/**
 * Tries every order in which the requests of some actors can reach a store: one request at a time, those of one actor in
 * its own order. What has been seen to lead to one state is gone on with once.
 *
 * @returns how many states and runs there were
 * @throws what a check has thrown, with the order that led there
 */
export async function explore(
  make: () => Promise<World>,
  { mortal = [], turnsMax = Infinity }: ExploreOptions = {},
): Promise<{ readonly states: number; readonly runs: number }> {
  const seen = new Set<string>();
  const untried: (readonly string[])[] = [[]];
  let runs = 0;
  for (let prefix = untried.pop(); prefix; prefix = untried.pop()) {
    runs += 1;
    const world = await make();
    const performers = Object.entries(world.actors).map(
      ([name, actor]) => new Performer(name, world.memory, actor),
    );
    const killed = new Set<string>();
    const done: string[] = [];
    const log: string[] = [];
    let turns = 0;
    for (;;) {
      await Promise.all(performers.map(async (one) => one.settled()));
      const alive = performers.filter((one) => !one.isOver && !killed.has(one.name));
      if (alive.length === 0) {
        try {
          await world.check(killed);
        } catch (error) {
          throw new Error(`after\n${log.join('\n')}`, { cause: error });
        }
        break;
      }
      const last = done.at(-1)?.split(' ')[0];
      const choices = alive
        .toSorted((a, b) => Number(b.name === last) - Number(a.name === last))
        .map(({ name }) => name)
        .filter((_, index) => index === 0 || turns < turnsMax || last === undefined);
      if (killed.size === 0)
        choices.push(
          ...alive.filter(({ name }) => mortal.includes(name)).map(({ name }) => `${name} killed`),
        );
      let choice = prefix[done.length];
      if (choice === undefined) {
        const state = digest([
          snapshot(world.memory),
          ...performers.map(({ name, history, isOver }) => [name, history, isOver, killed.has(name)].join()),
          JSON.stringify(world.more?.()),
          turnsMax === Infinity ? '' : `${turns} ${last}`,
        ]);
        if (seen.has(state)) break;
        seen.add(state);
        choice = choices[0] ?? '';
        for (const other of choices.slice(1)) untried.push([...done, other]);
      }
      const [name = '', isKilled] = choice.split(' ');
      if (last !== undefined && last !== name) turns += 1;
      done.push(choice);
      const performer = performers.find((one) => one.name === name);
      if (isKilled) {
        killed.add(name);
        log.push(choice);
      } else log.push((await performer?.step()) ?? '');
    }
    await Promise.all(performers.map(async (one) => one.giveUp()));
  }
  return { states: seen.size, runs };
}

function snapshot(memory: MemoryObjectStore): string {
  return digest(memory.keys.map((key) => `${key} ${memory.peek(key)?.toString('base64')}`));
}

function describe(result: PromiseSettledResult<unknown>): string {
  if (result.status === 'rejected') return String(result.reason);
  return JSON.stringify(result.value, (name, value: unknown) => (name === 'lastModified' ? 0 : value)) ?? '';
}

const digest = (parts: readonly string[]): string =>
  createHash('sha1').update(JSON.stringify(parts)).digest('base64');
