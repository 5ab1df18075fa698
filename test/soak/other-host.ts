import { mkdir, rm, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DatasetEntry, readRegistry } from '../../src/ecs/dtool/registry.ts';
import type { ObjectStore } from '../../src/ecs/object-store.ts';
import { type CommandResult, User } from '../support/mounted.ts';
import type { Violation } from './figures.ts';
import { knownBytes, nameOf } from './known-content.ts';

export interface Wrong {
  readonly violation: Violation;
  readonly detail: string;
}

/** What came of a command, while the network is well. */
export interface Told {
  /** For the figures. */
  readonly did: string;
  readonly wrong?: Wrong;
  /** A dataset that has to be in the bucket now. */
  readonly frozen?: { readonly name: string; readonly items: readonly string[] };
}

const POLL_MS = 20;
const VICTIM_WITHIN_MS = 5_000;
const ITEMS_MAX = 5;
const ITEM_MAX_BYTES = 400_000;

/**
 * A user on another computer, as far as the program can tell: with a home, journals and caches of his own, and with the
 * same bucket.
 */
export class OtherHost {
  readonly user: User;
  readonly #colleague: User;
  readonly #bucket: string;
  readonly #store: ObjectStore;
  readonly #random: () => number;
  /** Names of all datasets that it tried to discard. */
  readonly #victims = new Set<string>();
  #made = 0;

  private constructor(
    users: readonly [User, User],
    bucket: string,
    store: ObjectStore,
    random: () => number,
  ) {
    [this.user, this.#colleague] = users;
    this.#bucket = bucket;
    this.#store = store;
    this.#random = random;
  }

  /**
   * @param env the configuration of the bucket
   * @param store opens the bucket directly
   */
  static async create(
    env: Readonly<Record<string, string>>,
    bucket: string,
    store: ObjectStore,
    random: () => number,
  ): Promise<OtherHost> {
    return new OtherHost([await User.create(env), await User.create(env)], bucket, store, random);
  }

  /** Whether it tried to discard the dataset that a path is in. */
  mayBeDiscarded(path: string): boolean {
    return this.#victims.has(path.split('/')[0] ?? '');
  }

  /** Discards a dataset that somebody else is freezing at this moment, and holds the answer against the bucket. */
  async discard(): Promise<Told> {
    const victim = await this.#findVictim();
    if (!victim) return { did: 'discards of nothing' };
    const { uuid, admin } = victim;
    this.#victims.add(admin.name);
    const { exitCode, stderr } = await this.user.run('discard', '--bucket', this.#bucket, uuid, '--yes');
    if (exitCode === 0) return { did: 'discards by another user' };
    if (stderr.includes('is frozen')) {
      const isFrozen = (await readRegistry(this.#store)).datasets.some(
        (one) => one.uuid === uuid && one.admin.type === 'dataset',
      );
      return {
        did: 'discards that came too late',
        ...(!isFrozen && {
          wrong: {
            violation: 'false-report',
            detail: `discard said that ${uuid} (${admin.name}) is frozen: ${stderr}`,
          },
        }),
      };
    }
    if (stderr.includes('has no dataset')) return { did: 'discards that came too late' };
    return {
      did: 'discards that failed',
      wrong: { violation: 'dishonest-error', detail: `discard of ${uuid} (${admin.name}): ${stderr}` },
    };
  }

  /** A dataset that is not frozen yet, as soon as there is one. */
  async #findVictim(): Promise<DatasetEntry | undefined> {
    for (const end = performance.now() + VICTIM_WITHIN_MS; performance.now() < end; await sleep(POLL_MS)) {
      const { datasets } = await readRegistry(this.#store);
      const unfinished = datasets.filter(({ admin }) => admin.type !== 'dataset');
      const victim = unfinished[Math.floor(this.#random() * unfinished.length)];
      if (victim) return victim;
    }
    return undefined;
  }

  /** Two hosts freeze copies of one proto dataset, with one uuid, at the same time. */
  async freezeTwice(): Promise<Told> {
    this.#made += 1;
    const name = `copied-${this.#made}`;
    const files = Array.from({ length: 1 + Math.floor(this.#random() * ITEMS_MAX) }, () => ({
      seed: Math.floor(this.#random() * 2 ** 30),
      length: Math.floor(this.#random() * ITEM_MAX_BYTES),
    }));
    const admin = {
      uuid: randomUUID(),
      dtoolcore_version: '3.18.2',
      name,
      type: 'protodataset',
      creator_username: 'grace',
      created_at: 1_600_000_000.5,
    };
    const contents: readonly (readonly [string, Buffer | string])[] = [
      ['.dtool/dtool', JSON.stringify(admin)],
      ['README.yml', 'description: on two hosts\n'],
      ...files.map((file) => [`data/${nameOf(file)}`, knownBytes(file)] as const),
    ];
    const freeze = async (user: User): Promise<CommandResult> => {
      const directory = join(user.home, name);
      for (const [path, content] of contents) {
        await mkdir(dirname(join(directory, path)), { recursive: true });
        await writeFile(join(directory, path), content);
      }
      const result = await user.run('freeze', directory, '--bucket', this.#bucket);
      await rm(directory, { recursive: true });
      return result;
    };
    const results = await Promise.all([this.user, this.#colleague].map(freeze));
    // The one that comes last may say that the other is at it, or has frozen it. Two that come at once may both say so.
    const failed = results.filter(
      ({ exitCode, stderr }) =>
        exitCode !== 0 && !(/frozen|just registered/.test(stderr) && stderr.includes(admin.uuid)),
    );
    return {
      did: 'freezes of one dataset from two hosts',
      // One that says it is frozen must be right.
      ...(results.some(({ exitCode }) => exitCode === 0) && { frozen: { name, items: files.map(nameOf) } }),
      ...(failed.length > 0 && {
        wrong: {
          violation: 'dishonest-error',
          detail: `freeze of ${name} on two hosts: ${failed.map(({ stderr }) => stderr).join('; ')}`,
        },
      }),
    };
  }

  async remove(): Promise<void> {
    await this.user.remove();
    await this.#colleague.remove();
  }
}
