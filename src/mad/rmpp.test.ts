import assert from "node:assert/strict";
import { test } from "node:test";
import { MadHeader, Rmpp, SA_DATA_AT, SA_DATA_BYTES } from "../spec/mad/headers.ts";
import { Method, MgmtClass, RmppFlag, RmppType, SaAttribute } from "../spec/mad/numbers.ts";
import { bytesOf, newRequest } from "./mad.ts";
import { buildMadPacket, gmpAddress, type MadPacket, parseMadPacket } from "./packet.ts";
import { DEFAULT_RMPP_LIMITS, RmppSender } from "./rmpp.ts";

const address = gmpAddress(1, 7);

function header(tid = 42n): DataView {
  const mad = newRequest(MgmtClass.SUBN_ADM, Method.GET_TABLE_RESP, SaAttribute.NODE_RECORD);
  MadHeader.tid.setBig(mad, 0, tid);
  return mad;
}

/** ACK as the kernel's receiver sends it: the segment's header with the response bit off. */
function ack(segment: number, window: number, type: number = RmppType.ACK, tid = 42n): MadPacket {
  const mad = header(tid);
  MadHeader.method.set(mad, 0, Method.GET_TABLE);
  Rmpp.version.set(mad, 0, 1);
  Rmpp.type.set(mad, 0, type);
  Rmpp.flags.set(mad, 0, RmppFlag.ACTIVE);
  Rmpp.segment.set(mad, 0, segment);
  Rmpp.payloadOrWindow.set(mad, 0, window);
  return parseMadPacket(buildMadPacket(gmpAddress(7, 1), mad))!;
}

function start(bytes: number, limits = DEFAULT_RMPP_LIMITS) {
  const sent: MadPacket[] = [];
  const sender = new RmppSender((packet) => sent.push(parseMadPacket(packet)!), limits);
  const data = Uint8Array.from({ length: bytes }, (_, i) => (i * 31) & 0xff);
  assert.ok(sender.start(header(), address, data, 0));
  return { sent, sender, data };
}

const segmentOf = (packet: MadPacket) => Rmpp.segment.get(packet.view, packet.madAt);
const flagsOf = (packet: MadPacket) => Rmpp.flags.get(packet.view, packet.madAt);
const lengthOf = (packet: MadPacket) => Rmpp.payloadOrWindow.get(packet.view, packet.madAt);

test("one segment: first and last, payload with the SA header's 20 bytes", () => {
  const { sent, sender } = start(112);
  assert.equal(sent.length, 1);
  assert.equal(flagsOf(sent[0]!), RmppFlag.ACTIVE | RmppFlag.FIRST | RmppFlag.LAST);
  assert.equal(lengthOf(sent[0]!), 132);
  assert.ok(sender.receive(ack(1, 65), 1));
  assert.equal(sender.active, 0);
  assert.equal(start(0).sent.length, 1, "an empty table is one empty segment");
});

test("segments follow the receiver's window; the receiver can put them together", () => {
  const { sent, sender, data } = start(1000 * 8);
  assert.equal(sent.length, 1, "the first window is 1");
  assert.equal(lengthOf(sent[0]!), 8000 + 40 * 20);
  sender.receive(ack(1, 9), 1);
  assert.deepEqual(sent.map(segmentOf), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  for (let acked = 9; acked < 40; acked = Math.min(40, acked + 8)) sender.receive(ack(acked, acked + 8), 2);
  assert.deepEqual(
    sent.map(segmentOf),
    Array.from({ length: 40 }, (_, i) => i + 1),
  );
  sender.receive(ack(40, 48), 3);
  assert.equal(sender.active, 0);
  assert.equal(sender.counts.completed, 1);
  const received = Buffer.concat(sent.map((packet) => packet.bytes.subarray(packet.madAt + SA_DATA_AT)));
  assert.deepEqual(new Uint8Array(received.subarray(0, data.length)), data);
  assert.equal(lengthOf(sent[1]!), 0, "in the middle");
  assert.equal(lengthOf(sent[39]!), 220);
});

test("lost ACKs: the window goes out again, then the transfer is given up", () => {
  const { sent, sender } = start(8000);
  sender.receive(ack(1, 3), 0);
  assert.equal(sent.length, 3);
  sender.step(DEFAULT_RMPP_LIMITS.timeoutNs);
  assert.deepEqual(sent.slice(3).map(segmentOf), [2, 3]);
  let nowNs = 0;
  for (let i = 0; i < 10; i++) {
    nowNs = sender.nextDeadlineNs();
    if (nowNs !== Number.POSITIVE_INFINITY) sender.step(nowNs);
  }
  assert.equal(sender.active, 0);
  assert.equal(sender.counts.abandoned, 1);
  assert.equal(sender.nextDeadlineNs(), Number.POSITIVE_INFINITY);
});

test("a receiver that opens its window again and again, but acknowledges nothing, is given up in time", () => {
  const { sender } = start(100 * SA_DATA_BYTES);
  let nowNs = 0;
  for (let window = 2; sender.active > 0 && nowNs < 60e9; window++, nowNs += 100e6) {
    sender.receive(ack(0, window), nowNs);
    sender.step(nowNs);
  }
  assert.equal(sender.counts.abandoned, 1);
  // five tries of 0.25 s, doubling
  assert.ok(nowNs > 7e9 && nowNs < 9e9, `after ${nowNs / 1e9} s`);
});

test("a receiver that acknowledges one segment at a time, as late as it may, does not keep a transfer for ever", () => {
  const { sender } = start(1000 * SA_DATA_BYTES);
  let nowNs = 0;
  for (let acked = 1; sender.active > 0 && nowNs < 120e9; acked++) {
    sender.receive(ack(acked, acked + 1), nowNs);
    for (const end = nowNs + 7e9; nowNs < end && sender.active > 0; nowNs += 50e6) sender.step(nowNs);
  }
  assert.equal(sender.counts.abandoned, 1);
  assert.ok(nowNs > 39e9 && nowNs < 41e9, `after ${nowNs / 1e9} s`);
  assert.equal(sender.nextDeadlineNs(), Number.POSITIVE_INFINITY);
});

test("nonsense from the receiver: ACKs beyond what was sent, repeated ones, ABORT", () => {
  const { sent, sender } = start(8000);
  sender.receive(ack(30, 40), 0);
  sender.receive(ack(5, 1), 0);
  assert.equal(sender.counts.badAcks, 2);
  sender.receive(ack(1, 0xffffffff), 0);
  assert.equal(sent.length, 40, "all of it, but no more than 64 ahead");
  sender.receive(ack(1, 0xffffffff), 0);
  assert.equal(sent.length, 40, "a repeated ACK sends nothing");
  assert.ok(sender.receive(ack(0, 0, RmppType.ABORT), 0));
  assert.equal(sender.active, 0);
  assert.equal(sender.receive(ack(1, 1, RmppType.DATA), 0), false, "not ours");
});

test("bounds: transfers to one LID, in all, and bytes", () => {
  const { sender } = start(100, { ...DEFAULT_RMPP_LIMITS, maxTransfersPerLid: 2, maxTransfers: 3, maxBytes: 1000 });
  const data = new Uint8Array(100);
  assert.ok(sender.start(header(), address, data, 0), "the same request again is under way already");
  assert.equal(sender.active, 1);
  assert.ok(sender.start(header(2n), address, data, 0));
  assert.equal(sender.start(header(3n), address, data, 0), false);
  assert.equal(sender.start(header(4n), gmpAddress(1, 8), new Uint8Array(900), 0), false);
  assert.ok(sender.start(header(4n), gmpAddress(1, 8), data, 0));
  assert.equal(sender.start(header(5n), gmpAddress(1, 9), data, 0), false);
  assert.ok(bytesOf(header()).length === 256);
});
