// Capture files byte by byte, and back through the reader; any bytes into the reader.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  Direction,
  interfaceDescription,
  interfaceStatistics,
  LinkType,
  packetBlockBytes,
  packetDataAt,
  sectionHeader,
  writePacketBlock,
} from "./pcapng.ts";
import { BlockSplitter, decodeBlock, type PcapngBlock } from "./pcapng-reader.ts";

const hex = (text: string): string => text.replaceAll(/\s/g, "");

function packetBlock(id: number, timeNs: bigint, bytes: Uint8Array, direction: number): Buffer {
  const block = Buffer.alloc(packetBlockBytes(bytes.length), 0xee);
  block.set(bytes, packetDataAt(0));
  assert.equal(writePacketBlock(block, 0, id, timeNs, bytes.length, direction), block.length);
  return block;
}

test("section header", () => {
  const wanted = `0a0d0d0a 28000000 4d3c2b1a 01000000 ffffffffffffffff 0400 0400 76686361 00000000 28000000`;
  assert.equal(sectionHeader("vhca").toString("hex"), hex(wanted));
});

test("interface description", () => {
  const wanted = `01000000 30000000 f7000000 00000000
    0200 0200 6e310000  0300 0100 78000000  0900 0100 09000000  00000000 30000000`;
  assert.equal(interfaceDescription(LinkType.INFINIBAND, "n1", "x").toString("hex"), hex(wanted));
});

test("packet", () => {
  const wanted = `06000000 34000000 02000000 04030201 08070605 05000000 05000000
    aabbccdd ee000000  0200 0400 02000000  00000000 34000000`;
  const bytes = Buffer.from("aabbccddee", "hex");
  assert.equal(packetBlock(2, 0x0102030405060708n, bytes, Direction.SENT).toString("hex"), hex(wanted));
});

test("statistics", () => {
  const wanted = `05000000 34000000 01000000 01000000 02000000
    0400 0800 0500000000000000  0500 0800 0700000000000000  00000000 34000000`;
  assert.equal(interfaceStatistics(1, 0x100000002n, 5, 7).toString("hex"), hex(wanted));
});

const anyBlock = fc.oneof(
  fc
    .string({ unit: "grapheme" })
    .map((application): [Buffer, PcapngBlock] => [sectionHeader(application), { kind: "section", application }]),
  fc
    .tuple(fc.string({ unit: "grapheme" }), fc.string())
    .map(([name, description]): [Buffer, PcapngBlock] => [
      interfaceDescription(LinkType.INFINIBAND, name, description),
      { kind: "interface", linkType: 247, name, description },
    ]),
  fc
    .tuple(fc.nat(64), fc.bigInt(0n, (1n << 64n) - 1n), fc.uint8Array({ maxLength: 300 }), fc.constantFrom(1, 2))
    .map(([id, timeNs, bytes, flags]): [Buffer, PcapngBlock] => [
      packetBlock(id, timeNs, bytes, flags),
      { kind: "packet", interface: id, timeNs, bytes: Buffer.from(bytes), originalLength: bytes.length, flags },
    ]),
  fc
    .tuple(fc.nat(64), fc.maxSafeNat(), fc.maxSafeNat())
    .map(([id, received, dropped]): [Buffer, PcapngBlock] => [
      interfaceStatistics(id, 0n, received, dropped),
      { kind: "statistics", interface: id, received, dropped },
    ]),
);

test("what is written is read back, however the stream is cut", () => {
  fc.assert(
    fc.property(
      fc.array(anyBlock, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 97 }), { minLength: 1 }),
      (blocks, cuts) => {
        const stream = Buffer.concat(blocks.map(([bytes]) => bytes));
        const splitter = new BlockSplitter();
        const read: PcapngBlock[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const length = cuts[i % cuts.length]!;
          for (const each of splitter.push(stream.subarray(at, at + length))) read.push(decodeBlock(each));
          at += length;
        }
        assert.deepEqual(
          read,
          blocks.map(([, block]) => block),
        );
        assert.equal(splitter.isInBlock, false);
      },
    ),
    { interruptAfterTimeLimit: 5000 },
  );
});

test("damaged files end in errors that say where, never in anything else", () => {
  const sound = Buffer.concat([
    sectionHeader("vhca"),
    interfaceDescription(247, "n1", ""),
    packetBlock(0, 5n, Buffer.alloc(70), 1),
  ]);
  fc.assert(
    fc.property(fc.nat(sound.length - 1), fc.nat(255), fc.nat(sound.length), (at, value, end) => {
      const bytes = Buffer.from(sound.subarray(0, end));
      if (at < end) bytes[at] = value;
      try {
        for (const block of new BlockSplitter().push(bytes)) decodeBlock(block);
      } catch (error) {
        assert.match(String(error), /^Error: pcapng: /);
      }
    }),
    { interruptAfterTimeLimit: 5000 },
  );
  assert.throws(() => new BlockSplitter().push(Buffer.alloc(20, 0xff)), /block at byte 0 has a length of 4294967295/);
});
