import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Config, plainHttpWarning } from '../src/config.ts';
import { UserError } from '../src/errors.ts';

const SECRET = 'TopSecretValue123';
const COMPLETE = {
  DTOOL_ECS_ENDPOINT_b: 'https://ecs.example.org:9021/',
  DTOOL_ECS_ACCESS_KEY_ID_b: 'alice',
  DTOOL_ECS_SECRET_ACCESS_KEY_b: SECRET,
};

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'config-'));
});
afterEach(() => {
  rmSync(home, { recursive: true });
});

const file = (): string => join(home, '.config/dtool/dtool.json');
function writeFile(content: unknown, mode = 0o600): void {
  mkdirSync(join(home, '.config/dtool'), { recursive: true });
  writeFileSync(file(), typeof content === 'string' ? content : JSON.stringify(content));
  chmodSync(file(), mode);
}
const config = async (env: Record<string, string | undefined> = {}): Promise<Config> =>
  Config.load({ env, home });
async function userErrorOf(run: () => Promise<unknown>): Promise<UserError> {
  try {
    await run();
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('precedence', () => {
  test('the environment wins over the file', async () => {
    writeFile({ ...COMPLETE, DTOOL_ECS_ACCESS_KEY_ID_b: 'from-file' });
    expect((await config()).bucketConfig('b').accessKeyId).toBe('from-file');
    expect((await config({ DTOOL_ECS_ACCESS_KEY_ID_b: 'from-env' })).bucketConfig('b').accessKeyId).toBe(
      'from-env',
    );
  });

  test('an empty variable hides the value in the file, as in dtool', async () => {
    writeFile({ ...COMPLETE, DTOOL_ECS_DATASET_PREFIX_b: 'u/alice/' });
    expect((await config({ DTOOL_ECS_DATASET_PREFIX_b: '' })).bucketConfig('b').prefix).toBe('');
    const error = await userErrorOf(async () =>
      (await config({ DTOOL_ECS_ENDPOINT_b: '' })).bucketConfig('b'),
    );
    expect(error.message).toContain('the environment (DTOOL_ECS_ENDPOINT_b set but empty)');
    expect((await config({ DTOOL_ECS_ENDPOINT_b: '' })).configuredBuckets()).toEqual([]);
  });

  test('the key of the README template counts where the other is missing', async () => {
    const { DTOOL_ECS_ACCESS_KEY_ID_b: _, ...rest } = COMPLETE;
    const alias = { ...rest, DTOOL_ECS_ACCESS_KEY_b: 'by-alias' };
    expect((await config(alias)).bucketConfig('b').accessKeyId).toBe('by-alias');
    writeFile({ DTOOL_ECS_ACCESS_KEY_ID_b: 'by-name' });
    expect((await config(alias)).bucketConfig('b').accessKeyId).toBe('by-name');
  });

  test('the other settings', async () => {
    expect((await config()).cacheDirectory).toBeUndefined();
    expect((await config()).userFullName).toBeUndefined();
    writeFile({
      DTOOL_CACHE_DIRECTORY: '/c/file',
      DTOOL_USER_FULL_NAME: 'Ada',
      DTOOL_USER_EMAIL: 'ada@example.org',
      DTOOL_README_TEMPLATE_FPATH: '/t.yml',
    });
    const { cacheDirectory, userFullName, userEmail, readmeTemplatePath } = await config({
      DTOOL_CACHE_DIRECTORY: '/c/env',
    });
    expect([cacheDirectory, userFullName, userEmail, readmeTemplatePath]).toEqual([
      '/c/env',
      'Ada',
      'ada@example.org',
      '/t.yml',
    ]);
  });
});

describe('a bucket', () => {
  test('is validated, completed and frozen', async () => {
    const bucket = (await config(COMPLETE)).bucketConfig('b');
    expect(bucket).toMatchObject({
      bucket: 'b',
      endpoint: 'https://ecs.example.org:9021',
      accessKeyId: 'alice',
      prefix: '',
      writePrefix: '',
    });
    expect(bucket.secretAccessKey.reveal()).toBe(SECRET);
    expect(Object.isFrozen(bucket)).toBe(true);
  });

  test.each([
    ['u/alice', 'u/alice/'],
    ['u/alice/', 'u/alice/'],
    ['/', '/'],
  ])('prefix %j is kept for reading and written as %j', async (prefix, writePrefix) => {
    const bucket = (await config({ ...COMPLETE, DTOOL_ECS_DATASET_PREFIX_b: prefix })).bucketConfig('b');
    expect(bucket).toMatchObject({ prefix, writePrefix });
  });

  test('null in the file is no value', async () => {
    writeFile({ DTOOL_ECS_DATASET_PREFIX_b: null });
    expect((await config(COMPLETE)).bucketConfig('b').prefix).toBe('');
  });

  test.each(['my-bucket', 'my.bucket', 'My_Bucket', '-x', 'a', '1.2.3', 'x'.repeat(255)])(
    'name %s',
    async (name) => {
      const env = Object.fromEntries(
        Object.entries(COMPLETE).map(([key, value]) => [key.replace(/b$/, () => name), value]),
      );
      expect((await config(env)).bucketConfig(name).bucket).toBe(name);
      expect((await config(env)).configuredBuckets()).toEqual([name]);
    },
  );

  test.each(['', '.', '..', 'a/b', '.a', 'a.', 'a..b', 'ü', 'a b', 'a\n', '10.0.0.1', 'x'.repeat(256)])(
    '%j is no name',
    async (name) => {
      expect((await userErrorOf(async () => (await config()).bucketConfig(name))).message).toContain(
        'is no name of a bucket',
      );
    },
  );

  test.each(['http://127.0.0.1:9000', 'https://h', 'https://h/s3', 'http://[::1]:80'])(
    'endpoint %s',
    async (endpoint) => {
      const bucket = (await config({ ...COMPLETE, DTOOL_ECS_ENDPOINT_b: endpoint })).bucketConfig('b');
      expect(bucket.endpoint).toBe(endpoint.replace(':80', ''));
    },
  );

  test.each([
    ['ecs.example.org', 'no http or https URL'],
    ['ecs.example.org:9021', 'no http or https URL'],
    ['ftp://h', 'no http or https URL'],
    [`https://u:${SECRET}@h`, 'user name or password'],
    [`https://${SECRET}@h`, 'user name or password'],
    [`https://h?key=${SECRET}`, 'query'],
    [`https://h/#${SECRET}`, 'fragment'],
  ])('endpoint %s is refused and not shown', async (endpoint, reason) => {
    const error = await userErrorOf(async () =>
      (await config({ ...COMPLETE, DTOOL_ECS_ENDPOINT_b: endpoint })).bucketConfig('b'),
    );
    expect(error.message).toContain('DTOOL_ECS_ENDPOINT_b');
    expect(error.message).toContain(reason);
    expect(inspect(error)).not.toContain(SECRET);
  });

  test.each([
    ['DTOOL_ECS_SECRET_ACCESS_KEY_b', `${SECRET}\n`],
    ['DTOOL_ECS_ACCESS_KEY_ID_b', ' alice'],
    ['DTOOL_ECS_DATASET_PREFIX_b', 'u/alice/\n'],
    ['DTOOL_ECS_DATASET_PREFIX_b', 'x'.repeat(1_000)],
  ])('%s with a value that can only be a mistake: %j', async (key, value) => {
    const error = await userErrorOf(async () =>
      (await config({ ...COMPLETE, [key]: value })).bucketConfig('b'),
    );
    expect(error.message).toContain(key);
    expect(inspect(error)).not.toContain(value.trim());
  });

  test('a value that is no string', async () => {
    writeFile({ ...COMPLETE, DTOOL_ECS_SECRET_ACCESS_KEY_b: 12345678 });
    const error = await userErrorOf(async () => (await config()).bucketConfig('b'));
    expect(error.message).toBe(`DTOOL_ECS_SECRET_ACCESS_KEY_b in ${file()} is no string.`);
  });
});

describe('what is missing', () => {
  test('is named together with where it was looked for', async () => {
    const error = await userErrorOf(async () =>
      (await config({ DTOOL_ECS_ENDPOINT_other: 'https://h' })).bucketConfig('b'),
    );
    expect(error.message).toBe(
      'Bucket b: DTOOL_ECS_ENDPOINT_b, DTOOL_ECS_ACCESS_KEY_ID_b, DTOOL_ECS_SECRET_ACCESS_KEY_b are missing; ' +
        `looked in the environment and ${file()} (no such file).`,
    );
    expect(error.advice).toContain('other');
  });

  test('of a bucket that is there in part', async () => {
    writeFile({ ...COMPLETE, DTOOL_ECS_ACCESS_KEY_ID_b: '' });
    const error = await userErrorOf(async () => (await config()).bucketConfig('b'));
    expect(error.message).toBe(
      `Bucket b: DTOOL_ECS_ACCESS_KEY_ID_b is missing; looked in the environment and ${file()}.`,
    );
    expect(inspect(error)).not.toContain(SECRET);
  });
});

describe('configuredBuckets', () => {
  test('are those with an endpoint, from both places, sorted', async () => {
    writeFile({
      DTOOL_ECS_ENDPOINT_zeta: 'x',
      DTOOL_ECS_ENDPOINT_both: 'x',
      DTOOL_ECS_ACCESS_KEY_ID_none: 'x',
    });
    const env = { 'DTOOL_ECS_ENDPOINT_a.b-c': 'x', DTOOL_ECS_ENDPOINT_both: 'y', DTOOL_ECS_ENDPOINT_: 'z' };
    expect((await config(env)).configuredBuckets()).toEqual(['a.b-c', 'both', 'zeta']);
  });
});

describe('the file', () => {
  test('that is broken is named with the place, and not quoted', async () => {
    writeFile(`{\n  "DTOOL_ECS_SECRET_ACCESS_KEY_b": "${SECRET}",\n  "x": ${SECRET}\n}`);
    const error = await userErrorOf(async () => await config());
    expect(error.message).toBe(`${file()} is not JSON: line 3, column 8.`);
    expect(inspect(error)).not.toContain(SECRET);
  });

  test.each(['[]', '"x"', 'null', '1'])('that is %s is no configuration', async (content) => {
    writeFile(content);
    expect((await userErrorOf(async () => await config())).message).toBe(`${file()} is not a JSON object.`);
  });

  test('that is no file', async () => {
    mkdirSync(file(), { recursive: true });
    expect((await userErrorOf(async () => await config())).message).toContain(
      `${file()} can't be read: it is no regular file`,
    );
  });

  test('that can not be read', async () => {
    mkdirSync(join(home, '.config/dtool'), { recursive: true });
    symlinkSync('dtool.json', file());
    const error = await userErrorOf(async () => await config());
    expect(error.message).toContain(`${file()} can't be read: ELOOP`);
    expect(error.advice).toBeDefined();
  });

  test('with a folder that is a file is as good as none', async () => {
    writeFileSync(join(home, '.config'), '');
    expect((await config(COMPLETE)).bucketConfig('b').bucket).toBe('b');
  });

  test('__proto__ is a key like any other', async () => {
    writeFile('{"__proto__": {"DTOOL_USER_EMAIL": "x"}, "constructor": "y"}');
    expect((await config()).userEmail).toBeUndefined();
    expect((await config()).configuredBuckets()).toEqual([]);
  });

  test('with secrets that everybody may read is worth a warning', async () => {
    writeFile(COMPLETE, 0o644);
    expect((await config()).warnings).toEqual([
      `Everybody can read the secret keys in ${file()}: chmod 600 it.`,
    ]);
    writeFile(COMPLETE, 0o640);
    expect((await config()).warnings).toEqual([]);
    writeFile({ DTOOL_USER_EMAIL: 'x' }, 0o644);
    expect((await config()).warnings).toEqual([]);
  });
});

describe('secrets', () => {
  test('show in no representation of the configuration', async () => {
    writeFile(COMPLETE);
    for (const value of [await config(), await config(COMPLETE), (await config()).bucketConfig('b')]) {
      expect(inspect(value, { depth: null, showHidden: true, getters: true })).not.toContain(SECRET);
      expect(JSON.stringify(value)).not.toContain(SECRET);
      expect(JSON.stringify(Object.entries(value))).not.toContain(SECRET);
    }
    const { secretAccessKey } = (await config()).bucketConfig('b');
    expect(String(secretAccessKey)).toBe('[hidden]');
    expect(JSON.stringify(secretAccessKey)).toBe('"[hidden]"');
    expect(inspect(secretAccessKey)).toBe('[hidden]');
    expect(JSON.stringify(structuredClone(secretAccessKey))).toBe('{}');
  });

  test('are read afresh when asked for, from both places', async () => {
    writeFile(COMPLETE);
    const env: Record<string, string> = {};
    const before = await config(env);
    writeFile({ ...COMPLETE, DTOOL_ECS_SECRET_ACCESS_KEY_b: 'rotated' });
    expect(before.bucketConfig('b').secretAccessKey.reveal()).toBe(SECRET);
    expect((await before.reload()).bucketConfig('b').secretAccessKey.reveal()).toBe('rotated');
    env['DTOOL_ECS_ACCESS_KEY_ID_b'] = 'bob';
    expect((await before.reload()).bucketConfig('b').accessKeyId).toBe('bob');
    writeFile('{');
    await expect(before.reload()).rejects.toThrow(UserError);
  });

  test('are read once for all that ask at the same time', async () => {
    writeFile(COMPLETE);
    const before = await config();
    const [first, second] = await Promise.all([before.reload(), before.reload()]);
    expect(first).toBe(second);
    expect(await before.reload()).not.toBe(first);
  });
});

test('plain http is warned about, unless it stays within this computer', async () => {
  const warningFor = async (endpoint: string): Promise<string | undefined> => {
    const env = { ...COMPLETE, DTOOL_ECS_ENDPOINT_b: endpoint };
    return plainHttpWarning((await Config.load({ env, home: '/nonexistent' })).bucketConfig('b'));
  };
  for (const endpoint of ['http://ecs.example.org', 'http://10.0.0.1:9020', 'http://localhost.example.org'])
    expect(await warningFor(endpoint), endpoint).toContain('plain http');
  for (const endpoint of [
    'https://ecs.example.org',
    'http://localhost:9020',
    'http://127.0.0.9',
    'http://[::1]:1',
  ])
    expect(await warningFor(endpoint), endpoint).toBeUndefined();
});
