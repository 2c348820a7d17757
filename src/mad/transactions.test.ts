import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../base/random.ts";
import { MadHeader } from "../spec/mad/headers.ts";
import { Method, MgmtClass, SmAttribute } from "../spec/mad/numbers.ts";
import { newRequest } from "./mad.ts";
import { buildMadPacket, DIRECTED_ROUTE, type MadPacket, parseMadPacket } from "./packet.ts";
import { Transactions } from "./transactions.ts";

function layer(maxOutstanding = 2) {
  const sent: Uint8Array[] = [];
  const transactions = new Transactions({
    send: (packet) => sent.push(packet),
    random: new Random(5),
    maxOutstanding,
    timeoutNs: 100,
    tries: 3,
  });
  const done: (MadPacket | undefined)[] = [];
  const ask = (group = 0) =>
    transactions.submit(
      {
        mad: newRequest(MgmtClass.SUBN_DIRECTED_ROUTE, Method.GET, SmAttribute.NODE_INFO),
        address: DIRECTED_ROUTE,
        group,
        onDone: (reply) => done.push(reply),
      },
      0,
    );
  return { sent, transactions, done, ask };
}

/** The response to a sent packet, changed by `bend`. */
function responseTo(packet: Uint8Array, bend: (mad: DataView) => void = () => {}): MadPacket {
  const parsed = parseMadPacket(packet.slice())!;
  const mad = new DataView(parsed.bytes.buffer, parsed.madAt, 256);
  MadHeader.method.set(mad, 0, Method.GET_RESP);
  bend(mad);
  return parseMadPacket(buildMadPacket(DIRECTED_ROUTE, mad))!;
}

test("at most so many are under way; an answer makes room", () => {
  const { sent, transactions, done, ask } = layer();
  for (let i = 0; i < 5; i++) ask();
  assert.equal(sent.length, 2);
  assert.equal(transactions.pending, 5);
  assert.ok(transactions.receive(responseTo(sent[1]!), 1));
  assert.equal(done.length, 1);
  assert.equal(sent.length, 3);
  assert.equal(transactions.receive(responseTo(sent[1]!), 1), false, "a second answer is nobody's");
});

test("tries wait twice as long each, then the request is given up", () => {
  const { sent, transactions, done, ask } = layer();
  ask();
  assert.equal(transactions.nextDeadlineNs(), 100);
  transactions.step(99);
  assert.equal(sent.length, 1);
  transactions.step(100);
  assert.equal(sent.length, 2);
  assert.deepEqual(sent[0], sent[1]);
  transactions.step(299);
  assert.equal(sent.length, 2);
  transactions.step(300);
  assert.equal(sent.length, 3);
  transactions.step(700);
  assert.deepEqual(done, [undefined]);
  assert.equal(transactions.pending, 0);
  assert.deepEqual(transactions.counts, { sent: 3, retried: 2, completed: 0, timedOut: 1, unmatched: 0 });
});

test("an answer must be one: transaction id, method, attribute, modifier", () => {
  const { sent, transactions, ask } = layer();
  ask();
  const bends: ((mad: DataView) => void)[] = [
    (mad) => MadHeader.tid.lo.set(mad, 0, MadHeader.tid.lo.get(mad, 0) + 1),
    (mad) => MadHeader.tid.hi.set(mad, 0, 0),
    (mad) => MadHeader.method.set(mad, 0, Method.GET),
    (mad) => MadHeader.attributeId.set(mad, 0, SmAttribute.PORT_INFO),
    (mad) => MadHeader.attributeModifier.set(mad, 0, 1),
    (mad) => MadHeader.mgmtClass.set(mad, 0, MgmtClass.SUBN_LID_ROUTED),
  ];
  for (const bend of bends) assert.equal(transactions.receive(responseTo(sent[0]!, bend), 1), false);
  assert.ok(transactions.receive(responseTo(sent[0]!), 1));
});

test("fresh: neither answered nor sent twice", () => {
  const { sent, transactions, ask } = layer(3);
  ask(1);
  ask(1);
  ask(2);
  assert.deepEqual([transactions.freshCount(1), transactions.freshCount(2)], [2, 1]);
  transactions.receive(responseTo(sent[0]!), 1);
  assert.equal(transactions.freshCount(1), 1);
  transactions.step(100);
  assert.deepEqual([transactions.freshCount(1), transactions.freshCount(2)], [0, 0]);
  transactions.receive(responseTo(sent[1]!), 101);
  assert.equal(transactions.freshCount(1), 0);
});
