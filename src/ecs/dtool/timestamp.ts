/** Beyond it a Date has no value (ECMA-262, 21.4.1.1). */
const TIMESTAMP_MAX_SECONDS = 8.64e12;

/** Whether a JSON value is a point in time: seconds since the epoch, whole or not, that a Date can hold. */
export function isTimestamp(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= TIMESTAMP_MAX_SECONDS;
}

const SECOND_NS = 1_000_000_000n;
/** 0001-01-01 and 10000-01-01, in seconds: the range of Python's datetime. */
const ITEM_TIME_MIN_NS = -62_135_596_800n * SECOND_NS;
const ITEM_TIME_END = 253_402_300_800;

/**
 * Whether dtool can hold a file's time: it takes each through Python's datetime (dtoolcore 3.19,
 * storagebroker.DiskStorageBroker.get_utc_timestamp), which raises for a year before 1 or after 9999.
 *
 * @param nanoseconds since the epoch
 */
export function isItemTime(nanoseconds: bigint): boolean {
  // The last microseconds of 9999 are those of the next year as a double, to Python as well.
  return nanoseconds >= ITEM_TIME_MIN_NS && itemTimestamp(nanoseconds) < ITEM_TIME_END;
}

/**
 * A file's time as a manifest has it: seconds since the epoch, to the microsecond before; where a double is coarser than
 * that, which it is before 1684 and from 2255 on, the nearest one.
 *
 * @param nanoseconds since the epoch
 */
export function itemTimestamp(nanoseconds: bigint): number {
  const rest = ((nanoseconds % 1_000n) + 1_000n) % 1_000n;
  const microseconds = (nanoseconds - rest) / 1_000n;
  const digits = String(microseconds < 0n ? -microseconds : microseconds).padStart(7, '0');
  // Decimal text is rounded once, where a number of microseconds beyond 2^53 would be rounded before it is divided.
  const seconds = Number(`${digits.slice(0, -6)}.${digits.slice(-6)}`);
  return microseconds < 0n ? -seconds : seconds;
}
