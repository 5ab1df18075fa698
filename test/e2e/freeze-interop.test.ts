import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startS3Server } from '../../src/demo/s3/server.ts';
import { folderOf, scratch } from '../freeze/support.ts';
import { User } from '../support/mounted.ts';
import { dtool, PYTHON } from '../support/real-dtool.ts';
import { configurationOf } from '../support/test-bucket.ts';

const BUCKET = 'interop-bucket';

/** Everything that dtoolcore says of the only dataset of a bucket, its copy on disk, and the copy's content. */
const INSPECT = `
import json, sys, dtoolcore
from dtool_ecs.storagebroker import ECSStorageBroker
base, copies = sys.argv[1:]
# Not iter_datasets_in_base_uri: with dtool-ecs 0.5.0 and dtool-s3 0.14.1 it fails on every bucket.
uris = ECSStorageBroker.list_dataset_uris(base, None)
assert len(uris) == 1, uris
d = dtoolcore.DataSet.from_uri(uris[0])
copy = dtoolcore.DataSet.from_uri(dtoolcore.copy(uris[0], copies))
items = {}
for i in copy.identifiers:
    with open(copy.item_content_abspath(i), 'rb') as f:
        items[copy.item_properties(i)['relpath']] = f.read().decode('latin-1')
print(json.dumps({
    'uri': d.uri, 'name': d.name, 'uuid': d.uuid, 'admin': d._admin_metadata, 'readme': d.get_readme_content(),
    'manifest': d._storage_broker.get_manifest(), 'tags': sorted(d.list_tags()),
    'annotations': {n: d.get_annotation(n) for n in d.list_annotation_names()},
    'overlays': {n: d.get_overlay(n) for n in d.list_overlay_names()}, 'items': items}))
`;

/** Makes a dataset on disk with dtoolcore, frozen or not. */
const CREATE = `
import sys, dtoolcore
base, source, frozen = sys.argv[1:]
p = dtoolcore.create_proto_dataset('from-python', base, 'description: by Python\\n', 'grace')
for relpath in ['a.txt', 'deep/ü.txt']:
    p.put_item(source, relpath)
    p.add_item_metadata(relpath, 'weight', 1.0)
p.put_annotation('species', {'name': 'Hordeum'})
p.put_tag('barley')
if frozen == 'yes':
    p.freeze()
print(p.uuid)
`;

interface Inspected {
  readonly uri: string;
  readonly name: string;
  readonly uuid: string;
  readonly admin: Readonly<Record<string, unknown>>;
  readonly readme: string;
  readonly manifest: { readonly items: Readonly<Record<string, { readonly relpath: string }>> };
  readonly tags: readonly string[];
  readonly annotations: Readonly<Record<string, unknown>>;
  readonly overlays: Readonly<Record<string, unknown>>;
  readonly items: Readonly<Record<string, string>>;
}

describe.skipIf(PYTHON === undefined)('what we froze, to the real dtool', () => {
  const python = PYTHON ?? '';

  /** Freezes a directory, and lets dtool list, verify and copy the dataset. */
  async function frozen(directory: string, prefix: string): Promise<Inspected> {
    const owner = { name: 'owner', accessKeyId: 'owner', secretAccessKey: randomUUID() };
    const server = await startS3Server({ users: [owner], buckets: [BUCKET] });
    onTestFinished(() => server.close());
    const user = await User.create({
      ...configurationOf(BUCKET, server.endpoint, owner),
      [`DTOOL_ECS_DATASET_PREFIX_${BUCKET}`]: prefix,
      DTOOL_CACHE_DIRECTORY: await scratch(),
    });
    onTestFinished(() => user.remove());
    expect(await user.run('freeze', directory, '--bucket', BUCKET)).toMatchObject({ exitCode: 0 });
    const inspected = await user.exec(python, '-c', INSPECT, `ecs://${BUCKET}/`, await scratch());
    expect(inspected, inspected.stderr).toMatchObject({ exitCode: 0 });
    const result = JSON.parse(inspected.stdout) as Inspected;
    expect(await dtool(user, 'verify', '-f', result.uri)).toContain('All good');
    const summary = await dtool(user, 'summary', result.uri);
    expect(summary).toContain(`number_of_items: ${Object.keys(result.items).length}`);
    return result;
  }

  for (const prefix of ['', 'u/owner/']) {
    test(`a plain folder, prefix ${JSON.stringify(prefix)}`, async () => {
      const files = {
        'naïve file (1).txt': 'n',
        '🧬/empty': '',
        'a\\b': 'back',
        'x/y/z.bin': '\u0000\u0001',
      };
      const result = await frozen(await folderOf(files), prefix);
      expect(result.items).toEqual(files);
      expect(result).toMatchObject({ name: 'results', tags: [], annotations: {}, overlays: {} });
      expect(result.admin).toMatchObject({ type: 'dataset', dtoolcore_version: '3.19.0' });
      expect(result.readme).toMatch(/^---\ndescription: results\nproject: ""\n/);
    });
  }

  for (const isFrozen of ['no', 'yes']) {
    test(`a dataset that dtool made on disk, frozen: ${isFrozen}`, async () => {
      const source = join(await folderOf({ content: 'content' }), 'content');
      const base = await scratch();
      await mkdir(base, { recursive: true });
      const made = await promisify(execFile)(python, ['-c', CREATE, base, source, isFrozen]);
      const result = await frozen(join(base, 'from-python'), 'u/owner/');
      expect(result).toMatchObject({
        uuid: made.stdout.trim(),
        name: 'from-python',
        readme: 'description: by Python\n',
        tags: ['barley'],
        annotations: { species: { name: 'Hordeum' } },
        items: { 'a.txt': 'content', 'deep/ü.txt': 'content' },
      });
      expect(result.admin).toMatchObject({ creator_username: 'grace', type: 'dataset' });
      const identifiers = Object.keys(result.manifest.items);
      expect(result.overlays).toEqual({ weight: Object.fromEntries(identifiers.map((id) => [id, 1])) });
    });
  }
});
