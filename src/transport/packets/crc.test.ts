// ICRC and VCRC: the specification's sample packet, and what must and must not change them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../base/random.ts";
import { CRC_BYTES, icrcOf, vcrcOf, writeCrcs } from "./crc.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ""), "hex");

/** IBA vol 1, 7.8.3: an RDMA write of 14 bytes without GRH. */
const LRH = "7012375c 000e17d2";
const REST = `0a202487 0087b1b3 000dec2a 01710a1c 015d4002 38f27a05 0000000e
  bb884d85 fd5cfba4 728bc069 0ed40000`;
/** Its second sample puts a GRH between them. */
const GRH = "60000000 00320010 00000000 00000125 00000000 00000026 00000000 00000117 00000000 00000096";

function withCrcs(text: string): Buffer {
  const packet = hex(text);
  const whole = Buffer.concat([packet, Buffer.alloc(CRC_BYTES)]);
  writeCrcs(whole, 0, packet.length);
  return whole;
}

/** Division bit by bit, as the specification describes it, of what has been masked by hand. */
function divide(bytes: Uint8Array, polynomial: number, ones: number): number {
  let rest = ones;
  for (const byte of bytes) {
    rest ^= byte;
    for (let bit = 0; bit < 8; bit++) rest = (rest & 1) === 1 ? (rest >>> 1) ^ polynomial : rest >>> 1;
  }
  return (rest ^ ones) >>> 0;
}

test("the specification's sample packet", () => {
  const whole = withCrcs(LRH + REST);
  assert.equal(whole.subarray(-6).toString("hex"), "9625b75a45fa");
});

test("with a GRH, the whole LRH, traffic class, flow label and hop limit do not count", () => {
  const plain = withCrcs(`7013375c 001817d2 ${GRH} ${REST}`);
  const masked = hex(
    `ffffffff ffffffff 6fffffff 003200ff ${GRH.slice(18)} ${REST}`.replace("0a202487 0087b1b3", "0a202487 ff87b1b3"),
  );
  assert.equal(plain.readUInt32LE(plain.length - 6), divide(masked, 0xedb88320, 0xffffffff));
  const global = hex(`7013375c 001817d2 ${GRH} ${REST}`);
  const icrc = icrcOf(global, 0, global.length);
  for (let i = 0; i < global.length; i++) {
    const isVariant = i < 8 || (i > 8 && i < 12) || i === 15 || i === 52;
    for (const bit of [1, 0x10, 0x80]) {
      const other = Buffer.from(global);
      other[i]! ^= bit;
      // The next-header field decides what is masked.
      if (i === 1 && (other[1]! & 3) !== 3) continue;
      const isSame = icrcOf(other, 0, other.length) === icrc;
      assert.equal(isSame, isVariant || (i === 8 && bit === 1), `byte ${i}, bit ${bit}`);
      assert.notEqual(vcrcOf(other, 0, other.length), vcrcOf(global, 0, global.length));
    }
  }
});

test("without a GRH, only the virtual lane and the reserved byte of the BTH do not count", () => {
  const local = hex(LRH + REST);
  const icrc = icrcOf(local, 0, local.length);
  for (let i = 0; i < local.length; i++) {
    for (const bit of [1, 0x10, 0x80]) {
      const other = Buffer.from(local);
      other[i]! ^= bit;
      if (i === 1 && (other[1]! & 3) === 3) continue;
      assert.equal(icrcOf(other, 0, other.length) === icrc, (i === 0 && bit >= 0x10) || i === 12, `byte ${i}, bit ${bit}`);
    }
  }
});

test("any bytes have checksums, wherever they lie", () => {
  const random = new Random(7);
  for (let i = 0; i < 500; i++) {
    const length = random.below(i < 400 ? 80 : 2100);
    const at = random.below(9);
    const bytes = Uint8Array.from({ length: at + length + CRC_BYTES }, () => random.below(256));
    const before = Uint8Array.from(bytes);
    writeCrcs(bytes, at, length);
    assert.deepEqual(bytes.subarray(0, at + length), before.subarray(0, at + length));
    const icrc = icrcOf(bytes, at, length);
    assert.equal(new DataView(bytes.buffer).getInt32(at + length, true), icrc);
    const covered = bytes.subarray(at, at + length + 4);
    assert.equal(bytes[at + length + 4]! | (bytes[at + length + 5]! << 8), divide(covered, 0xd008, 0xffff));
  }
});
