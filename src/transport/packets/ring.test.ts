import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { newMemory } from "../../base/bytes.ts";
import { PacketRing, ringBytes } from "./ring.ts";

const LOG_BYTES = 9;

test("what goes in comes out, in order and whole, whatever the lengths; a full ring takes nothing", () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant("send" as const), length: fc.integer({ min: 0, max: 260 }), tag: fc.nat(0xffff) }),
    fc.record({ kind: fc.constant("take" as const) }),
    fc.record({ kind: fc.constant("abandon" as const), length: fc.integer({ min: 0, max: 260 }) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 300 }), fc.boolean(), (actions, isNearWrap) => {
      const memory = newMemory(ringBytes(LOG_BYTES));
      // Counts of bytes that are about to wrap at 2^32.
      if (isNearWrap) memory.words[0] = memory.words[16] = -512;
      const [sender, receiver] = [new PacketRing(memory), new PacketRing(memory)];
      const model: { bytes: Buffer; tag: number }[] = [];
      let count = 0;
      for (const each of actions) {
        if (each.kind === "take") {
          const expected = model.shift();
          assert.equal(receiver.take(), expected !== undefined);
          if (expected === undefined) continue;
          const got = memory.bytes.subarray(receiver.at, receiver.at + receiver.length);
          assert.deepEqual([receiver.tag, got.equals(expected.bytes)], [expected.tag, true]);
          receiver.release();
        } else if (sender.reserve(each.length)) {
          if (each.kind === "abandon") continue;
          const bytes = Buffer.alloc(each.length, ++count);
          bytes.copy(memory.bytes, sender.at);
          sender.commit(each.tag);
          model.push({ bytes, tag: each.tag });
        } else {
          assert.ok(model.length > 0 || each.length + 8 > 256, "an empty ring has room for half of it");
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("a packet is not seen before it is committed", () => {
  const memory = newMemory(ringBytes(LOG_BYTES));
  const [sender, receiver] = [new PacketRing(memory), new PacketRing(memory)];
  assert.ok(sender.reserve(16));
  assert.deepEqual([receiver.hasPackets, receiver.take()], [false, false]);
  sender.commit(7);
  assert.deepEqual([receiver.hasPackets, receiver.take(), receiver.length, receiver.tag], [true, true, 16, 7]);
});
