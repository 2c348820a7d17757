// Partitions of a topology as queue pairs of guests meet them, over the short path: what is not in one's partition does not exist.

import assert from "node:assert/strict";
import { test } from "node:test";
import { newDirectedSmp } from "../../src/mad/mad.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { RCV_DATA_SL } from "../../src/spec/ib/port-counters.ts";
import { SMP_DATA_AT } from "../../src/spec/mad/headers.ts";
import { Method, SmAttribute } from "../../src/spec/mad/numbers.ts";
import { CabledHosts } from "./cabled-hosts.ts";
import { Buffer64, type End, newQp } from "./pair.ts";

const LAB = `
switches: { s: { ports: 8 } }
hosts: { a: { switch: s }, b: { switch: s }, c: { switch: s }, d: { switch: s } }
partitions:
  blue: { pkey: 0x11, full: [a, b], limited: [c], sl: 2 }
  default: { limited: all }
`;
/** Index of the second P_Key of a port: blue's, where it has one. */
const BLUE = 1;

/** A write of `from` to `to` over RC, by the P_Keys at these indexes of their tables; returns its completion. */
function write(lab: CabledHosts, from: End, to: End, pkeyIndex = BLUE, pkeyIndexOfPeer = pkeyIndex): number {
  const source = new Buffer64(from, 64);
  const target = new Buffer64(to, 64);
  source.bytes.fill(0x5a);
  const [qp, peer] = [newQp(from, Service.RC), newQp(to, Service.RC)];
  const ends = [
    [qp, peer, to, pkeyIndex],
    [peer, qp, from, pkeyIndexOfPeer],
  ] as const;
  for (const [own, other, { wire }, index] of ends) {
    own.init({ pkeyIndex: index });
    own.readyToReceive({ remoteQpn: other.number, dlid: wire.lid });
    own.readyToSend({ remoteQpn: other.number, dlid: wire.lid, retryCount: 1, ackTimeout: 10 });
  }
  qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge(0, 64)], ...target.remote(0) });
  lab.elapse(2e9, 200);
  const [completion] = from.cq.poll();
  assert.ok(completion !== undefined);
  assert.equal(target.bytes[0] === 0x5a, completion.syndrome === 0);
  return completion.syndrome;
}

test("within a partition data flow; limited members reach full ones, strangers nobody", () => {
  const lab = new CabledHosts(LAB, ["a", "b", "c", "d"]);
  const [a, b, c, d] = lab.hosts as [End, End, End, End];
  assert.equal(write(lab, a, b), 0);
  assert.equal(write(lab, c, a), 0, "a limited and a full member");
  assert.equal(write(lab, a, b, 0), Syndrome.TRANSPORT_RETRY, "limited members of the default partition");
  assert.equal(write(lab, d, a, 0, BLUE), Syndrome.TRANSPORT_RETRY);
});

test("a guest that writes P_Keys into its own table gets no further", () => {
  const lab = new CabledHosts(LAB, ["a", "d"]);
  const [a, d] = lab.hosts as [End, End];
  const smp = newDirectedSmp([], Method.SET, SmAttribute.P_KEY_TABLE);
  smp.setUint16(SMP_DATA_AT, 0x7fff);
  smp.setUint16(SMP_DATA_AT + 2, 0x8011);
  const [, guest] = lab.system.guests;
  assert.ok(guest!.port.processMad(new Uint8Array(smp.buffer), new Uint8Array(256), { slid: 0, ignoreMkey: true }));
  assert.equal(guest!.port.pkeys[BLUE], 0x8011);
  assert.equal(write(lab, d, a), Syndrome.TRANSPORT_RETRY);
});

test("data are counted by service level, at both ends", () => {
  const lab = new CabledHosts(LAB, ["a", "b"]);
  const [a, b] = lab.hosts as [End, End];
  const [from, to] = lab.system.guests.map(({ port }) => port.slData);
  const before = [from![0] ?? 0, to![RCV_DATA_SL] ?? 0];
  assert.equal(write(lab, a, b), 0);
  const words = 64 / 4 + 6;
  assert.deepEqual([(from![0] ?? 0) - before[0]!, (to![RCV_DATA_SL] ?? 0) - before[1]!], [words, words]);
  assert.equal(to![RCV_DATA_SL + 3], 0);
});
