import { InvalidArgumentError } from 'commander';
import {
  DISK_CACHE_MIN_BYTES,
  GiB,
  KiB,
  MiB,
  STATS_INTERVAL_MAX_SECONDS,
  STATS_INTERVAL_MIN_SECONDS,
} from '../limits.ts';

/** Parsers of option values for commander; what they refuse is wrong usage. */

const UNITS: Readonly<Record<string, number>> = { '': 1, k: KiB, m: MiB, g: GiB };

/** `256M`, `1.5g`, `4096`, `64KiB`: bytes, with the units of 1024. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?$/i.exec(text);
  const unit = UNITS[match?.[2]?.toLowerCase() ?? ''];
  const bytes = Math.round(Number(match?.[1]) * (unit ?? Number.NaN));
  if (!Number.isSafeInteger(bytes) || bytes < 1) {
    throw new InvalidArgumentError('A size is a number and K, M or G, such as 256M.');
  }
  return bytes;
}

/** `none`, or bytes as {@link parseBytes} takes them, {@link DISK_CACHE_MIN_BYTES} or more. */
export function parseCacheSize(text: string): number | 'none' {
  if (text === 'none') return text;
  const bytes = parseBytes(text);
  if (bytes < DISK_CACHE_MIN_BYTES) throw new InvalidArgumentError('Give 64M or more, or none.');
  return bytes;
}

/** A number of seconds above 0, fractions allowed. */
export function parseSeconds(text: string): number {
  const seconds = text === '' ? Number.NaN : Number(text);
  if (!(seconds > 0 && seconds <= 1e9)) throw new InvalidArgumentError('Give seconds, more than 0.');
  return seconds;
}

/** Seconds between two looks: from {@link STATS_INTERVAL_MIN_SECONDS} to a day. */
export function parseInterval(text: string): number {
  const seconds = parseSeconds(text);
  if (seconds < STATS_INTERVAL_MIN_SECONDS || seconds > STATS_INTERVAL_MAX_SECONDS)
    throw new InvalidArgumentError('Give seconds from 0.1 to 86400.');
  return seconds;
}

/** Tries of a request: 1 to 1000. */
export function parseTries(text: string): number {
  const tries = Number(text);
  if (!/^\d+$/.test(text) || tries < 1 || tries > 1_000)
    throw new InvalidArgumentError('Give a number from 1 to 1000.');
  return tries;
}

/** The number of a user or group. */
export function parseId(text: string): number {
  const id = Number(text);
  if (!/^\d+$/.test(text) || id >= 0xffffffff) throw new InvalidArgumentError('Give a number.');
  return id;
}

/** Octal, as for umask(1). */
export function parseUmask(text: string): number {
  if (!/^0*[0-7]{1,3}$/.test(text)) throw new InvalidArgumentError('Give an octal number such as 077.');
  return Number.parseInt(text, 8);
}

/** A TCP port; 0 takes any that is free. */
export function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new InvalidArgumentError('Give a number from 0 to 65535.');
  return port;
}
