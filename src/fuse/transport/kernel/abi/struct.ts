import assert from 'node:assert/strict';
import { endianness } from 'node:os';

/** The C types that the kernel's structures are made of; a number stands for so many bytes that mean nothing. */
type FieldType = 'u16' | 'u32' | 'i32' | 'u64' | 'i64' | number;
type Layout = Readonly<Record<string, FieldType>>;
/** The fields of a layout that have a value. */
type ValueOf<L extends Layout> = { [K in keyof L as L[K] extends string ? K : never]: number };

/**
 * A C structure in a buffer: its size in bytes and typed access to its fields. Nothing here allocates except `decode`.
 *
 * 64-bit fields are numbers. Those from 2^53 on lose their low bits: whoever needs one exactly must refuse values that
 * are no safe integer.
 */
export interface Struct<L extends Layout> {
  readonly size: number;
  /** Offset of every field in bytes. */
  readonly at: { readonly [K in keyof L]: number };
  readonly get: { readonly [K in keyof ValueOf<L>]: (view: DataView, base: number) => number };
  readonly set: { readonly [K in keyof ValueOf<L>]: (view: DataView, base: number, value: number) => void };
  /** All fields at once, for requests that are not frequent. */
  decode(view: DataView, base: number): ValueOf<L>;
}

/** The kernel speaks the byte order of its machine. */
const LITTLE_ENDIAN = endianness() === 'LE';
const LOW = LITTLE_ENDIAN ? 0 : 4;
const HIGH = 4 - LOW;
const TWO_32 = 2 ** 32;

const BYTES = { u16: 2, u32: 4, i32: 4, u64: 8, i64: 8 } as const;

type Getter = (view: DataView, base: number) => number;
type Setter = (view: DataView, base: number, value: number) => void;

const GETTER: Readonly<Record<keyof typeof BYTES, (at: number) => Getter>> = {
  u16: (at) => (view, base) => view.getUint16(base + at, LITTLE_ENDIAN),
  u32: (at) => (view, base) => view.getUint32(base + at, LITTLE_ENDIAN),
  i32: (at) => (view, base) => view.getInt32(base + at, LITTLE_ENDIAN),
  u64: (at) => (view, base) =>
    view.getUint32(base + at + LOW, LITTLE_ENDIAN) + view.getUint32(base + at + HIGH, LITTLE_ENDIAN) * TWO_32,
  i64: (at) => (view, base) =>
    view.getUint32(base + at + LOW, LITTLE_ENDIAN) + view.getInt32(base + at + HIGH, LITTLE_ENDIAN) * TWO_32,
};

/** Two's complement in two halves: right for negative numbers too. */
const set64 =
  (at: number): Setter =>
  (view, base, value) => {
    view.setUint32(base + at + LOW, value >>> 0, LITTLE_ENDIAN);
    view.setUint32(base + at + HIGH, Math.floor(value / TWO_32) >>> 0, LITTLE_ENDIAN);
  };

const SETTER: Readonly<Record<keyof typeof BYTES, (at: number) => Setter>> = {
  u16: (at) => (view, base, value) => view.setUint16(base + at, value, LITTLE_ENDIAN),
  u32: (at) => (view, base, value) => view.setUint32(base + at, value, LITTLE_ENDIAN),
  i32: (at) => (view, base, value) => view.setInt32(base + at, value, LITTLE_ENDIAN),
  u64: set64,
  i64: set64,
};

/**
 * Makes the access functions of a structure from its fields in the order of the C declaration.
 *
 * @throws AssertionError when a field is not aligned to its size: the ABI has padding fields for that
 */
export function struct<const L extends Layout>(layout: L): Struct<L> {
  const at: Record<string, number> = {};
  const get: Record<string, Getter> = {};
  const set: Record<string, Setter> = {};
  let size = 0;
  for (const [field, type] of Object.entries(layout)) {
    at[field] = size;
    if (typeof type === 'number') {
      size += type;
      continue;
    }
    assert(size % BYTES[type] === 0, `${field} is not aligned`);
    get[field] = GETTER[type](size);
    set[field] = SETTER[type](size);
    size += BYTES[type];
  }
  const getters = Object.entries(get);
  const decode = (view: DataView, base: number) =>
    Object.fromEntries(getters.map(([field, getter]) => [field, getter(view, base)]));
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the loop above went through the fields of L
  return { size, at, get, set, decode } as unknown as Struct<L>;
}
