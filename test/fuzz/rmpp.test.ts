// Both halves of RMPP against each other, over a network that loses, doubles, reorders and now and then changes bytes: a message arrives whole or
// not at all, and everything ends. IBA vol 1, 13.6.3.

import assert from "node:assert/strict";
import { newRequest } from "../../src/mad/mad.ts";
import { gmpAddress, parseMadPacket } from "../../src/mad/packet.ts";
import { DEFAULT_RMPP_LIMITS, RmppSender } from "../../src/mad/rmpp.ts";
import { DEFAULT_RECEIVER_LIMITS, RmppReceiver } from "../../src/mad/rmpp-receiver.ts";
import { MadHeader, Rmpp } from "../../src/spec/mad/headers.ts";
import { Method, MgmtClass, RmppType, SaAttribute } from "../../src/spec/mad/numbers.ts";
import { BadNetwork } from "./bad-network.ts";
import { fuzz } from "./kit.ts";
import { bend, randomBytes } from "./values.ts";

const MS = 1e6;
const LONG_NS = 80e9;
const RECEIVER_LID = 100;
const MAX_BYTES = 6000;

fuzz(
  "sa/rmpp-both",
  (random, budget) => {
    const limits = {
      ...DEFAULT_RECEIVER_LIMITS,
      maxTransfers: 6,
      maxTransfersPerLid: 3,
      maxBytes: MAX_BYTES,
      window: 1 + random.below(20),
    };
    const out = new BadNetwork<Uint8Array>(random);
    const back = new BadNetwork<Uint8Array>(random);
    const isBending = random.chance(0.3);
    let nowNs = 0;
    const sender = new RmppSender((packet) => out.put(packet, nowNs), { ...DEFAULT_RMPP_LIMITS, maxTransfers: 12 });
    const receiver = new RmppReceiver(
      () => RECEIVER_LID,
      (packet) => back.put(packet, nowNs),
      limits,
    );
    const messages = Array.from({ length: 8 }, (_, i) => {
      const header = newRequest(MgmtClass.SUBN_ADM, Method.GET_MULTI, SaAttribute.MULTI_PATH_RECORD);
      MadHeader.tid.setBig(header, 0, BigInt(i));
      const data = randomBytes(random, random.below(random.chance(0.8) ? MAX_BYTES : 2 * MAX_BYTES));
      // what is sent here goes to the receiver; answers come back to LID 1 to 3
      sender.start(header, { ...gmpAddress(1 + (i % 3), RECEIVER_LID) }, data, nowNs);
      return data;
    });
    const arrived = new Map<number, number>();
    for (; nowNs < LONG_NS && (sender.active > 0 || receiver.active > 0); nowNs += 10 * MS) {
      budget.step();
      for (const packet of out.take(nowNs)) {
        if (isBending && random.chance(0.02)) bend(random, packet.subarray(28), 64);
        const parsed = parseMadPacket(packet);
        if (parsed === undefined || Rmpp.type.get(parsed.view, parsed.madAt) !== RmppType.DATA) continue;
        const message = receiver.receive(parsed, nowNs);
        assert.ok(receiver.active <= limits.maxTransfers);
        if (message === undefined) continue;
        const number = MadHeader.tid.lo.get(message.header, 0);
        arrived.set(number, (arrived.get(number) ?? 0) + 1);
        assert.ok(message.data.length <= MAX_BYTES);
        if (!isBending) assert.ok(Buffer.from(message.data).equals(messages[number]!), "the message as it was sent");
      }
      for (const packet of back.take(nowNs)) {
        const parsed = parseMadPacket(packet);
        assert.ok(parsed, "an answer is a sound packet");
        sender.receive(parsed, nowNs);
      }
      sender.step(nowNs);
      receiver.step(nowNs);
    }
    assert.equal(sender.active, 0, "every transfer ends at the sender");
    assert.equal(receiver.active, 0, "and at the receiver");
    if (!isBending) {
      for (const [number, times] of arrived) assert.equal(times, 1, `message ${number} once`);
      assert.ok(sender.counts.completed <= arrived.size, "completed only what has arrived");
    }
    budget.note(
      `${sender.counts.completed} ${receiver.counts.completed} ${receiver.counts.refused} ${receiver.counts.abandoned}`,
    );
  },
  { share: 0.3 },
);
