import assert from "node:assert/strict";
import { test } from "node:test";
import { Method, MgmtClass, SaAttribute } from "../spec/mad/numbers.ts";
import { bytesOf, newRequest } from "./mad.ts";
import { buildMadPacket, DIRECTED_ROUTE, gmpAddress, parseMadPacket, replyAddress } from "./packet.ts";

const mad = newRequest(MgmtClass.SUBN_ADM, Method.GET, SaAttribute.PATH_RECORD);

test("a general MAD as the wire has it, byte by byte", () => {
  const packet = buildMadPacket(gmpAddress(3, 1), mad);
  assert.equal(packet.length, 8 + 12 + 8 + 256);
  assert.equal(
    Buffer.from(packet.subarray(0, 28)).toString("hex"),
    "0002" + "0001" + "0048" + "0003" + "6400ffff00000001" + "00000000" + "80010000" + "00000001",
  );
  const parsed = parseMadPacket(packet)!;
  assert.deepEqual(
    [parsed.slid, parsed.dlid, parsed.srcQp, parsed.destQp, parsed.qkey, parsed.madAt],
    [3, 1, 1, 1, 0x80010000, 28],
  );
  assert.deepEqual(bytesOf(mad), parsed.bytes.subarray(parsed.madAt));
});

test("an SMP is on VL 15 and to QP0; a GRH comes through and is answered with one", () => {
  const smp = parseMadPacket(buildMadPacket(DIRECTED_ROUTE, mad))!;
  assert.deepEqual([smp.vl, smp.destQp, smp.slid, smp.dlid], [15, 0, 0xffff, 0xffff]);
  const sgid = Uint8Array.from({ length: 16 }, (_, i) => i);
  const dgid = Uint8Array.from({ length: 16 }, (_, i) => 255 - i);
  const packet = buildMadPacket({ ...gmpAddress(3, 1), sl: 2, grh: { sgid, dgid } }, mad);
  assert.equal(packet.length, 324);
  const parsed = parseMadPacket(packet)!;
  const reply = replyAddress(parsed, 1);
  assert.deepEqual([reply.dlid, reply.slid, reply.sl], [3, 1, 2]);
  assert.deepEqual(reply.grh?.dgid, sgid);
});

test("what is not a well-formed MAD packet is not read", () => {
  const good = buildMadPacket(gmpAddress(3, 1), mad);
  const bent = (at: number, value: number) => {
    const copy = good.slice();
    copy[at] = value;
    return copy;
  };
  assert.ok(parseMadPacket(good));
  assert.equal(parseMadPacket(good.subarray(0, 283)), undefined, "too short");
  assert.equal(parseMadPacket(bent(5, 0x49)), undefined, "length in the LRH");
  assert.equal(parseMadPacket(bent(0, 0x01)), undefined, "link version");
  assert.equal(parseMadPacket(bent(1, 0x00)), undefined, "raw");
  assert.equal(parseMadPacket(bent(8, 0x04)), undefined, "not UD");
  assert.equal(parseMadPacket(new Uint8Array(0)), undefined);
});
