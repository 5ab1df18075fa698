import { describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { StoreError, type StoreErrorReason } from '../../src/ecs/object-store.ts';
import { headOf, S3Refusal } from '../../src/ecs/s3-answer.ts';
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

  const refusal = (status: number, code = '', message = '', more = ''): S3Refusal =>
    new S3Refusal(
      headOf(status, []),
      `<Error><Code>${code}</Code><Message>${message}</Message>${more}</Error>`,
    );

  test('no more of an answer than fits a line', () => {
    const error = toStoreError(refusal(400, 'Custom', 'x'.repeat(10_000)), WHERE);
    expect(error.message.length).toBeLessThan(400);
  });

  test('a bare status', () => {
    const message = 'bucket/key: the store answered with status 403';
    expect(toStoreError(refusal(403), WHERE).message).toBe(message);
    expect(toStoreError(new S3Refusal(headOf(403, []), ''), WHERE).message).toBe(message);
  });

  test('an error in an answer that began as if all went well', () => {
    expect(toStoreError(refusal(200, 'InternalError'), WHERE)).toHaveProperty('reason', 'server-error');
    expect(toStoreError(refusal(200, 'Unheard'), WHERE)).toHaveProperty('reason', 'bad-response');
  });

  test('what was signed is not in the error', () => {
    const signed = '<StringToSign>AWS4-HMAC-SHA256 secret</StringToSign>';
    const mapped = toStoreError(refusal(403, 'SignatureDoesNotMatch', 'Wrong.', signed), WHERE);
    expect(mapped.message).toBe('bucket/key: SignatureDoesNotMatch: Wrong. (status 403)');
    expect(JSON.stringify(mapped) + String(mapped.cause)).not.toContain('AWS4');
  });
});
