/** `dtoolcore.utils.name_is_valid`, the same for datasets, overlays, annotations and tags. */
const NAME = /^[0-9a-zA-Z\-_.]{1,80}$/;

/** Why a dataset or a tag can't have a name, as the end of a sentence; undefined when it can. */
export function nameFlaw(name: string): string | undefined {
  return NAME.test(name) ? undefined : 'is no name for dtool: 1 to 80 of A-Z, a-z, 0-9, "-", "_" and "."';
}

/** The same for overlays and annotations: there a dot breaks the listing of the Python client. */
export function dotlessNameFlaw(name: string): string | undefined {
  return nameFlaw(name) ?? (name.includes('.') ? 'has a dot, which dtool does not list' : undefined);
}
