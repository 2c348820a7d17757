// Every table of fields in src/spec: a value written to a field is read back, nothing else changes, and the record written field
// by field is the record it was read from. A field must also lie where its table says: bit by bit, big- or little-endian.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type AnyField, allLayouts, type LayoutInfo, readAll, writeAll } from "../../src/base/layout.ts";
import type { Random } from "../../src/base/random.ts";
import { fuzz } from "./kit.ts";
import { number32, number64, randomBytes } from "./values.ts";

const SPEC = join(import.meta.dirname, "../../src/spec");
/** The record stands between these many bytes that belong to nobody. */
const MARGIN = 8;
const ROUNDS = 20;

for (const file of readdirSync(SPEC, { recursive: true, encoding: "utf8" })) {
  if (file.endsWith(".ts") && !file.endsWith(".test.ts")) await import(join(SPEC, file));
}

type Value = number | bigint | Uint8Array;

function randomValue(random: Random, field: AnyField): Value {
  if (field.kind === "half64") return number64(random);
  if (field.kind === "bytes") return new Uint8Array(randomBytes(random, field.length));
  return number32(random, field.width);
}

/** The record as one number, first byte highest, or lowest for little-endian fields. */
function bitsOf(bytes: Uint8Array, littleEndian: boolean): bigint {
  const ordered = littleEndian ? [...bytes].reverse() : [...bytes];
  return BigInt(`0x0${Buffer.from(ordered).toString("hex")}`);
}

/** What a field holds, taken from the bytes of its unit by plain arithmetic. */
function naive(field: AnyField, record: Uint8Array): Value {
  if (field.kind === "bytes") return record.slice(field.offset, field.offset + field.length);
  if (field.kind === "half64") return bitsOf(record.slice(field.offset, field.offset + 8), field.hi.littleEndian);
  const unit = bitsOf(record.slice(field.offset, field.offset + field.unitBytes), field.littleEndian);
  return Number((unit >> BigInt(field.low)) & ((1n << BigInt(field.width)) - 1n));
}

function get(field: AnyField, view: DataView): Value {
  if (field.kind === "half64") return field.getBig(view, MARGIN);
  return field.kind === "bytes" ? field.get(view, MARGIN).slice() : field.get(view, MARGIN);
}

/** The value with bits above the field, which a set must cut off. */
function tooWide(random: Random, field: AnyField, value: Value): Value {
  if (field.kind !== "number" || field.width === 32 || random.chance(0.5)) return value;
  return ((random.u32() << field.width) | Number(value)) >>> 0;
}

/** One field of one layout: written, read back, the neighbours untouched. */
function checkField(random: Random, info: LayoutInfo, name: string, field: AnyField): void {
  const what = `${info.name}.${name}`;
  const before = randomBytes(random, info.byteLength + 2 * MARGIN);
  const after = Buffer.from(before);
  const view = new DataView(after.buffer, after.byteOffset, after.length);
  const value = randomValue(random, field);
  const others = readAll({ info }, view, MARGIN);
  writeAll({ info }, view, MARGIN, { [name]: tooWide(random, field, value) });
  assert.deepEqual(get(field, view), value, `${what}: reads back`);
  const record = after.subarray(MARGIN, MARGIN + info.byteLength);
  assert.deepEqual(naive(field, new Uint8Array(record)), value, `${what}: lies where its table says`);
  assert.deepEqual({ ...readAll({ info }, view, MARGIN), [name]: 0 }, { ...others, [name]: 0 }, `${what}: neighbours`);
  writeAll({ info }, view, MARGIN, { [name]: others[name] ?? 0 });
  assert.deepEqual(after, before, `${what}: bits of no field, or bytes outside the record`);
}

fuzz("layouts", (random, budget) => {
  const layouts = allLayouts();
  assert.ok(layouts.length > 50, "the tables of src/spec are loaded");
  for (let i = 0; i < ROUNDS; i++) {
    const info = random.pick(layouts);
    const [name, field] = random.pick([...info.fields]);
    checkField(random, info, name, field);
    budget.note(`${info.name}.${name}`);
  }
});
