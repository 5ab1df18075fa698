import { expect, test } from 'vitest';
import { adviceFor } from '../../src/ecs/store-advice.ts';

test.each([
  ['unreachable', 'DTOOL_ECS_ENDPOINT_my-bucket'],
  ['unknown-access-key', 'DTOOL_ECS_ACCESS_KEY_ID_my-bucket'],
  ['wrong-secret-key', 'DTOOL_ECS_SECRET_ACCESS_KEY_my-bucket'],
  ['clock-skew', 'NTP'],
] as const)('the advice for %s names %s', (reason, name) => {
  expect(adviceFor(reason, 'my-bucket')).toContain(name);
});

test('no advice where the message says it all', () => {
  expect(adviceFor('no-such-key', 'my-bucket')).toBeUndefined();
});
