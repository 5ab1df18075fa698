import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

/** A certificate with its key, as PEM; what `createServer` of `node:tls` takes. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  /** DNS names that it is for; default `localhost`. */
  readonly hosts?: readonly string[];
  /** Default: since yesterday, until tomorrow. */
  readonly validFrom?: Date;
  readonly validTo?: Date;
}

const DAY_MS = 86_400_000;

/** An authority that issues certificates to servers, made from nothing but Node (RFC 5280). */
export class CertificateAuthority {
  /** What one has to trust, as PEM. */
  readonly cert: string;
  readonly #name: string;
  readonly #key: KeyObject;

  constructor(name: string) {
    const { publicKey, privateKey } = newKeys();
    this.#name = name;
    this.#key = privateKey;
    this.cert = this.#issue(name, publicKey, {}, [
      extension(OID.basicConstraints, sequence(TRUE)),
      extension(OID.keyUsage, der(0x03, Buffer.from([1, 0b0000_0110]))),
    ]);
  }

  /** A certificate for a server. */
  issue({ hosts = ['localhost'], ...validity }: CertificateOptions = {}): Certificate {
    const { publicKey, privateKey } = newKeys();
    const names = hosts.map((host) => der(0x82, Buffer.from(host)));
    const cert = this.#issue(hosts[0] ?? '', publicKey, validity, [
      extension(OID.subjectAltName, sequence(...names)),
    ]);
    return { cert, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
  }

  #issue(
    subject: string,
    publicKey: KeyObject,
    validity: Pick<CertificateOptions, 'validFrom' | 'validTo'>,
    extensions: readonly Buffer[],
  ): string {
    const now = Date.now();
    const { validFrom = new Date(now - DAY_MS), validTo = new Date(now + DAY_MS) } = validity;
    const version3 = der(0xa0, integer(Buffer.from([2])));
    const toBeSigned = sequence(
      version3,
      integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
      ECDSA_WITH_SHA256,
      nameOf(this.#name),
      sequence(time(validFrom), time(validTo)),
      nameOf(subject),
      publicKey.export({ type: 'spki', format: 'der' }),
      der(0xa3, sequence(...extensions)),
    );
    const signature = der(0x03, Buffer.from([0]), sign('sha256', toBeSigned, this.#key));
    const base64 = sequence(toBeSigned, ECDSA_WITH_SHA256, signature).toString('base64');
    return `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
  }
}

function newKeys(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
}

/** One value of ASN.1 in its distinguished encoding (X.690): tag, length, content. */
function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const lengthBytes = length < 0x80 ? [length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...lengthBytes]), content]);
}

function sequence(...contents: readonly Buffer[]): Buffer {
  return der(0x30, ...contents);
}

/** Of a number whose first bit is 0. */
function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes);
}

function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/\.\d+|[-:T]/g, '');
  return der(0x18, Buffer.from(digits));
}

function nameOf(commonName: string): Buffer {
  return sequence(der(0x31, sequence(OID.commonName, der(0x0c, Buffer.from(commonName)))));
}

function extension(oid: Buffer, value: Buffer): Buffer {
  return sequence(oid, der(0x04, value));
}

const TRUE = Buffer.from([0x01, 0x01, 0xff]);
const OID = {
  commonName: Buffer.from('0603550403', 'hex'),
  subjectAltName: Buffer.from('0603551d11', 'hex'),
  basicConstraints: Buffer.from('0603551d13', 'hex'),
  keyUsage: Buffer.from('0603551d0f', 'hex'),
} as const;
const ECDSA_WITH_SHA256 = Buffer.from('300a06082a8648ce3d040302', 'hex');
