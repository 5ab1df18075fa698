/**
 * `.dtool/structure.json` of a dataset in dtool's layout on disk (dtoolcore.storagebroker.DiskStorageBroker, 3.19):
 * where each part is, as path components below the dataset's directory. The mount shows that layout, whatever the
 * `structure.json` in the bucket says.
 */
const DISK_STRUCTURE = {
  admin_metadata_relpath: ['.dtool', 'dtool'],
  annotations_directory: ['.dtool', 'annotations'],
  data_directory: ['data'],
  dataset_readme_relpath: ['README.yml'],
  dtool_directory: ['.dtool'],
  dtool_readme_relpath: ['.dtool', 'README.txt'],
  manifest_relpath: ['.dtool', 'manifest.json'],
  metadata_fragments_directory: ['.dtool', 'tmp_fragments'],
  overlays_directory: ['.dtool', 'overlays'],
  storage_broker_version: '3.19.0',
  structure_metadata_relpath: ['.dtool', 'structure.json'],
  tags_directory: ['.dtool', 'tags'],
} as const;

/** Its text as dtool writes it: keys sorted, indented by 2, no newline at the end. */
export const DISK_STRUCTURE_JSON = JSON.stringify(DISK_STRUCTURE, null, 2);
