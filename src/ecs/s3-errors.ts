import { FsError, messageOf, UserError } from '../errors.ts';
import { StoreError, type StoreErrorReason } from './object-store.ts';

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

/** The parts of what the SDK and Node throw that mean something; each may be missing. */
interface Thrown {
  readonly name?: string;
  readonly code?: unknown;
  readonly Code?: unknown;
  readonly errors?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/**
 * Turns what a request ended with, be it the SDK's or our own connection's, into the error that the port
 * promises. Errors of ours, which come from the caller's credentials or from reading a body, pass as they are.
 *
 * The SDK's error is not kept as the cause: it holds the signature and the string that was signed, and what is
 * worth telling is in the message.
 */
export function toStoreError(
  error: unknown,
  where: { readonly bucket: string; readonly key: string },
): Error {
  if (error instanceof FsError || error instanceof UserError) return error;
  const thrown: Thrown = error instanceof Error ? error : {};
  const status = thrown.$metadata?.httpStatusCode;
  return new StoreError(reasonOf(thrown, status), where, detailOf(error, thrown, status));
}

function reasonOf(thrown: Thrown, status: number | undefined): StoreErrorReason {
  // The SDK renames ECONNRESET and EPIPE to TimeoutError, so the code comes first.
  const { code, name = '' } = thrown;
  if (typeof code === 'string') {
    if (NETWORK_CODES.has(code)) return 'unreachable';
    if (code === 'ETIMEDOUT') return 'timeout';
    const tls = TLS_CODES.find(([pattern]) => pattern.test(code));
    if (tls) return tls[1];
    if (code.startsWith('HPE_')) return 'bad-response';
  }
  if (name === 'TimeoutError') return 'timeout';
  if (name === 'HttpSyntaxError') return 'bad-response';
  const known = REASON_OF_CODE.get(typeof thrown.Code === 'string' ? thrown.Code : name);
  if (known !== undefined) return known;
  // Nothing was sent: the SDK could not make a request of what it was given.
  if (status === undefined) return 'bad-request';
  if (status < 300) return 'bad-response';
  return REASON_OF_STATUS.get(status) ?? (status >= 500 ? 'server-error' : 'bad-request');
}

function detailOf(error: unknown, thrown: Thrown, status: number | undefined): string {
  const [firstLine = ''] = messageOf(error).split('\n');
  const message = firstLine === 'UnknownError' ? '' : firstLine.replace(/^@[\w/-]+ (- )?/, '');
  const names = [thrown.Code, thrown.code, thrown.name]
    .filter((name) => typeof name === 'string' && !['', 'Error', 'Unknown', 'TimeoutError'].includes(name))
    .slice(0, 1);
  const parts = [...names.filter((name) => !message.includes(String(name))), message, ...attemptsOf(thrown)];
  const said = parts.filter((part) => part !== '').join(': ');
  const detail = said.length > DETAIL_MAX_CHARACTERS ? `${said.slice(0, DETAIL_MAX_CHARACTERS)}…` : said;
  if (status === undefined) return detail;
  return detail === '' ? `the store answered with status ${status}` : `${detail} (status ${status})`;
}

/** A host name with several addresses fails with an AggregateError that has no message of its own. */
function attemptsOf({ errors }: Thrown): readonly string[] {
  return Array.isArray(errors) ? [errors.map(messageOf).join(', ')] : [];
}
