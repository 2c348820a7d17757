// Taps: a port's packets are seen once for each direction, only while somebody looks, and whoever is in the middle of something ends it the
// way it began.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { bthOpcode, OpcodeTransport, Operation } from "../../src/spec/ib/bth-opcode.ts";
import { Qpn } from "../../src/spec/ib/numbers.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { packet as parsed, parsePacket } from "../../src/transport/packets/packet.ts";
import { Buffer64, connect, datagramQp, fill, type Guest, TestBed } from "./pair.ts";

const LONG = 1 << 20;

interface Seen {
  isSent: boolean;
  opcode: number;
  psn: number;
  bytes: Buffer;
}

/** Taps a guest's port; what it sees from then on. */
function tap(bed: TestBed, guest: Guest): Seen[] {
  const seen: Seen[] = [];
  bed.domain.network.tap(guest.node.hca.adapter.ports[0]!, {
    keep: (memory, at, length, isSent) => {
      assert.ok(parsePacket(memory, at, length), "a packet");
      const bytes = Buffer.from(memory.bytes.subarray(parsed.bodyAt, parsed.bodyAt + parsed.bodyBytes));
      seen.push({ isSent, opcode: parsed.opcode, psn: parsed.psn, bytes });
    },
  });
  return seen;
}

const untap = (bed: TestBed, guest: Guest): void => bed.domain.network.untap(guest.node.hca.adapter.ports[0]!);
const packetsSent = ({ node }: Guest): number => node.hca.adapter.counters[AdapterCounter.packetsSent]!;
const rc = (operation: number): number => bthOpcode(OpcodeTransport.RC, operation);

function newWorld(length: number) {
  const bed = new TestBed(3, { packets: false });
  const [qpA, qpB] = connect(bed[0], bed[1]);
  const [source, target] = [new Buffer64(bed[0], length), new Buffer64(bed[1], length)];
  fill(source.bytes, 3);
  const write = (bytes = length): number =>
    qpA.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge(0, bytes)], ...target.remote() });
  return { bed, qpA, qpB, source, target, write };
}

for (const tapped of [0, 1]) {
  test(`a write of three packets, seen at the ${tapped === 0 ? "sender" : "receiver"}`, () => {
    const { bed, source, write } = newWorld(6000);
    const seen = tap(bed, bed.guests[tapped]!);
    write();
    bed.domain.settle();
    assert.deepEqual(
      seen.map(({ isSent, opcode, psn }) => [isSent === (tapped === 0), opcode, psn]),
      [
        [true, rc(Operation.WRITE_FIRST), 0],
        [true, rc(Operation.WRITE_MIDDLE), 1],
        [true, rc(Operation.WRITE_LAST), 2],
        [false, rc(Operation.ACKNOWLEDGE), 2],
      ],
    );
    const payload = Buffer.concat(seen.slice(0, 3).map(({ bytes }, index) => bytes.subarray(index === 0 ? 16 : 0)));
    assert.ok(payload.equals(source.bytes));
  });
}

test("messages of others take the short path", () => {
  const { bed, write } = newWorld(100);
  const seen = tap(bed, bed.guests[2]!);
  write();
  bed.domain.settle();
  assert.deepEqual([seen.length, packetsSent(bed[0])], [0, 0]);
});

test("a message that has begun ends on the short path; the next goes as packets", () => {
  const { bed, write, source, target } = newWorld(LONG);
  write();
  write(10);
  bed.domain.step();
  const seen = tap(bed, bed[0]);
  bed.domain.settle();
  assert.deepEqual(
    seen.map(({ opcode }) => opcode),
    [rc(Operation.WRITE_ONLY), rc(Operation.ACKNOWLEDGE)],
  );
  assert.ok(target.bytes.equals(source.bytes));
  assert.equal(bed[0].cq.poll().length, 2);
});

test("a queue that is never empty returns to the short path when the tap goes, and comes again", () => {
  const messages = 24;
  const packetsEach = 32;
  const { bed, write, source, target } = newWorld(packetsEach * 2048);
  for (let round = 0; round < 3; round++) {
    const before = packetsSent(bed[0]);
    const seen = tap(bed, bed[1]);
    for (let i = 0; i < messages; i++) write();
    for (let i = 0; i < 4; i++) bed.domain.step();
    untap(bed, bed[1]);
    bed.domain.settle();
    const sent = packetsSent(bed[0]) - before;
    assert.ok(seen.length > packetsEach && sent < (messages * packetsEach) / 2, `${seen.length} seen, ${sent} sent`);
    assert.equal(sent % packetsEach, 0, "whole messages");
    assert.ok(target.bytes.equals(source.bytes));
    target.bytes.fill(0);
    assert.deepEqual(new Set(bed[0].cq.poll().map(({ syndrome }) => syndrome)), new Set([0]));
  }
});

test("a datagram and a multicast are seen once at each port they concern", () => {
  const bed = new TestBed(3, { packets: false });
  const [qpA, qpB] = [datagramQp(bed[0]), datagramQp(bed[1])];
  const seen = bed.guests.map((guest) => tap(bed, guest));
  const datagram = { opcode: SendOpcode.SEND, inline: Uint8Array.of(1, 2, 3, 4, 5), qkey: 0x1234 };
  qpA.postSend({ ...datagram, remoteQpn: qpB.number, address: { dlid: bed[1].wire.lid } });
  const dgid = Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? 0xff : i));
  qpB.postSend({ ...datagram, remoteQpn: Qpn.MULTICAST, address: { dlid: 0xc000, dgid } });
  bed.domain.settle();
  assert.deepEqual(
    seen.map((each) => each.map(({ isSent }) => (isSent ? "sent" : "received"))),
    [["sent", "received"], ["sent", "received"], ["received"]],
  );
  for (const { bytes } of seen.flat()) assert.deepEqual([...bytes.subarray(8)], [1, 2, 3, 4, 5]);
});

test("more packets than the ring holds, from many HCAs at a time, do not stop the engine", () => {
  const bed = new TestBed(6, { packets: true });
  const flows = bed.guests.map((guest, index) => {
    const peer = bed.guests[(index + 1) % bed.guests.length]!;
    const [qp] = connect(guest, peer);
    return { guest, qp, source: new Buffer64(guest, LONG), target: new Buffer64(peer, LONG) };
  });
  for (const { source, target, qp } of flows) {
    fill(source.bytes, 7);
    for (let i = 0; i < 2; i++) qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge()], ...target.remote() });
  }
  bed.domain.settle();
  for (const { guest, source, target } of flows) {
    assert.deepEqual(
      guest.cq.poll().map(({ syndrome }) => syndrome),
      [0, 0],
    );
    assert.ok(target.bytes.equals(source.bytes));
  }
});
