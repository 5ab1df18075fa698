import type { DatasetUuid } from './keys.ts';

/**
 * The version of dtool-s3 whose layout we write. Below 0.14.0 relpaths would not be base64, and what is not a version
 * at all breaks dtool-ecs 0.5.0.
 */
export const STORAGE_BROKER_VERSION = '0.14.1';

/** The version of dtoolcore whose formats we write, in the admin metadata and manifests of new datasets. */
export const DTOOLCORE_VERSION = '3.19.0';

/** The text of `structure.json`: where a dataset's parts are (dtool_s3.storagebroker, 0.14.1). */
export function renderStructure(uuid: DatasetUuid): string {
  const structure = {
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
    storage_broker_version: STORAGE_BROKER_VERSION,
    structure_key_suffix: 'structure.json',
    tags_key_infix: 'tags',
  };
  return JSON.stringify(structure, null, 2);
}
