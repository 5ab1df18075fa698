import type * as Crypto from 'node:crypto';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { decorate } from '../../src/ecs/decorated-object-store.ts';
import { readRegistry } from '../../src/ecs/dtool/registry.ts';
import { renderStructure } from '../../src/ecs/dtool/structure.ts';
import type { ObjectStore } from '../../src/ecs/object-store.ts';
import { discardDataset } from '../../src/freeze/discard.ts';
import { FreezeJournal, type JournalEntry } from '../../src/freeze/journal.ts';
import { base64, folderOf, freezeTo, readBack, uuidOf } from '../freeze/support.ts';
import { scaled } from '../support/full.ts';
import { explore, type ExploreOptions, type World } from '../support/interleavings.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';

/*
 * Freezes and discards of one dataset in every order in which their requests can reach the store, and with one of them
 * killed at any point. In each: a whole copy is left, and what each of them has said is true.
 */

const drawn = vi.hoisted(() => ({ count: 0 }));
vi.mock('node:crypto', async (original) => ({
  ...(await original<typeof Crypto>()),
  // What is drawn is the same in each run.
  randomUUID: () => `00000000-0000-4000-8000-${String((drawn.count += 1)).padStart(12, '0')}`,
}));

/** The first that is drawn. */
const UUID = uuidOf('00000000-0000-4000-8000-000000000001');
/** Journals in memory, by path: a run is some thousand times as fast. */
let journals = new Map<string, JournalEntry>();
beforeEach(() => {
  vi.spyOn(FreezeJournal.prototype, 'read').mockImplementation(async function (this: FreezeJournal) {
    return journals.get(this.path);
  });
  vi.spyOn(FreezeJournal.prototype, 'write').mockImplementation(async function (this: FreezeJournal, entry) {
    journals.set(this.path, JSON.parse(JSON.stringify(entry)));
  });
  vi.spyOn(FreezeJournal.prototype, 'remove').mockImplementation(async function (this: FreezeJournal) {
    journals.delete(this.path);
  });
  vi.spyOn(FreezeJournal.prototype, 'lock').mockImplementation(async () => ({ release: async () => {} }));
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** A folder that a freeze makes a dataset of, and that goes with that, as in a mount. */
class Folder {
  readonly directory: string;
  readonly content: string;
  readonly #now: number;
  isThere = true;
  /** What the freeze has said. */
  said: 'frozen' | Error | undefined;

  constructor(directory: string, content: string, now: number) {
    this.directory = directory;
    this.content = content;
    this.#now = now;
  }

  freeze = async (store: ObjectStore): Promise<void> => {
    const clock = { ...systemClock, now: () => this.#now };
    try {
      await freezeTo(store, this.directory, { clock });
      this.said = 'frozen';
      this.isThere = false;
    } catch (error) {
      this.said = asError(error);
    }
  };

  /** Begins a freeze that ends before its nth request. */
  async begin(memory: MemoryObjectStore, requests: number): Promise<void> {
    await this.freeze(endingAfter(memory, requests));
    this.isThere = true;
    this.said = undefined;
  }
}

class Discard {
  said: 'gone' | Error | undefined;

  run = async (store: ObjectStore): Promise<void> => {
    try {
      await discardDataset(store, UUID, { writePrefix: '' });
      this.said = 'gone';
    } catch (error) {
      this.said = asError(error);
    }
  };
}

function endingAfter(memory: MemoryObjectStore, requests: number): ObjectStore {
  let made = 0;
  return decorate(memory, async (_request, run) => {
    made += 1;
    if (made > requests) throw new Error('killed');
    return run();
  });
}

/** Whether the bucket has a frozen dataset of a content, that every reader finds whole. */
async function hasDataset(memory: MemoryObjectStore, content: string): Promise<boolean> {
  const { datasets } = await readRegistry(memory);
  for (const entry of datasets) {
    if (entry.admin.type !== 'dataset') continue;
    const items = await readBack(memory, entry).catch(() => undefined);
    if (items?.get('item') === base64(content) && items.size === 1) return true;
  }
  return false;
}

/** What has to hold at the end of each run, and after each is called once more. */
async function checkEnd(memory: MemoryObjectStore, folder: Folder, discard: Discard): Promise<void> {
  const isWhole = await hasDataset(memory, folder.content);
  expect(folder.isThere || isWhole, 'a whole copy is left').toBe(true);
  if (folder.said === 'frozen') expect(isWhole, 'frozen is frozen').toBe(true);
  if (discard.said === 'gone' && folder.said !== undefined)
    expect(
      memory.keys.filter((key) => key.includes(UUID)),
      'gone is gone',
    ).toEqual([]);
  if (discard.said instanceof Error) {
    expect(discard.said.message).toMatch('is frozen, and nothing of it is removed');
    expect(memory.keys, 'it stays registered').toContain(`dtool-${UUID}`);
  }
  if (folder.said instanceof Error)
    expect(folder.said.message).toMatch(/(was|is being) discarded|(is|are) missing/);

  const again = new Discard();
  await again.run(memory);
  const stays = await hasDataset(memory, folder.content);
  expect(folder.isThere || stays, 'a whole copy is left after another discard').toBe(true);
  if (again.said === 'gone') expect(memory.keys.filter((key) => key.includes(UUID))).toEqual([]);
  if (!folder.isThere) return;
  await folder.freeze(memory);
  if (folder.said !== 'frozen') await folder.freeze(memory);
  expect(folder.said).toBe('frozen');
  expect(await hasDataset(memory, folder.content), 'frozen in the end').toBe(true);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** A folder whose freeze has drawn {@link UUID} and made so many requests, and a discard that was ended likewise. */
async function world(directory: string, frozenTo: number, discardedTo = 0): Promise<World> {
  journals = new Map();
  drawn.count = 0;
  const memory = new MemoryObjectStore({ now: () => 0 });
  const folder = new Folder(directory, 'content', 1_000);
  await folder.begin(memory, frozenTo);
  if (discardedTo > 0) await new Discard().run(endingAfter(memory, discardedTo));
  const discard = new Discard();
  return {
    memory,
    actors: { freeze: folder.freeze, discard: discard.run },
    more: () => [folder.isThere, [...journals.values()]],
    check: async () => checkEnd(memory, folder, discard),
  };
}

/** How much of it is tried: the full length tries every order. */
const ORDERS = scaled<ExploreOptions>({ usual: { turnsMax: 2 }, full: {} });
const DEATHS = scaled<ExploreOptions>({ usual: { turnsMax: 0 }, full: { turnsMax: 2 } });
const TIMEOUT_MS = scaled({ usual: 120_000, full: 3_600_000 });

/** Requests of a freeze before the commit, and with it. */
const BEFORE_COMMIT = 9;
const COMMITTED = BEFORE_COMMIT + 1;

test.each([
  [
    'has registered its dataset',
    1,
    scaled<ExploreOptions>({ usual: { turnsMax: 1 }, full: { turnsMax: 5 } }),
  ],
  ['has put everything but the commit', BEFORE_COMMIT, ORDERS],
  ['was ended right after the commit', COMMITTED, {}],
])(
  'a discard while a freeze goes on that %s',
  async (_, frozenTo, options) => {
    const directory = await folderOf({ item: 'content' });
    const { runs } = await explore(async () => world(directory, frozenTo), options);
    expect(runs).toBeGreaterThan(10);
  },
  TIMEOUT_MS,
);

test.each([4, 5, 6, 8, 12, 18])(
  'a discard that goes on with one that was ended after %i requests, while a freeze goes on',
  async (discardedTo) => {
    const directory = await folderOf({ item: 'content' });
    await explore(async () => world(directory, BEFORE_COMMIT, discardedTo), {
      turnsMax: scaled({ usual: 1, full: 2 }),
    });
  },
  TIMEOUT_MS,
);

test.each(['freeze', 'discard'])(
  'a discard while a freeze goes on, and the %s is killed at any point',
  async (mortal) => {
    const directory = await folderOf({ item: 'content' });
    await explore(async () => world(directory, BEFORE_COMMIT), { ...DEATHS, mortal: [mortal] });
  },
  TIMEOUT_MS,
);

test(
  'two discards while a freeze goes on',
  async () => {
    const directory = await folderOf({ item: 'content' });
    const make = async (): Promise<World> => {
      const one = await world(directory, BEFORE_COMMIT);
      const other = new Discard();
      return { ...one, actors: { ...one.actors, other: other.run } };
    };
    await explore(make, { turnsMax: scaled({ usual: 1, full: 2 }) });
  },
  TIMEOUT_MS,
);

/** Two copies of a dataset of dtool, of which one was changed: one uuid, two contents. */
async function twoFolders(directories: readonly [string, string]): Promise<World> {
  journals = new Map();
  drawn.count = 0;
  const memory = new MemoryObjectStore({ now: () => 0 });
  const [a, b] = [new Folder(directories[0], 'A', 1_000), new Folder(directories[1], 'BB', 2_000)];
  const check = async (): Promise<void> => {
    for (const one of [a, b]) {
      const isWhole = await hasDataset(memory, one.content);
      expect(one.isThere || isWhole, 'a whole copy is left').toBe(true);
      if (one.said === 'frozen') expect(isWhole, 'frozen is frozen').toBe(true);
      else if (one.said)
        expect(one.said.message).toMatch(/from elsewhere|has a frozen dataset|just registered/);
    }
  };
  return {
    memory,
    actors: { a: a.freeze, b: b.freeze },
    more: () => [a.isThere, b.isThere, [...journals.values()]],
    check: async (killed) => {
      await check();
      // Who is left, or was refused because of the other, has it to itself now.
      for (const one of [a, b]) if (one.isThere && !(killed.size > 0 && one.said)) await one.freeze(memory);
      await check();
      expect([a.said, b.said]).toContain('frozen');
    },
  };
}

test.each([false, true])(
  'two freezes of one uuid with two contents, of which one is killed: %s',
  async (isKilling) => {
    const directories = [await protoDataset('A'), await protoDataset('BB')] as const;
    await explore(async () => twoFolders(directories), {
      ...(isKilling ? { ...DEATHS, mortal: ['a'] } : ORDERS),
    });
  },
  TIMEOUT_MS,
);

async function protoDataset(content: string): Promise<string> {
  const admin = {
    uuid: UUID,
    dtoolcore_version: '3.18.2',
    name: 'two-copies',
    type: 'protodataset',
    creator_username: 'ada',
    created_at: 1_600_000_000.5,
  };
  return folderOf({
    'data/item': content,
    'README.yml': 'a: 1\n',
    '.dtool/dtool': JSON.stringify(admin),
    '.dtool/structure.json': renderStructure(UUID),
  });
}
