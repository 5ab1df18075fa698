import { z } from 'zod';
import { ADMIN_TEXT_MAX_CHARACTERS } from '../../limits.ts';
import { FormatError, type ObjectAddress } from './format-error.ts';
import { describe, isJsonObject, parseJson } from './json.ts';
import { pythonFloat, pythonString } from './python-json.ts';
import { isTimestamp } from './timestamp.ts';

/** Who made a dataset and when, what it is called and whether it is frozen. Times are seconds since the epoch. */
export interface AdminMetadata {
  /** As written; the registration key's is the one that counts. */
  readonly uuid: string;
  readonly dtoolcoreVersion: string | undefined;
  /** Any string of up to {@link ADMIN_TEXT_MAX_CHARACTERS}: dtool allows `[0-9a-zA-Z-_.]{1,80}`, other writers may not care. */
  readonly name: string;
  readonly type: 'dataset' | 'protodataset';
  readonly creatorUsername: string | undefined;
  /** Undefined in datasets that dtoolcore 3.1 and older made. */
  readonly createdAt: number | undefined;
  /** Undefined in proto datasets, and in some frozen ones. */
  readonly frozenAt: number | undefined;
}

const timestamp = z
  .union([
    z.number(),
    z
      .string()
      .regex(/^\s*[-+]?\d+(\.\d*)?(e[-+]?\d+)?\s*$/i)
      .transform(Number),
  ])
  .refine(isTimestamp);

const shortText = z.string().max(ADMIN_TEXT_MAX_CHARACTERS);

/** Names as dtool writes them, in dtool's order. */
const FIELDS = {
  uuid: shortText,
  dtoolcore_version: shortText.optional(),
  name: shortText,
  type: z.enum(['dataset', 'protodataset']),
  creator_username: shortText.optional(),
  created_at: timestamp.optional(),
  frozen_at: timestamp.optional(),
};
const TEXT = `a string of at most ${ADMIN_TEXT_MAX_CHARACTERS} characters`;
const EXPECTED: Readonly<Record<keyof typeof FIELDS, string>> = {
  uuid: TEXT,
  dtoolcore_version: TEXT,
  name: TEXT,
  type: '"dataset" or "protodataset"',
  creator_username: TEXT,
  created_at: 'seconds since the epoch',
  frozen_at: 'seconds since the epoch',
};
const SCHEMA = z.object(FIELDS);
const FIELD_NAMES = SCHEMA.keyof().options;

/**
 * Reads the admin metadata from the object `dtool`: dtool-s3 writes it as user metadata and as JSON body and reads
 * the user metadata alone. What is missing there is taken from the body; when the six fields that every dataset of
 * today has are there, the body is not even looked at.
 *
 * @param headers user metadata of the object, names in lower case
 * @throws FormatError for fields that are missing or of the wrong kind, or a needed body that is no JSON object
 */
export function parseAdminMetadata(
  headers: Readonly<Record<string, string>>,
  body: Buffer,
  where: ObjectAddress,
): AdminMetadata {
  const fields = new Map<string, unknown>();
  const take = (from: Readonly<Record<string, unknown>>): void => {
    for (const name of FIELD_NAMES) {
      if (!fields.has(name) && Object.hasOwn(from, name)) fields.set(name, from[name]);
    }
  };
  // Ceph's gateway gives `created-at` back for `created_at`.
  take(
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.replaceAll('-', '_'), value])),
  );
  if (FIELD_NAMES.some((name) => name !== 'frozen_at' && !fields.has(name))) {
    const parsed = parseJson(body, where);
    if (!isJsonObject(parsed)) {
      throw new FormatError(where, `the admin metadata is ${describe(parsed)}, not an object`);
    }
    take(parsed);
  }
  const result = SCHEMA.safeParse(Object.fromEntries(fields));
  if (!result.success) {
    const wrong = new Set(result.error.issues.map(({ path }) => path[0]));
    const reasons = FIELD_NAMES.filter((name) => wrong.has(name)).map(
      (name) => `${name} is ${describe(fields.get(name))} where ${EXPECTED[name]} belongs`,
    );
    throw new FormatError(where, `the admin metadata is broken: ${reasons.join(', ')}`);
  }
  const { data } = result;
  return {
    uuid: data.uuid,
    dtoolcoreVersion: data.dtoolcore_version,
    name: data.name,
    type: data.type,
    creatorUsername: data.creator_username,
    createdAt: data.created_at,
    frozenAt: data.frozen_at,
  };
}

/** The fields that a dataset has, each in the form that `form` gives it; those that are undefined are left out. */
function fieldsOf(
  admin: AdminMetadata,
  form: { readonly text: (value: string) => string; readonly time: (value: number) => string },
): readonly (readonly [name: string, value: string])[] {
  const text = (value: string | undefined): string | undefined =>
    value === undefined ? undefined : form.text(value);
  const time = (value: number | undefined): string | undefined =>
    value === undefined ? undefined : form.time(value);
  const rendered: Readonly<Record<keyof typeof FIELDS, string | undefined>> = {
    uuid: text(admin.uuid),
    dtoolcore_version: text(admin.dtoolcoreVersion),
    name: text(admin.name),
    type: text(admin.type),
    creator_username: text(admin.creatorUsername),
    created_at: time(admin.createdAt),
    frozen_at: time(admin.frozenAt),
  };
  return FIELD_NAMES.flatMap((name) => (rendered[name] === undefined ? [] : [[name, rendered[name]]]));
}

/**
 * The text of `.dtool/dtool` as dtool writes it: one line of ASCII JSON in dtool's order of keys, with times that
 * Python reads as float. Fields that are undefined are left out. The body of the object `dtool` is the same.
 */
export function renderAdminMetadata(admin: AdminMetadata): string {
  const members = fieldsOf(admin, { text: pythonString, time: pythonFloat });
  return `{${members.map(([name, value]) => `"${name}": ${value}`).join(', ')}}`;
}

/**
 * The same as user metadata of the object `dtool`, which is what dtool-s3 reads: each field as Python's `str` gives
 * it. User metadata is ASCII, so `name` and `creatorUsername` have to be.
 */
export function adminMetadataHeaders(admin: AdminMetadata): Readonly<Record<string, string>> {
  return Object.fromEntries(fieldsOf(admin, { text: (value) => value, time: pythonFloat }));
}
