import { readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DATASET_METADATA_OBJECTS_MAX, GiB, MANIFEST_MAX_BYTES, MiB } from '../../src/limits.ts';
import { datasetOf, uuidOf } from '../support/datasets.ts';
import { isFull, scaled } from '../support/full.ts';
import {
  type GeneratedKeys,
  type GeneratedObject,
  type GeneratingProxy,
  RepeatedText,
  startGeneratingProxy,
} from '../support/generated-objects.ts';
import { type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { createEmbeddedBucket, type TestBucket } from '../support/test-bucket.ts';

/** What a manifest may have as bytes and is read whole; usually less, for the time that it takes. */
const LARGE_BYTES = scaled({ usual: 36 * MiB, full: MANIFEST_MAX_BYTES });
/**
 * What the daemon may take at its peak, beside what it takes at rest: while a column of a manifest grows, both the old and
 * the new one are there, and the new one is twice as large.
 */
const PEAK_MAX_BYTES = 512 * MiB + 3 * LARGE_BYTES;

/** A manifest of at most so many bytes; each record ends with a comma. */
const itemsOf = (record: (index: number) => string, bytes: number): RepeatedText => {
  const head = '{"items":{';
  const count = Math.floor((bytes - head.length - 2) / Buffer.byteLength(record(0)));
  return new RepeatedText(head, record, count - 1, `${record(count - 1).slice(0, -1)}}}`);
};
const item = (index: number, relpath: string): string =>
  `"${index.toString(16).padStart(40, '0')}":{"hash":"${'0'.repeat(32)}","relpath":"${relpath}","size_in_bytes":1,"utc_timestamp":0},`;
const numbered = (index: number): string => index.toString(36).padStart(8, '0');

/** No measurement: nobody else is held up for as long as it all takes. */
const OTHERS_WAIT_MAX_MS = 30_000;

/** What somebody may have put in the place of a manifest, and what is said of it; undefined where it is one. */
const MANIFESTS: Readonly<Record<string, { readonly object: GeneratedObject; readonly said?: string }>> = {
  'of-a-gigabyte': {
    object: itemsOf((index) => item(index, numbered(index)), GiB),
    said: `and ${MANIFEST_MAX_BYTES} are allowed`,
  },
  'of-short-items': { object: itemsOf((index) => item(index, numbered(index)), LARGE_BYTES) },
  'of-broken-items': {
    object: itemsOf((index) => `"${index.toString(16).padStart(40, '0')}":{},`, LARGE_BYTES),
    said: isFull ? 'more than 5000000 items' : 'is missing where',
  },
  'of-long-names': {
    object: itemsOf(
      (index) => item(index, `${numbered(index)}${`/${'n'.repeat(250)}`.repeat(16)}`),
      LARGE_BYTES,
    ),
  },
  'of-deep-directories': {
    object: itemsOf((index) => item(index, `${numbered(index)}/${'d/'.repeat(2_040)}f`), LARGE_BYTES),
    said: 'make more than 4000000 directories',
  },
  'of-one-text': {
    object: new RepeatedText('{"items":{"', () => 'x'.repeat(1_024), LARGE_BYTES / 1_024 - 1, '"}}'),
    said: 'longer than',
  },
  'of-nothing-but-depth': {
    object: new RepeatedText('{"items":{},"more":', () => '['.repeat(1_024), 1_024, '1'),
    said: 'ends',
  },
};
const TAGS_PREFIX = `${uuidOf('tagged')}/tags/`;
const TAGS: GeneratedKeys = {
  count: 1_000_000,
  key: (index) => `${TAGS_PREFIX}t${String(index).padStart(7, '0')}`,
};
describe.skipIf(mountObstacle !== undefined)('a bucket of enormous things', { timeout: 600_000 }, () => {
  let bucket: TestBucket;
  let proxy: GeneratingProxy;
  let mounted: Mounted;
  const figures: string[] = [];
  let restBytes = 0;

  beforeAll(async () => {
    bucket = await createEmbeddedBucket();
    for (const name of ['good', 'tagged', ...Object.keys(MANIFESTS)])
      await bucket.putDataset(datasetOf(name, { 'a.txt': 'good' }, { tags: ['t'] }));
    proxy = await startGeneratingProxy(bucket.server?.endpoint ?? '', bucket.bucket, {
      objects: new Map(
        Object.entries(MANIFESTS).map(([name, { object }]) => [`${uuidOf(name)}/manifest.json`, object]),
      ),
      lists: new Map([[TAGS_PREFIX, TAGS]]),
    });
    mounted = await mount(
      { ...bucket.env, [`DTOOL_ECS_ENDPOINT_${bucket.bucket}`]: proxy.endpoint },
      [bucket.bucket],
      '--read-only',
    );
    expect(await mounted.sh('cat good/data/a.txt')).toBe('good');
    restBytes = await peakBytes();
  });
  afterAll(async () => {
    if (isFull) process.stderr.write(`${figures.join('\n')}\n`);
    await mounted?.close();
    await proxy?.close();
    await bucket?.close();
  });
  beforeEach(async () => writeFile(`/proc/${mounted.pid}/clear_refs`, '5'));

  const peakBytes = async (): Promise<number> => {
    const [, kilobytes] =
      /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${mounted.pid}/status`, 'utf8')) ?? [];
    return Number(kilobytes) * 1024;
  };
  /** Uses the mount for something else until a promise has settled; the longest time that one use took, in ms. */
  const useMeanwhile = async (work: Promise<unknown>): Promise<number> => {
    const state = { isDone: false };
    const done = work.finally(() => {
      state.isDone = true;
    });
    let longest = 0;
    do {
      // Its own clock: this process makes the manifest meanwhile, and may have no time to look at another one.
      const seen = await mounted.sh(
        'from=$(date +%s%N); cat good/data/a.txt && ls -l good/data .uuid >/dev/null; echo " $((($(date +%s%N) - from) / 1000000))"',
      );
      const [, milliseconds] = /^good (\d+)\n$/.exec(seen) ?? [];
      expect(milliseconds, seen).toBeDefined();
      longest = Math.max(longest, Number(milliseconds));
    } while (!state.isDone);
    await done;
    return longest;
  };
  const problemOf = async (key: string): Promise<string | undefined> =>
    (await mounted.status()).problems.find((problem) => problem.key === key)?.reason;

  /** Looks into a directory, and uses the mount for something else meanwhile. */
  const look = async (
    what: string,
    path: string,
  ): Promise<{ readonly exitCode: number; readonly entries: number }> => {
    const from = performance.now();
    const listing = mounted.user.exec(
      'bash',
      '-c',
      `ls -f '${mounted.path}/${path}' | wc -l; exit \${PIPESTATUS[0]}`,
    );
    const longest = await useMeanwhile(listing);
    const seconds = (performance.now() - from) / 1000;
    const { exitCode, stdout } = await listing;
    const peak = await peakBytes();
    figures.push(
      `${what}: ${seconds.toFixed(1)} s, peak ${(peak / MiB).toFixed(0)} MiB ` +
        `(at rest ${(restBytes / MiB).toFixed(0)}), others waited ${longest.toFixed(0)} ms at most`,
    );
    expect(peak).toBeLessThan(restBytes + PEAK_MAX_BYTES);
    expect(longest).toBeLessThan(OTHERS_WAIT_MAX_MS);
    return { exitCode, entries: Number(stdout) };
  };

  for (const [name, { object, said }] of Object.entries(MANIFESTS)) {
    test(`a manifest ${name.replaceAll('-', ' ')}`, async () => {
      const { exitCode, entries } = await look(
        `${name}, ${(object.size / MiB).toFixed(0)} MiB`,
        `${name}/data`,
      );
      expect(exitCode === 0).toBe(said === undefined);
      if (said === undefined) expect(entries).toBeGreaterThan(1_000);
      else expect(await problemOf(`${uuidOf(name)}/manifest.json`)).toContain(said);
    });
  }

  test('a million tags', async () => {
    const { exitCode, entries } = await look('a million tags', 'tagged/.dtool/tags');
    // With `.` and `..`
    expect({ exitCode, entries }).toEqual({ exitCode: 0, entries: DATASET_METADATA_OBJECTS_MAX + 2 });
    expect(await problemOf(TAGS_PREFIX)).toContain(`more than ${DATASET_METADATA_OBJECTS_MAX} objects`);
    expect(await mounted.sh('cat tagged/data/a.txt')).toBe('good');
  });
});
