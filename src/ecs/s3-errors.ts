import { FsError, messageOf, UserError } from '../errors.ts';
import { StoreError, type StoreErrorReason } from './object-store.ts';
import { retryAfterMsOf, S3Refusal } from './s3-answer.ts';

/**
 * The codes of error answers, as in "List of error codes" of the Amazon S3 API reference, with those that Ceph and
 * ECS add. What is not here is told by the status.
 */
const REASON_OF_CODE: ReadonlyMap<string, StoreErrorReason> = new Map([
  ['NoSuchKey', 'no-such-key'],
  ['NoSuchVersion', 'no-such-key'],
  ['NoSuchBucket', 'no-such-bucket'],
  ['NoSuchUpload', 'no-such-upload'],
  ['AccessDenied', 'access-denied'],
  ['AllAccessDisabled', 'access-denied'],
  ['AccountProblem', 'access-denied'],
  ['UserSuspended', 'access-denied'],
  ['QuotaExceeded', 'access-denied'],
  ['InvalidAccessKeyId', 'unknown-access-key'],
  ['SignatureDoesNotMatch', 'wrong-secret-key'],
  ['ExpiredToken', 'expired-credentials'],
  ['ExpiredTokenException', 'expired-credentials'],
  ['TokenExpired', 'expired-credentials'],
  ['TokenRefreshRequired', 'expired-credentials'],
  ['InvalidToken', 'expired-credentials'],
  ['RequestTimeTooSkewed', 'clock-skew'],
  ['RequestInTheFuture', 'clock-skew'],
  ['RequestExpired', 'clock-skew'],
  ['PreconditionFailed', 'precondition-failed'],
  ['BadDigest', 'bad-digest'],
  ['XAmzContentSHA256Mismatch', 'bad-digest'],
  ['IncompleteBody', 'bad-digest'],
  ['InvalidRange', 'short'],
  ['EntityTooLarge', 'too-large'],
  ['RequestTimeout', 'timeout'],
  ['SlowDown', 'throttled'],
  ['ServiceUnavailable', 'throttled'],
  ['Throttling', 'throttled'],
  ['ThrottlingException', 'throttled'],
  ['TooManyRequests', 'throttled'],
  ['RequestLimitExceeded', 'throttled'],
  ['BandwidthLimitExceeded', 'throttled'],
  // Two puts to one key at once: this one was refused, and may be repeated.
  ['ConditionalRequestConflict', 'throttled'],
  ['OperationAborted', 'throttled'],
  ['InternalError', 'server-error'],
]);

/** For answers whose body says nothing we know: those to HEAD have none, and a proxy's are HTML. */
const REASON_OF_STATUS: ReadonlyMap<number, StoreErrorReason> = new Map([
  [401, 'access-denied'],
  [403, 'access-denied'],
  [404, 'no-such-key'],
  [408, 'timeout'],
  [412, 'precondition-failed'],
  [413, 'too-large'],
  [416, 'short'],
  [429, 'throttled'],
  [501, 'bad-request'],
  [503, 'throttled'],
]);

/** What Node reports of a connection that could not be made, or broke. */
const NETWORK_CODES: ReadonlySet<string> = new Set([
  'EADDRNOTAVAIL',
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'EMFILE',
  'ENETDOWN',
  'ENETUNREACH',
  'ENFILE',
  'ENOTFOUND',
  'EPIPE',
]);

/** Node's and OpenSSL's codes for certificates that do not verify and handshakes that fail; the first that fits counts. */
const TLS_CODES: readonly (readonly [RegExp, StoreErrorReason])[] = [
  [/^(ERR_TLS_CERT_ALTNAME_|HOSTNAME_MISMATCH$)/, 'certificate-of-another-host'],
  [/^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/, 'certificate-out-of-date'],
  [
    /^(CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_(CA|PURPOSE)$|PATH_LENGTH_EXCEEDED$)/,
    'untrusted-certificate',
  ],
  [/^(ERR_TLS_|ERR_SSL_|EPROTO$)/, 'tls'],
];

/** A server's message is quoted up to this many characters: it may be anything. */
const DETAIL_MAX_CHARACTERS = 300;

/** The parts of what Node throws that mean something; each may be missing. */
interface Thrown {
  readonly name?: string;
  readonly code?: unknown;
  readonly errors?: unknown;
}

/**
 * Turns what a request ended with into the error that the port promises. Errors of ours, which come from the caller's
 * credentials or from reading a body, pass as they are.
 *
 * The refusal is not kept as the cause: it may quote the signature and the string that was signed, and what is worth
 * telling is in the message.
 *
 * @param now milliseconds since the epoch, for a refusal that says until when to wait
 */
export function toStoreError(
  error: unknown,
  where: { readonly bucket: string; readonly key: string },
  now = Date.now(),
): Error {
  if (error instanceof FsError || error instanceof UserError) return error;
  if (error instanceof S3Refusal) {
    return new StoreError(reasonOfRefusal(error), where, detailOfRefusal(error), {
      retryAfterMs: retryAfterMsOf(error.head, now),
    });
  }
  const thrown: Thrown = error instanceof Error ? error : {};
  return new StoreError(reasonOf(thrown), where, detailOf(error, thrown));
}

function reasonOfRefusal({ status, code }: S3Refusal): StoreErrorReason {
  const known = REASON_OF_CODE.get(code);
  if (known !== undefined) return known;
  // S3 sends nobody to another place but with a code; pages to log in at do.
  if (status < 300 || (status < 400 && code === '')) return 'bad-response';
  return REASON_OF_STATUS.get(status) ?? (status >= 500 ? 'server-error' : 'bad-request');
}

function detailOfRefusal({ status, code, message }: S3Refusal): string {
  const detail = joined([...(message.includes(code) ? [] : [code]), firstLineOf(message)]);
  return detail === '' ? `the store answered with status ${status}` : `${detail} (status ${status})`;
}

function reasonOf({ code, name = '' }: Thrown): StoreErrorReason {
  if (typeof code === 'string') {
    if (NETWORK_CODES.has(code)) return 'unreachable';
    if (code === 'ETIMEDOUT') return 'timeout';
    const tls = TLS_CODES.find(([pattern]) => pattern.test(code));
    if (tls) return tls[1];
    if (code.startsWith('HPE_')) return 'bad-response';
  }
  if (name === 'TimeoutError') return 'timeout';
  if (name === 'HttpSyntaxError') return 'bad-response';
  // Nothing was sent: no request could be made of what was given.
  return 'bad-request';
}

function detailOf(error: unknown, thrown: Thrown): string {
  const message = firstLineOf(messageOf(error));
  const names = [thrown.code, thrown.name]
    .filter((name) => typeof name === 'string' && !['', 'Error', 'TimeoutError'].includes(name))
    .slice(0, 1);
  return joined([...names.filter((name) => !message.includes(String(name))), message, ...attemptsOf(thrown)]);
}

function firstLineOf(text: string): string {
  return text.split('\n')[0] ?? '';
}

function joined(parts: readonly unknown[]): string {
  const said = parts.filter((part) => part !== '').join(': ');
  return said.length > DETAIL_MAX_CHARACTERS ? `${said.slice(0, DETAIL_MAX_CHARACTERS)}…` : said;
}

/** A host name with several addresses fails with an AggregateError that has no message of its own. */
function attemptsOf({ errors }: Thrown): readonly string[] {
  return Array.isArray(errors) ? [errors.map(messageOf).join(', ')] : [];
}
