import { describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { StoreError, type StoreErrorReason } from '../../src/ecs/object-store.ts';
import { toStoreError } from '../../src/ecs/s3-errors.ts';

const WHERE = { bucket: 'bucket', key: 'key' };

function thrown(message: string, properties: object = {}): Error {
  return Object.assign(new Error(message), properties);
}

describe('reasons', () => {
  test.each<[StoreErrorReason, readonly string[]]>([
    [
      'unreachable',
      ['ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH', 'EPIPE'],
    ],
    ['timeout', ['ETIMEDOUT']],
    [
      'untrusted-certificate',
      [
        'DEPTH_ZERO_SELF_SIGNED_CERT',
        'SELF_SIGNED_CERT_IN_CHAIN',
        'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
        'CERT_REVOKED',
      ],
    ],
    ['certificate-of-another-host', ['ERR_TLS_CERT_ALTNAME_INVALID', 'HOSTNAME_MISMATCH']],
    ['certificate-out-of-date', ['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']],
    ['tls', ['ERR_SSL_WRONG_VERSION_NUMBER', 'EPROTO']],
    ['bad-response', ['HPE_INVALID_CONSTANT', 'HPE_HEADER_OVERFLOW']],
  ])('%s of the code of Node', (reason, codes) => {
    for (const code of codes) {
      // The SDK renames some of these to TimeoutError.
      for (const name of ['Error', 'TimeoutError']) {
        expect(toStoreError(thrown('message', { code, name }), WHERE)).toHaveProperty('reason', reason);
      }
    }
  });

  test('silence', () => {
    expect(toStoreError(thrown('silence', { name: 'TimeoutError' }), WHERE)).toHaveProperty(
      'reason',
      'timeout',
    );
  });

  test('an answer that the SDK can not read', () => {
    const error = thrown('@aws-sdk XML parse error: unexpected content.\n  Deserialization error: …', {
      $metadata: { httpStatusCode: 200 },
    });
    expect(toStoreError(error, WHERE)).toMatchObject({
      reason: 'bad-response',
      message: 'bucket/key: XML parse error: unexpected content. (status 200)',
    });
  });

  test.each(['no error object', undefined, new URIError('URI malformed')])(
    'nothing was sent: %s',
    (error) => {
      expect(toStoreError(error, WHERE)).toHaveProperty('reason', 'bad-request');
    },
  );

  test('errors of ours pass as they are', () => {
    for (const error of [new UserError('no key'), new StoreError('short', WHERE, 'short')]) {
      expect(toStoreError(error, WHERE)).toBe(error);
    }
  });
});

describe('messages', () => {
  test('every address of a host that refused', () => {
    const attempts = ['::1', '127.0.0.1'].map((address) => new Error(`connect ECONNREFUSED ${address}:9`));
    const error = Object.assign(new AggregateError(attempts), { code: 'ECONNREFUSED' });
    expect(toStoreError(error, WHERE).message).toBe(
      'bucket/key: ECONNREFUSED: connect ECONNREFUSED ::1:9, connect ECONNREFUSED 127.0.0.1:9',
    );
  });

  test('no more of an answer than fits a line', () => {
    const error = thrown('x'.repeat(10_000), { name: 'Custom', $metadata: { httpStatusCode: 400 } });
    expect(toStoreError(error, WHERE).message.length).toBeLessThan(400);
  });

  test('a bare status', () => {
    const error = thrown('UnknownError', { name: 'Unknown', $metadata: { httpStatusCode: 403 } });
    expect(toStoreError(error, WHERE).message).toBe('bucket/key: the store answered with status 403');
  });

  test('what was signed is not in the error', () => {
    const error = thrown('Wrong.', {
      name: 'SignatureDoesNotMatch',
      Code: 'SignatureDoesNotMatch',
      StringToSign: 'AWS4-HMAC-SHA256 secret',
      $metadata: { httpStatusCode: 403 },
    });
    const mapped = toStoreError(error, WHERE);
    expect(mapped.message).toBe('bucket/key: SignatureDoesNotMatch: Wrong. (status 403)');
    expect(JSON.stringify(mapped) + String(mapped.cause)).not.toContain('AWS4');
  });
});
