import { isUtf8 } from 'node:buffer';
import { messageOf } from '../../errors.ts';
import { FormatError, type ObjectAddress } from './format-error.ts';

/**
 * The text of an object.
 *
 * @throws FormatError when it is not UTF-8, or longer than a string can be
 */
export function decodeUtf8(body: Buffer, where: ObjectAddress): string {
  if (!isUtf8(body)) throw new FormatError(where, 'it is not UTF-8');
  try {
    return body.toString('utf8');
  } catch (cause) {
    throw new FormatError(where, `it can't be read as text: ${messageOf(cause)}`, { cause });
  }
}

/**
 * The JSON value in an object. Of a key that is there twice the last value counts, as in Python. `__proto__` is a key
 * like any other; look keys up with `Object.hasOwn` or enumerate them, since values inherit from `Object.prototype`.
 *
 * @throws FormatError when it is no JSON in UTF-8
 */
export function parseJson(body: Buffer, where: ObjectAddress): unknown {
  const text = decodeUtf8(body, where);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FormatError(where, `it is not JSON: ${messageOf(cause)}`, { cause });
  }
}

/** A JSON object, as opposed to an array, null or a scalar. */
export type JsonObject = Readonly<Record<string, unknown>>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const SHOWN_CHARACTERS = 60;

/** A JSON value in a few words, for an error message. */
export function describe(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string') return 'an object';
  return value.length <= SHOWN_CHARACTERS
    ? JSON.stringify(value)
    : `${JSON.stringify(value.slice(0, SHOWN_CHARACTERS))}…`;
}
