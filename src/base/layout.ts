// Wire formats as tables of fields. A layout is declared once, with the bit numbers printed in its document; reading,
// writing, printing and the property tests all follow from the same table.
//
//   export const Bth = layout("BTH", 12, { opcode: u8(0), pkey: be16(2), destQp: bits(4, 23, 0), psn: bits(8, 23, 0) });
//   Bth.psn.get(view, at)      hot code: a DataView, an offset, a number; nothing is allocated
//   Bth.psn.set(view, at, n)   masks to the field's width and keeps its neighbours
//
// Reserved bits are not listed. Bit 31 of a dword is the first bit on the wire (InfiniBand and HCA documents), unless the
// factory says little-endian (PCI, vfio-user).

/** A number of at most 32 bits inside a record that starts at byte `at` of a view. */
export interface Field {
  readonly kind: "number";
  /** Byte offset of the aligned unit (1, 2 or 4 bytes) that holds the field. */
  readonly offset: number;
  /** Size of that unit in bytes. */
  readonly unitBytes: 1 | 2 | 4;
  readonly littleEndian: boolean;
  /** Lowest bit of the field inside its unit. */
  readonly low: number;
  /** Width in bits. */
  readonly width: number;
  get(view: DataView, at: number): number;
  set(view: DataView, at: number, value: number): void;
}

/** A 64-bit quantity kept as two u32 halves; BigInt only for cold code. */
export interface Field64 {
  readonly kind: "half64";
  readonly offset: number;
  readonly hi: Field;
  readonly lo: Field;
  getBig(view: DataView, at: number): bigint;
  setBig(view: DataView, at: number, value: bigint): void;
}

/** A run of bytes such as a GID or a string. */
export interface BytesField {
  readonly kind: "bytes";
  readonly offset: number;
  readonly length: number;
  /** A window onto the record's bytes (allocates: cold code only). */
  get(view: DataView, at: number): Uint8Array;
  /** Copies `value` in; shorter values are padded with zeros, longer ones cut. */
  set(view: DataView, at: number, value: Uint8Array): void;
}

export type AnyField = Field | Field64 | BytesField;

export interface LayoutInfo {
  readonly name: string;
  readonly byteLength: number;
  readonly fields: ReadonlyMap<string, AnyField>;
}

/** The declared fields, plus the record's size in bytes and its table for printing. */
export type Layout<F extends Record<string, AnyField>> = F & { readonly byteLength: number; readonly info: LayoutInfo };

const registry: LayoutInfo[] = [];

/** Every layout declared so far in this program, for tests, dissectors and documentation. */
export function allLayouts(): readonly LayoutInfo[] {
  return registry;
}

const widthMask = (width: number): number => (width === 32 ? 0xffffffff : 2 ** width - 1);

function unit(offset: number, unitBytes: 1 | 2 | 4, littleEndian: boolean, high: number, low: number): Field {
  const width = high - low + 1;
  const mask = widthMask(width);
  const keep = ~(mask << low);
  const base = { kind: "number", offset, unitBytes, littleEndian, low, width } as const;
  if (unitBytes === 1) {
    return {
      ...base,
      get: (view, at) => (view.getUint8(at + offset) >>> low) & mask,
      set: (view, at, value) => view.setUint8(at + offset, (view.getUint8(at + offset) & keep) | ((value & mask) << low)),
    };
  }
  if (unitBytes === 2) {
    return {
      ...base,
      get: (view, at) => (view.getUint16(at + offset, littleEndian) >>> low) & mask,
      set: (view, at, value) =>
        view.setUint16(at + offset, (view.getUint16(at + offset, littleEndian) & keep) | ((value & mask) << low), littleEndian),
    };
  }
  if (width === 32) {
    return {
      ...base,
      get: (view, at) => view.getUint32(at + offset, littleEndian),
      set: (view, at, value) => view.setUint32(at + offset, value, littleEndian),
    };
  }
  return {
    ...base,
    get: (view, at) => (view.getUint32(at + offset, littleEndian) >>> low) & mask,
    set: (view, at, value) =>
      view.setUint32(at + offset, (view.getUint32(at + offset, littleEndian) & keep) | ((value & mask) << low), littleEndian),
  };
}

/** One byte. */
export const u8 = (offset: number): Field => unit(offset, 1, false, 7, 0);
/** Bits `high:low` of the byte at `offset`. */
export const bits8 = (offset: number, high: number, low: number): Field => unit(offset, 1, false, high, low);
/** Big-endian 16 bits. */
export const be16 = (offset: number): Field => unit(offset, 2, false, 15, 0);
/** Bits `high:low` of the big-endian 16-bit word at `offset`. */
export const bits16 = (offset: number, high: number, low: number): Field => unit(offset, 2, false, high, low);
/** Big-endian 32 bits. */
export const be32 = (offset: number): Field => unit(offset, 4, false, 31, 0);
/** Bits `high:low` of the big-endian dword at `offset`. */
export const bits = (offset: number, high: number, low: number): Field => unit(offset, 4, false, high, low);
/** One bit of the big-endian dword at `offset`; reads as 0 or 1. */
export const flag = (offset: number, bit: number): Field => unit(offset, 4, false, bit, bit);
/** Little-endian 16 bits. */
export const le16 = (offset: number): Field => unit(offset, 2, true, 15, 0);
/** Bits `high:low` of the little-endian 16-bit word at `offset`. */
export const leBits16 = (offset: number, high: number, low: number): Field => unit(offset, 2, true, high, low);
/** Little-endian 32 bits. */
export const le32 = (offset: number): Field => unit(offset, 4, true, 31, 0);
/** Bits `high:low` of the little-endian dword at `offset`. */
export const leBits = (offset: number, high: number, low: number): Field => unit(offset, 4, true, high, low);

function wide(offset: number, hi: Field, lo: Field): Field64 {
  return {
    kind: "half64",
    offset,
    hi,
    lo,
    getBig: (view, at) => (BigInt(hi.get(view, at)) << 32n) | BigInt(lo.get(view, at)),
    setBig: (view, at, value) => {
      hi.set(view, at, Number((value >> 32n) & 0xffffffffn));
      lo.set(view, at, Number(value & 0xffffffffn));
    },
  };
}

/** Big-endian 64 bits as two halves. */
export const half64 = (offset: number): Field64 => wide(offset, be32(offset), be32(offset + 4));
/** Little-endian 64 bits as two halves. */
export const leHalf64 = (offset: number): Field64 => wide(offset, le32(offset + 4), le32(offset));

/** `length` bytes. */
export function bytes(offset: number, length: number): BytesField {
  return {
    kind: "bytes",
    offset,
    length,
    get: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at + offset, length),
    set: (view, at, value) => {
      const target = new Uint8Array(view.buffer, view.byteOffset + at + offset, length);
      target.fill(0);
      target.set(value.subarray(0, length));
    },
  };
}

/** The bits a field covers, as bit positions counted from the record's first byte (for the overlap check). */
function* coveredBits(field: AnyField): Generator<number> {
  if (field.kind === "half64") {
    yield* coveredBits(field.hi);
    yield* coveredBits(field.lo);
    return;
  }
  if (field.kind === "bytes") {
    for (let bit = 0; bit < field.length * 8; bit++) yield field.offset * 8 + bit;
    return;
  }
  for (let bit = field.low; bit < field.low + field.width; bit++) {
    const byteInUnit = field.littleEndian ? bit >> 3 : field.unitBytes - 1 - (bit >> 3);
    yield (field.offset + byteInUnit) * 8 + (bit & 7);
  }
}

/**
 * Declares a record of `byteLength` bytes.
 * @throws if a field lies outside the record, is misaligned in its unit, or overlaps another (a mistake in the table).
 */
export function layout<F extends Record<string, AnyField>>(name: string, byteLength: number, fields: F): Layout<F> {
  const owner = new Map<number, string>();
  for (const [fieldName, field] of Object.entries(fields)) {
    for (const bit of coveredBits(field)) {
      if (bit < 0 || bit >= byteLength * 8) throw new Error(`layout ${name}.${fieldName} lies outside its ${byteLength} bytes`);
      const other = owner.get(bit);
      if (other !== undefined) throw new Error(`layout ${name}.${fieldName} overlaps ${other} at byte ${bit >> 3}`);
      owner.set(bit, fieldName);
    }
  }
  const info: LayoutInfo = { name, byteLength, fields: new Map(Object.entries(fields)) };
  registry.push(info);
  return { ...fields, byteLength, info };
}

/** Reads every field of a record into a plain object (cold: tests, dissectors, messages). */
export function readAll(
  of: { readonly info: LayoutInfo },
  view: DataView,
  at: number,
): Record<string, number | bigint | Uint8Array> {
  const out: Record<string, number | bigint | Uint8Array> = {};
  for (const [name, field] of of.info.fields) {
    out[name] =
      field.kind === "half64"
        ? field.getBig(view, at)
        : field.kind === "bytes"
          ? field.get(view, at).slice()
          : field.get(view, at);
  }
  return out;
}

/** Writes the given fields of a record (cold: tests and control paths). */
export function writeAll(
  of: { readonly info: LayoutInfo },
  view: DataView,
  at: number,
  values: Readonly<Record<string, number | bigint | Uint8Array>>,
): void {
  for (const [name, value] of Object.entries(values)) {
    const field = of.info.fields.get(name);
    if (field === undefined) throw new Error(`layout ${of.info.name} has no field ${name}`);
    if (field.kind === "half64") field.setBig(view, at, BigInt(value as number | bigint));
    else if (field.kind === "bytes") field.set(view, at, value as Uint8Array);
    else field.set(view, at, Number(value));
  }
}
