import { readFile, stat } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { join, resolve } from 'node:path';
import { hasErrorCode, messageOf, UserError } from './errors.ts';
import { jsonErrorPosition } from './json-position.ts';
import { Secret } from './secret.ts';
import { homeDirectory } from './state-directory.ts';

/** Where settings come from. */
export interface ConfigSources {
  /** Environment variables; looked up when asked for, so that a live `process.env` may be given. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The user's home: dtool's file is {@link FILE} in it. Undefined: the user has none, and no file. */
  readonly home: string | undefined;
}

/** How the store knows a user. */
export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
}

/** How to reach a bucket, and where our datasets go in it. Frozen. */
export interface BucketConfig extends Credentials {
  readonly bucket: string;
  /** http or https URL without credentials, query, fragment, and slash at the end. */
  readonly endpoint: string;
  /** As configured, empty when it is not: what dtool writes into registration keys. */
  readonly prefix: string;
  /** What we write into them: the prefix, with a slash at its end unless it is empty. */
  readonly writePrefix: string;
}

const FILE = join('.config', 'dtool', 'dtool.json');
const ENDPOINT = 'DTOOL_ECS_ENDPOINT_';
const ACCESS_KEY_ID = 'DTOOL_ECS_ACCESS_KEY_ID_';
/** What the template in the README of dtool-ecs says instead. */
const ACCESS_KEY_ID_ALIAS = 'DTOOL_ECS_ACCESS_KEY_';
const SECRET_ACCESS_KEY = 'DTOOL_ECS_SECRET_ACCESS_KEY_';
const DATASET_PREFIX = 'DTOOL_ECS_DATASET_PREFIX_';

/** S3 keys have at most 1,024 bytes; after the prefix come a uuid, `/data/` and an identifier. */
const PREFIX_MAX_BYTES = 1_024 - 36 - '/data/'.length - 40;

/**
 * dtool's configuration, found as `dtoolcore.utils.get_config_value` does: environment, then file, then default. A
 * variable that is set but empty hides the file's; an empty value counts as missing where one is needed. An object keeps
 * what the file said when it was loaded.
 */
export class Config {
  /** Things that the user should know though they stop nothing, one sentence each. */
  readonly warnings: readonly string[];
  /** Path of dtool's configuration file; it need not exist. */
  readonly file: string;
  readonly #sources: ConfigSources;
  /** Undefined when there is no file. */
  readonly #values: ReadonlyMap<string, unknown> | undefined;

  #reloading: Promise<Config> | undefined;

  private constructor(sources: ConfigSources, path: string, found: ConfigFile | undefined) {
    this.#sources = sources;
    this.file = path;
    this.#values = found?.values;
    const exposed =
      found?.readableByAll === true &&
      [...found.values.keys()].some((key) => key.startsWith(SECRET_ACCESS_KEY));
    this.warnings = exposed ? [`Everybody can read the secret keys in ${this.file}: chmod 600 it.`] : [];
    Object.freeze(this);
  }

  /**
   * Reads the configuration.
   *
   * @param sources default: this process's environment and its user's home
   * @throws UserError when the file is there but can't be read or is no JSON object
   */
  static async load(sources: ConfigSources = { env: process.env, home: homeDirectory() }): Promise<Config> {
    const { home } = sources;
    if (home === undefined) return new Config(sources, join('~', FILE), undefined);
    const file = join(home, FILE);
    return new Config(sources, file, await readConfigFile(file));
  }

  /**
   * The configuration as its sources have it now. All that ask at the same time share one look: a home that hangs holds
   * one of the process's few threads for files, and no more.
   *
   * @throws UserError as {@link load} does
   */
  async reload(): Promise<Config> {
    this.#reloading ??= Config.load(this.#sources).finally(() => (this.#reloading = undefined));
    return this.#reloading;
  }

  /** dtool's cache directory as an absolute path where one is configured. */
  get cacheDirectory(): string | undefined {
    const path = this.#find('DTOOL_CACHE_DIRECTORY');
    return path ? resolve(path) : undefined;
  }

  /** Undefined when missing or empty, like the next two. */
  get userFullName(): string | undefined {
    return this.#find('DTOOL_USER_FULL_NAME') || undefined;
  }

  get userEmail(): string | undefined {
    return this.#find('DTOOL_USER_EMAIL') || undefined;
  }

  /** Path of the text that new READMEs start with, as configured. */
  get readmeTemplatePath(): string | undefined {
    return this.#find('DTOOL_README_TEMPLATE_FPATH') || undefined;
  }

  /** The buckets that there is an endpoint for, sorted; not necessarily with the rest that they need. */
  configuredBuckets(): readonly string[] {
    return [...new Set([...Object.keys(this.#sources.env), ...(this.#values?.keys() ?? [])])]
      .filter((key) => key.startsWith(ENDPOINT) && key !== ENDPOINT && this.#find(key))
      .map((key) => key.slice(ENDPOINT.length))
      .toSorted();
  }

  /**
   * Everything that is set for a bucket. Its name is part of the variables' names as it is, dots and hyphens
   * included.
   *
   * @throws UserError that names every key that is missing and where it was looked for, or the one that is wrong
   */
  bucketConfig(bucket: string): BucketConfig {
    checkBucketName(bucket);
    const endpoint = this.#find(ENDPOINT + bucket);
    const accessKeyId = this.#find(ACCESS_KEY_ID + bucket) || this.#find(ACCESS_KEY_ID_ALIAS + bucket);
    const secretAccessKey = this.#find(SECRET_ACCESS_KEY + bucket);
    const prefix = this.#find(DATASET_PREFIX + bucket) ?? '';
    if (!endpoint || !accessKeyId || !secretAccessKey) {
      throw this.#missing(bucket, [
        ...(endpoint ? [] : [ENDPOINT + bucket]),
        ...(accessKeyId ? [] : [ACCESS_KEY_ID + bucket]),
        ...(secretAccessKey ? [] : [SECRET_ACCESS_KEY + bucket]),
      ]);
    }
    checkCredential(ACCESS_KEY_ID + bucket, accessKeyId);
    checkCredential(SECRET_ACCESS_KEY + bucket, secretAccessKey);
    checkPrefix(DATASET_PREFIX + bucket, prefix);
    return Object.freeze({
      bucket,
      endpoint: checkedEndpoint(ENDPOINT + bucket, endpoint),
      accessKeyId,
      secretAccessKey: new Secret(secretAccessKey),
      prefix,
      writePrefix: prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`,
    });
  }

  /** The value in force; null in the file stands for no value, as it does in dtool. */
  #find(key: string): string | undefined {
    const value = this.#sources.env[key] ?? this.#values?.get(key) ?? undefined;
    if (value === undefined || typeof value === 'string') return value;
    throw new UserError(`${key} in ${this.file} is no string.`, 'Put its value in double quotes.');
  }

  #missing(bucket: string, keys: readonly string[]): UserError {
    const emptied = keys.filter((key) => this.#sources.env[key] === '');
    const looked = [
      emptied.length === 0 ? 'the environment' : `the environment (${emptied.join(', ')} set but empty)`,
      this.#values ? this.file : `${this.file} (no such file)`,
    ];
    const known = this.configuredBuckets();
    return new UserError(
      `Bucket ${bucket}: ${keys.join(', ')} ${keys.length === 1 ? 'is' : 'are'} missing; ` +
        `looked in ${looked.join(' and ')}.`,
      known.length === 0 || known.includes(bucket)
        ? `Set ${keys.length === 1 ? 'it' : 'them'} in one of the two.`
        : `Set them in one of the two. Buckets with an endpoint: ${known.join(', ')}.`,
    );
  }
}

/** What is wrong with the way to a bucket that is not encrypted; undefined for https, and within this computer. */
export function plainHttpWarning({ bucket, endpoint }: BucketConfig): string | undefined {
  const { protocol, hostname } = new URL(endpoint);
  const isLocal = /^(127(\.\d{1,3}){3}|\[::1\]|localhost|.+\.localhost)$/.test(hostname);
  if (protocol === 'https:' || isLocal) return undefined;
  return `Everybody on the way to ${endpoint} can read and alter what bucket ${bucket} has: it is plain http`;
}

interface ConfigFile {
  readonly values: ReadonlyMap<string, unknown>;
  readonly readableByAll: boolean;
}

async function readConfigFile(path: string): Promise<ConfigFile | undefined> {
  let text: string;
  let mode: number;
  try {
    const found = await stat(path).catch((error: unknown) => {
      // A home that this user may not enter, as root's in a container: dtool finds no file there either.
      if (hasErrorCode(error, 'EACCES')) return undefined;
      throw error;
    });
    if (!found) return undefined;
    if (!found.isFile()) throw new Error('it is no regular file');
    mode = found.mode;
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw new UserError(
      `${path} can't be read: ${messageOf(cause)}.`,
      'Give it to your user, or remove it.',
      {
        cause,
      },
    );
  }
  // The SyntaxError is not kept as cause: its message quotes the text, and that may be a secret.
  const position = jsonErrorPosition(text);
  if (position) {
    throw new UserError(
      `${path} is not JSON: line ${position.line}, column ${position.column}.`,
      'Correct it there; a missing or surplus comma or quote is the usual reason.',
    );
  }
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new UserError(`${path} is not a JSON object.`, 'It has to have the form {"DTOOL_…": "…", …}.');
  }
  return { values: new Map(Object.entries(parsed)), readableByAll: (mode & 0o004) !== 0 };
}

function isMissing(error: unknown): boolean {
  return hasErrorCode(error, 'ENOENT') || hasErrorCode(error, 'ENOTDIR');
}

/** ECS Administration Guide, "S3 bucket and object naming in ECS"; all that Amazon S3 allows is among it. */
function checkBucketName(bucket: string): void {
  const valid =
    /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}$/.test(bucket) &&
    !bucket.includes('..') &&
    !bucket.endsWith('.') &&
    !isIPv4(bucket);
  if (valid) return;
  throw new UserError(
    `${JSON.stringify(bucket)} is no name of a bucket.`,
    'Names have 1 to 255 letters, digits, hyphens, underscores and single dots, no dot first or last, and are no IP address.',
  );
}

function checkCredential(key: string, value: string): void {
  if (/^[\x21-\x7e]+$/.test(value)) return;
  throw new UserError(
    `${key} has a space, a line break or another character that no key has.`,
    'Copy it again, without anything around it.',
  );
}

function checkPrefix(key: string, prefix: string): void {
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(prefix)) {
    throw new UserError(
      `${key} has a line break or another control character.`,
      'All keys of a dataset would have it; remove it.',
    );
  }
  if (Buffer.byteLength(prefix) > PREFIX_MAX_BYTES) {
    throw new UserError(
      `${key} is longer than ${PREFIX_MAX_BYTES} bytes.`,
      'Keys of items would be too long for S3.',
    );
  }
}

/** The value stays out of messages: it may have a password in it. */
function checkedEndpoint(key: string, value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const wrong =
    url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')
      ? 'is no http or https URL'
      : url.username !== '' || url.password !== ''
        ? 'has a user name or password in it'
        : /[?#]/.test(value)
          ? 'has a query or fragment'
          : undefined;
  if (url === undefined || wrong !== undefined) {
    throw new UserError(`${key} ${wrong}.`, 'It should look like https://ecs.example.org:9021.');
  }
  return url.href.replace(/\/+$/, '');
}
