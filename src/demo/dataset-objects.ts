import { createHash } from 'node:crypto';
import {
  ADMIN_METADATA,
  DTOOL_README,
  MANIFEST,
  README,
  STRUCTURE,
  registrationKey,
} from '../ecs/dtool/keys.ts';
import type { DatasetUuid } from '../ecs/dtool/keys.ts';
import { identifierOf } from '../ecs/dtool/identifier.ts';

/** A dataset to be put into a bucket of the embedded server. */
export interface DatasetSpec {
  readonly name: string;
  readonly uuid: string;
  /** Content by relpath. */
  readonly items: Iterable<readonly [relpath: string, content: Buffer]>;
  readonly readme?: string;
  readonly tags?: readonly string[];
  readonly annotations?: Readonly<Record<string, unknown>>;
  /** By overlay name, the value for each relpath. */
  readonly overlays?: Readonly<Record<string, (relpath: string) => unknown>>;
  /** The registration key's body, verbatim. Default: empty. */
  readonly prefix?: string;
  readonly creator?: string;
  /** Seconds since the epoch. */
  readonly createdAt: number;
  /** Default: frozen a minute after it was created; null leaves it a proto dataset. */
  readonly frozenAt?: number | null;
}

export interface DatasetObject {
  readonly key: string;
  readonly body: Buffer;
  readonly metadata?: Readonly<Record<string, string>>;
}

const DTOOLCORE_VERSION = '3.19.0';
const BROKER_VERSION = '0.14.1';

/** All objects of a dataset as dtool-s3 writes them, the registration key first and the commit last. */
export function* datasetObjects(spec: DatasetSpec): Generator<DatasetObject, void, undefined> {
  const { uuid, name, createdAt, prefix = '', creator = 'demo' } = spec;
  const frozenAt = spec.frozenAt === undefined ? createdAt + 60 : spec.frozenAt;
  const root = `${prefix}${uuid}/`;
  const object = (path: string, body: string, metadata?: Record<string, string>): DatasetObject => ({
    key: root + path,
    body: Buffer.from(body),
    ...(metadata ? { metadata } : {}),
  });

  yield { key: registrationKey(uuid as DatasetUuid), body: Buffer.from(prefix) };
  yield object(STRUCTURE, json(structure(uuid)));
  yield object(DTOOL_README, 'README\n======\nThis is a dtool dataset in S3 accessible storage.\n');
  yield object(README, spec.readme ?? '');

  const manifest: Record<string, unknown> = {};
  const relpaths = new Map<string, string>();
  for (const [relpath, body] of spec.items) {
    const identifier = identifierOf(relpath);
    const hash = createHash('md5').update(body).digest('hex');
    const metadata = { handle: Buffer.from(relpath).toString('base64'), checksum: hash };
    yield { key: `${root}data/${identifier}`, body, metadata };
    relpaths.set(identifier, relpath);
    manifest[identifier] = { hash, relpath, size_in_bytes: body.length, utc_timestamp: createdAt };
  }
  for (const tag of spec.tags ?? []) yield object(`tags/${tag}`, '');
  for (const [key, value] of Object.entries(spec.annotations ?? {}))
    yield object(`annotations/${key}.json`, json(value));
  if (frozenAt !== null) {
    const content = {
      dtoolcore_version: DTOOLCORE_VERSION,
      hash_function: 'md5sum_hexdigest',
      items: manifest,
    };
    yield object(MANIFEST, json(content));
    for (const [overlay, valueOf] of Object.entries(spec.overlays ?? {})) {
      const values = Object.fromEntries(
        Array.from(relpaths, ([identifier, relpath]) => [identifier, valueOf(relpath)]),
      );
      yield object(`overlays/${overlay}.json`, json(values));
    }
  }

  const admin = {
    uuid,
    dtoolcore_version: DTOOLCORE_VERSION,
    name,
    type: frozenAt === null ? 'protodataset' : 'dataset',
    creator_username: creator,
    created_at: createdAt,
    ...(frozenAt === null ? {} : { frozen_at: frozenAt }),
  };
  const headers = Object.fromEntries(Object.entries(admin).map(([key, value]) => [key, String(value)]));
  yield object(ADMIN_METADATA, JSON.stringify(admin), headers);
}

function json(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

/** Of dtool_s3.storagebroker: where a dataset's parts are, relative to its uuid. */
function structure(uuid: string): Readonly<Record<string, string>> {
  return {
    admin_metadata_key_suffix: 'dtool',
    annotations_key_infix: 'annotations',
    data_key_infix: 'data',
    dataset_readme_key_suffix: 'README.yml',
    dataset_registration_key: `dtool-${uuid}`,
    dtool_readme_key_suffix: 'README.txt',
    fragment_key_infix: 'fragments',
    http_manifest_key: 'http_manifest.json',
    manifest_key_suffix: 'manifest.json',
    overlays_key_infix: 'overlays',
    storage_broker_version: BROKER_VERSION,
    structure_key_suffix: 'structure.json',
    tags_key_infix: 'tags',
  };
}
