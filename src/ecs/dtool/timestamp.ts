/** Beyond it a Date has no value (ECMA-262, 21.4.1.1). */
const TIMESTAMP_MAX_SECONDS = 8.64e12;

/** Whether a JSON value is a point in time: seconds since the epoch, whole or not, that a Date can hold. */
export function isTimestamp(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= TIMESTAMP_MAX_SECONDS;
}
