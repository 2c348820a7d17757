import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { be16, be32, bits, bytes, flag, half64, layout, le32, leBits, leHalf64, u8 } from "./layout.ts";

const Sample = layout("Sample", 40, {
  opcode: u8(0),
  solicited: flag(0, 23),
  pad: bits(0, 21, 20),
  pkey: be16(2),
  destQp: bits(4, 23, 0),
  whole: be32(8),
  address: half64(12),
  little: le32(20),
  littleBits: leBits(24, 9, 3),
  littleAddress: leHalf64(28),
  tail: bytes(36, 4),
});

test("layout: bit numbers are those of the document, bit 31 first on the wire", () => {
  const view = new DataView(new ArrayBuffer(40));
  Sample.solicited.set(view, 0, 1);
  assert.equal(view.getUint8(1), 0x80);
  Sample.destQp.set(view, 0, 0x123456);
  assert.deepEqual([...new Uint8Array(view.buffer, 4, 4)], [0, 0x12, 0x34, 0x56]);
  Sample.littleBits.set(view, 0, 0x7f);
  assert.deepEqual([...new Uint8Array(view.buffer, 24, 4)], [0xf8, 3, 0, 0]);
  Sample.address.setBig(view, 0, 0x1122334455667788n);
  assert.equal(view.getUint8(12), 0x11);
  Sample.littleAddress.setBig(view, 0, 0x1122334455667788n);
  assert.equal(view.getUint8(28), 0x88);
});

test("layout: set masks to the width and leaves every other bit alone", () => {
  const numeric = [...Sample.info.fields].flatMap(([name, field]) => (field.kind === "number" ? [{ name, field }] : []));
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 40, maxLength: 40 }),
      fc.constantFrom(...numeric),
      fc.integer({ min: 0, max: 0xffffffff }),
      (record, { field }, value) => {
        const view = new DataView(record.slice().buffer);
        const before = record.slice();
        field.set(view, 0, value);
        const mask = field.width === 32 ? 0xffffffff : 2 ** field.width - 1;
        assert.equal(field.get(view, 0), (value & mask) >>> 0);
        field.set(view, 0, field.get(new DataView(before.buffer), 0));
        assert.deepEqual(new Uint8Array(view.buffer), before);
      },
    ),
  );
});

test("layout: a wrong table is refused when it is declared", () => {
  assert.throws(() => layout("Bad", 4, { a: be32(0), b: u8(3) }), /overlaps a at byte 3/);
  assert.throws(() => layout("Bad", 4, { a: be32(4) }), /outside its 4 bytes/);
});
