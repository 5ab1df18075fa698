import type { StoreErrorReason } from './object-store.ts';

/**
 * What the user can do about a failed request: one sentence, or nothing where only the store's operator can help or
 * the message says it all.
 */
export function adviceFor(reason: StoreErrorReason, bucket: string): string | undefined {
  const endpoint = `DTOOL_ECS_ENDPOINT_${bucket}`;
  const accessKeyId = `DTOOL_ECS_ACCESS_KEY_ID_${bucket}`;
  const secretAccessKey = `DTOOL_ECS_SECRET_ACCESS_KEY_${bucket}`;
  const advice: Readonly<Record<StoreErrorReason, string | undefined>> = {
    'no-such-bucket': `Check the spelling of the bucket, and that ${endpoint} is the store that has it.`,
    'access-denied': `Ask the owner of the bucket for access, or check that ${accessKeyId} is the right user.`,
    'unknown-access-key': `Check ${accessKeyId}, and that ${endpoint} is the store that issued it.`,
    'wrong-secret-key': `Check ${secretAccessKey}: it does not belong to ${accessKeyId}.`,
    'expired-credentials': `Get new credentials and set ${accessKeyId} and ${secretAccessKey} to them.`,
    'clock-skew': 'Set the clock of this computer, for example by turning on NTP (timedatectl set-ntp true).',
    'untrusted-certificate': `If ${endpoint} is right, set NODE_EXTRA_CA_CERTS to a PEM file with the certificate of the authority that the store uses.`,
    'certificate-of-another-host': `Set ${endpoint} to a host name that the certificate is for, or ask the operator of the store for a certificate that has this one.`,
    'certificate-out-of-date':
      'Check the date of this computer; if it is right, ask the operator of the store for a valid certificate.',
    tls: `Check the scheme and the port of ${endpoint}: what answers there may speak no TLS.`,
    unreachable: `Check ${endpoint}, the network connection and, where one is needed, the VPN.`,
    timeout: `Check ${endpoint}, the network connection and, where one is needed, the VPN.`,
    'bad-response': `Check that ${endpoint} is an S3 endpoint and no web page or proxy.`,
    throttled: 'Try again later, or ask the operator of the store.',
    'server-error': 'Try again later, or ask the operator of the store.',
    'no-such-key': undefined,
    'no-such-upload': undefined,
    'precondition-failed': undefined,
    'bad-digest': undefined,
    short: undefined,
    'too-large': undefined,
    'bad-request': undefined,
  };
  return advice[reason];
}
