import { expect, test } from 'vitest';
import { identifierOf, isItemIdentifier } from '../../../src/ecs/dtool/identifier.ts';
import {
  datasetKeyPrefix,
  isDatasetUuid,
  itemKey,
  registrationKey,
  uuidOfRegistrationKey,
} from '../../../src/ecs/dtool/keys.ts';

const UUID = '2900c708-d308-4184-af43-19a74c2ed537';

test.each([UUID, UUID.toUpperCase(), '00000000-0000-0000-0000-000000000000'])('%s is a uuid', (uuid) => {
  expect(uuidOfRegistrationKey(`dtool-${uuid}`)).toBe(uuid);
});

test.each([
  '',
  'dtool',
  'dtool-',
  'dtool-x',
  `dtool${UUID}`,
  `dtool_${UUID}`,
  `Dtool-${UUID}`,
  `dtool-${UUID}\n`,
  `dtool-${UUID}/`,
  `dtool- ${UUID}`,
  `dtool-${UUID}.bak`,
  `dtool-${UUID.replaceAll('-', '')}`,
  `dtool-${UUID.replace('d', 'g')}`,
])('%j registers nothing', (key) => {
  expect(uuidOfRegistrationKey(key)).toBeUndefined();
});

test('keys are plain concatenation', () => {
  if (!isDatasetUuid(UUID)) throw new Error('no uuid');
  expect(registrationKey(UUID)).toBe(`dtool-${UUID}`);
  expect(datasetKeyPrefix('', UUID)).toBe(`${UUID}/`);
  expect(datasetKeyPrefix('u/olssont/', UUID)).toBe(`u/olssont/${UUID}/`);
  expect(datasetKeyPrefix('u/olssont', UUID)).toBe(`u/olssont${UUID}/`);
  expect(itemKey(datasetKeyPrefix('p/', UUID), identifierOf('hello.txt'))).toBe(
    `p/${UUID}/data/3857b672471862eab426eba0622e44bd2cedbd5d`,
  );
});

test('identifiers are the SHA-1 of the UTF-8', () => {
  expect(identifierOf('hello.txt')).toBe('3857b672471862eab426eba0622e44bd2cedbd5d');
  expect(identifierOf('')).toBe('da39a3ee5e6b4b0d3255bfef95601890afd80709');
  // hashlib.sha1('emoji/😀.bin'.encode()).hexdigest() in Python
  expect(identifierOf('emoji/😀.bin')).toBe('e93b151337b0598dcc83d5f3005ea52bcf8014d9');
  expect(isItemIdentifier(identifierOf('x'))).toBe(true);
});

test.each([
  '',
  'data',
  'G'.repeat(40),
  'A'.repeat(40),
  'a'.repeat(39),
  'a'.repeat(41),
  `${'a'.repeat(40)}\n`,
])('%j is no identifier', (text) => {
  expect(isItemIdentifier(text)).toBe(false);
});

test.each(['\ud800', 'a\udc00b', '\udc00\ud800'])(
  'half a surrogate pair has no identifier: %j',
  (relpath) => {
    expect(() => identifierOf(relpath)).toThrow(expect.objectContaining({ code: 'EILSEQ' }));
  },
);
