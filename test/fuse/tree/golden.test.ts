import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { goldenCases, goldenStore, loadGoldenCase } from '../../support/golden.ts';
import { contentOf, directoryAt, fileAt, filesBelow, namesIn, textAt, treeOf } from '../../support/tree.ts';

const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex');

const json = (names: readonly string[]): readonly string[] => names.map((key) => `${key}.json`).toSorted();

describe.each(goldenCases)('%s as a tree', (name) => {
  const golden = loadGoldenCase(name);
  const { root, problems } = treeOf(goldenStore(golden));
  const bodies = new Map(golden.objects.map(({ key, body }) => [key, body]));
  const [reader] = Object.values(golden.readers);

  for (const truth of reader?.datasets ?? []) {
    const path = truth.type === 'dataset' ? truth.name : `.proto/${truth.name}~${truth.uuid.slice(0, 8)}`;

    test(`${truth.name} has every item with its content, size and time, and nothing else`, async () => {
      const items = truth.items
        ? Object.entries(truth.items)
        : (truth.handles ?? []).map(
            (relpath) => [sha1(relpath), { relpath, utc_timestamp: undefined }] as const,
          );
      const data = await filesBelow(await directoryAt(root, `${path}/data`));
      const hasAside = (await namesIn(root, `${path}/.dtool`)).includes('unrepresentable');
      const aside = hasAside
        ? await filesBelow(await directoryAt(root, `${path}/.dtool/unrepresentable`))
        : new Map<string, never>();
      expect(data.size + aside.size).toBe(items.length);
      for (const [identifier, { relpath, utc_timestamp: seconds }] of items) {
        const file = data.get(relpath) ?? aside.get(identifier);
        const body = bodies.get(`${truth.prefix}${truth.uuid}/data/${identifier}`);
        if (!file || !body) expect.fail(`${relpath} is missing`);
        const { size, mtime } = file.attributes();
        expect(size).toBe(body.length);
        if (seconds !== undefined) expect(mtime.seconds + mtime.nanoseconds / 1e9).toBeCloseTo(seconds, 5);
        expect((await contentOf(file)).equals(body)).toBe(true);
      }
      expect([...aside.keys()].toSorted()).toEqual(
        items
          .filter(([, { relpath }]) => !data.has(relpath))
          .map(([identifier]) => identifier)
          .toSorted(),
      );
      expect(problems.all.length).toBe(aside.size);
    });

    test(`${truth.name} has its metadata`, async () => {
      expect(await textAt(root, `${path}/README.yml`)).toBe(truth.readme);
      expect(JSON.parse(await textAt(root, `${path}/.dtool/dtool`))).toEqual(truth.admin_metadata);
      expect(await namesIn(root, `${path}/.dtool/tags`)).toEqual(truth.tags.toSorted());
      expect(await namesIn(root, `${path}/.dtool/annotations`)).toEqual(json(truth.annotation_names));
      expect(await namesIn(root, `${path}/.dtool/overlays`)).toEqual(json(Object.keys(truth.overlays ?? {})));
      for (const file of truth.items ? ['README.txt', 'manifest.json'] : ['README.txt']) {
        const content = await contentOf(await fileAt(root, `${path}/.dtool/${file}`));
        expect(content.equals(bodies.get(`${truth.prefix}${truth.uuid}/${file}`) ?? Buffer.alloc(0))).toBe(
          true,
        );
      }
    });
  }
});
