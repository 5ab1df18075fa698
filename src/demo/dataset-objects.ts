import { createHash } from 'node:crypto';
import {
  adminMetadataHeaders,
  renderAdminMetadata,
  type AdminMetadata,
} from '../ecs/dtool/admin-metadata.ts';
import { DTOOL_README_TXT } from '../ecs/dtool/dtool-readme.ts';
import { identifierOf } from '../ecs/dtool/identifier.ts';
import { itemMetadata } from '../ecs/dtool/item-metadata.ts';
import {
  ADMIN_METADATA,
  ANNOTATIONS,
  datasetKeyPrefix,
  type DatasetUuid,
  DTOOL_README,
  itemKey,
  MANIFEST,
  OVERLAYS,
  README,
  registrationKey,
  STRUCTURE,
  TAGS,
} from '../ecs/dtool/keys.ts';
import type { ManifestItem } from '../ecs/dtool/item-table.ts';
import { renderManifest } from '../ecs/dtool/manifest.ts';
import { DTOOLCORE_VERSION, renderStructure } from '../ecs/dtool/structure.ts';

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

/** All objects of a dataset as dtool-s3 writes them, the registration key first and the commit last. */
export function* datasetObjects(spec: DatasetSpec): Generator<DatasetObject, void, undefined> {
  const { name, createdAt, prefix = '', creator = 'demo' } = spec;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- tests may ask for datasets whose uuid is none
  const uuid = spec.uuid as DatasetUuid;
  const frozenAt = spec.frozenAt === undefined ? createdAt + 60 : (spec.frozenAt ?? undefined);
  const root = datasetKeyPrefix(prefix, uuid);
  const object = (path: string, body: string): DatasetObject => ({
    key: root + path,
    body: Buffer.from(body),
  });

  yield { key: registrationKey(uuid), body: Buffer.from(prefix) };
  yield object(STRUCTURE, renderStructure(uuid));
  yield object(DTOOL_README, DTOOL_README_TXT);
  yield object(README, spec.readme ?? '');

  const items: ManifestItem[] = [];
  for (const [relpath, body] of spec.items) {
    const identifier = identifierOf(relpath);
    const hash = createHash('md5').update(body).digest('hex');
    yield { key: itemKey(root, identifier), body, metadata: itemMetadata(relpath, hash) };
    items.push({ identifier, relpath, size: body.length, hash, timestamp: createdAt });
  }
  for (const tag of spec.tags ?? []) yield object(TAGS + tag, '');
  for (const [key, value] of Object.entries(spec.annotations ?? {}))
    yield object(`${ANNOTATIONS}${key}.json`, json(value));
  if (frozenAt !== undefined) {
    const sorted = items.toSorted((a, b) => (a.identifier < b.identifier ? -1 : 1));
    yield object(MANIFEST, [...renderManifest(DTOOLCORE_VERSION, sorted)].join(''));
    for (const [overlay, valueOf] of Object.entries(spec.overlays ?? {})) {
      const values = Object.fromEntries(
        items.map(({ identifier, relpath }) => [identifier, valueOf(relpath)]),
      );
      yield object(`${OVERLAYS}${overlay}.json`, json(values));
    }
  }

  const admin: AdminMetadata = {
    uuid,
    dtoolcoreVersion: DTOOLCORE_VERSION,
    name,
    type: frozenAt === undefined ? 'protodataset' : 'dataset',
    creatorUsername: creator,
    createdAt,
    frozenAt,
  };
  yield { ...object(ADMIN_METADATA, renderAdminMetadata(admin)), metadata: adminMetadataHeaders(admin) };
}

function json(value: unknown): string {
  return JSON.stringify(value, null, 2);
}
