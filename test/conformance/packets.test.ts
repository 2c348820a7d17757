// The wire protocol of RC and UC, packet by packet: what is sent, what answers it, what happens when something is lost, doubled or forged.
// IBA vol 1, sections beside each test.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { bthOpcode, OpcodeTransport, Operation } from "../../src/spec/ib/bth-opcode.ts";
import { Aeth, AtomicEth, Bth, ICRC_BYTES, Lrh, Reth } from "../../src/spec/ib/headers.ts";
import { AethKind, ackTimeoutNs, NakCode, Service } from "../../src/spec/ib/numbers.ts";
import { FaultyLink } from "../in-process/faulty-link.ts";
import { Buffer64, connect, fill, TestBed } from "../in-process/pair.ts";
import { stateOf, statuses } from "./kit.ts";

const { SEND, SEND_IMM, RDMA_WRITE, RDMA_READ, ATOMIC_FA } = SendOpcode;
const BTH_AT = Lrh.byteLength;
const BODY_AT = BTH_AT + Bth.byteLength;
const LAST_PSN = 0xffffff;

interface Seen {
  opcode: number;
  psn: number;
  bytes: Uint8Array;
  view: DataView;
}

/** Two guests, and all packets between them. */
class Wire {
  readonly bed = new TestBed(2);
  readonly link = new FaultyLink(this.bed, new Random(1), { loss: 0, duplicate: 0, reorder: 0 });
  readonly seen: Seen[] = [];
  /** Decides about each packet; false loses it. */
  decide: (packet: Seen) => boolean = () => true;
  readonly source = new Buffer64(this.bed[0], 16384);
  readonly target = new Buffer64(this.bed[1], 16384);

  constructor() {
    fill(this.source.bytes, 3);
    this.link.filter = (bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const packet = { opcode: Bth.opcode.get(view, BTH_AT), psn: Bth.psn.get(view, BTH_AT), bytes, view };
      this.seen.push(packet);
      return this.decide(packet);
    };
  }

  connect(service: number = Service.RC, options: Parameters<typeof connect>[3] = {}): [DriverQueuePair, DriverQueuePair] {
    return connect(this.bed[0], this.bed[1], service, { mtuCode: 1, ...options });
  }

  settle(): void {
    while (this.bed.domain.step() + this.link.step() > 0);
  }

  elapse(ns: number, steps = 50): void {
    for (let i = 0; i < steps; i++) {
      this.settle();
      this.bed.clock.advanceNs(ns / steps);
    }
    this.settle();
  }

  /** Names and PSNs of the packets since the last call. */
  take(): [string, number][] {
    return this.seen.splice(0).map(({ opcode, psn }) => [nameOf(opcode), psn]);
  }
}

const nameOf = (opcode: number): string =>
  Object.entries(Operation).find(([, operation]) => operation === (opcode & 0x1f))?.[0] ?? String(opcode);

const aethOf = ({ view }: Seen): { kind: number; code: number; msn: number } => {
  const syndrome = Aeth.syndrome.get(view, BODY_AT);
  return { kind: syndrome >>> 5, code: syndrome & 0x1f, msn: Aeth.msn.get(view, BODY_AT) };
};

test("a message is cut at the path MTU; its last packet asks for the ACK, its first carries the RETH (9.3, 9.7.2, 9.4.3)", () => {
  const wire = new Wire();
  const [qp, peer] = wire.connect(Service.RC, { sendPsn: LAST_PSN, receivePsn: LAST_PSN });
  qp.postSend({ opcode: RDMA_WRITE, sges: [wire.source.sge(0, 600)], ...wire.target.remote(8) });
  wire.settle();
  const packets = [...wire.seen];
  assert.deepEqual(wire.take(), [
    ["WRITE_FIRST", LAST_PSN],
    ["WRITE_MIDDLE", 0],
    ["WRITE_LAST", 1],
    ["ACKNOWLEDGE", 1],
  ]);
  const [first, , last, ack] = packets.map(({ view }) => view);
  assert.deepEqual(
    [Reth.dmaLength.get(first!, BODY_AT), Reth.va.getBig(first!, BODY_AT)],
    [600, wire.target.remote(8).remoteAddress],
  );
  assert.deepEqual(
    [first, last].map((view) => Bth.ackReq.get(view!, BTH_AT)),
    [0, 1],
  );
  for (const { view, bytes } of packets) {
    assert.equal(Lrh.packetLength.get(view, 0) * 4, bytes.length + ICRC_BYTES);
    assert.deepEqual([Lrh.vl.get(view, 0), Lrh.version.get(view, 0), Bth.version.get(view, BTH_AT)], [0, 0, 0]);
  }
  assert.deepEqual([Lrh.slid.get(first!, 0), Lrh.dlid.get(first!, 0), Bth.destQp.get(first!, BTH_AT)], [1, 2, peer.number]);
  assert.deepEqual([Lrh.slid.get(ack!, 0), Bth.destQp.get(ack!, BTH_AT)], [2, qp.number]);
  assert.deepEqual(statuses(wire.bed[0]), ["OK"]);
  assert.ok(wire.target.bytes.subarray(8, 608).equals(wire.source.bytes.subarray(0, 600)));
});

test("a payload is padded to words, and immediate data come before it (9.2.3, 9.3.6)", () => {
  const wire = new Wire();
  const [qp, peer] = wire.connect();
  peer.postReceive([wire.target.sge()]);
  qp.postSend({ opcode: SEND_IMM, inline: Uint8Array.of(1, 2, 3, 4, 5), immediate: 0x01020304, isSolicited: true });
  wire.settle();
  const { view, bytes } = wire.seen[0]!;
  assert.deepEqual([Bth.padCount.get(view, BTH_AT), Bth.solicitedEvent.get(view, BTH_AT)], [3, 1]);
  assert.deepEqual([...bytes.subarray(BODY_AT)], [1, 2, 3, 4, 1, 2, 3, 4, 5, 0, 0, 0]);
  assert.equal(wire.bed[1].cq.poll()[0]?.byteCount, 5);
});

test("a lost request: one NAK names the PSN, everything from there is sent again (9.7.5.1.1, 9.7.5.2.5)", () => {
  const wire = new Wire();
  const [qp] = wire.connect();
  let lost = 0;
  wire.decide = ({ psn, opcode }) => !(psn === 1 && opcode <= Operation.WRITE_ONLY && lost++ === 0);
  for (let i = 0; i < 5; i++) qp.postSend({ opcode: RDMA_WRITE, sges: [wire.source.sge(i, 1)], ...wire.target.remote(i) });
  wire.settle();
  const naks = wire.seen.filter((packet) => packet.opcode === Operation.ACKNOWLEDGE && aethOf(packet).kind === AethKind.NAK);
  assert.deepEqual(
    naks.map((nak) => [aethOf(nak).code, nak.psn]),
    [[NakCode.PSN_SEQUENCE, 1]],
  );
  const writes = wire.seen.filter(({ opcode }) => opcode === Operation.WRITE_ONLY).map(({ psn }) => psn);
  assert.deepEqual(writes, [0, 1, 2, 3, 4, 1, 2, 3, 4]);
  assert.deepEqual(statuses(wire.bed[0]), ["OK", "OK", "OK", "OK", "OK"]);
});

test("a lost ACK: the request comes again, is not executed again, and is acknowledged again (9.7.5.1.5)", () => {
  const wire = new Wire();
  const [qp, peer] = wire.connect(Service.RC, { ackTimeout: 8, retryCount: 1 });
  peer.postReceive([wire.target.sge(0, 64)]);
  peer.postReceive([wire.target.sge(64, 64)]);
  let acks = 0;
  wire.decide = ({ opcode }) => opcode !== Operation.ACKNOWLEDGE || acks++ > 0;
  qp.postSend({ opcode: SEND, inline: Uint8Array.of(7) });
  wire.elapse(3 * ackTimeoutNs(8));
  assert.deepEqual(wire.take(), [
    ["SEND_ONLY", 0],
    ["ACKNOWLEDGE", 0],
    ["SEND_ONLY", 0],
    ["ACKNOWLEDGE", 0],
  ]);
  assert.deepEqual([statuses(wire.bed[0]), statuses(wire.bed[1])], [["OK"], ["OK"]]);
});

test("a lost answer to an atomic: the kept result is sent again, the memory is not touched again (9.7.5.1.5)", () => {
  const wire = new Wire();
  const [qp] = wire.connect(Service.RC, { ackTimeout: 8, retryCount: 1 });
  wire.target.bytes.writeBigUInt64LE(40n, 0);
  let answers = 0;
  wire.decide = ({ opcode }) => opcode !== Operation.ATOMIC_ACKNOWLEDGE || answers++ > 0;
  qp.postSend({ opcode: ATOMIC_FA, sges: [wire.source.sge(0, 8)], ...wire.target.remote(), swapAdd: 2n });
  wire.elapse(3 * ackTimeoutNs(8));
  assert.deepEqual(statuses(wire.bed[0]), ["OK"]);
  assert.equal(wire.target.bytes.readBigUInt64LE(0), 42n);
  assert.equal(wire.source.bytes.readBigUInt64LE(0), 40n);
  const request = wire.seen.find(({ opcode }) => opcode === Operation.FETCH_ADD)!;
  assert.equal(AtomicEth.swapAdd.getBig(request.view, BODY_AT), 2n);
});

test("a lost response to a read: what is missing is asked for again, at its own PSN and address (9.7.5.1.2)", () => {
  const wire = new Wire();
  const [qp] = wire.connect();
  fill(wire.target.bytes, 9);
  let lost = 0;
  wire.decide = ({ opcode, psn }) => !(opcode === Operation.READ_RESPONSE_MIDDLE && psn === 2 && lost++ === 0);
  qp.postSend({ opcode: RDMA_READ, sges: [wire.source.sge(0, 1300)], ...wire.target.remote() });
  wire.settle();
  const requests = wire.seen.filter(({ opcode }) => opcode === Operation.READ_REQUEST);
  assert.deepEqual(
    requests.map(({ psn, view }) => [psn, Reth.dmaLength.get(view, BODY_AT)]),
    [
      [0, 1300],
      [2, 1300 - 512],
    ],
  );
  assert.deepEqual(statuses(wire.bed[0]), ["OK"]);
  assert.ok(wire.source.bytes.subarray(0, 1300).equals(wire.target.bytes.subarray(0, 1300)));
});

test("one ACK acknowledges everything before it (9.7.5.1.1)", () => {
  const wire = new Wire();
  const [qp] = wire.connect();
  for (let i = 0; i < 8; i++) qp.postSend({ opcode: RDMA_WRITE, sges: [wire.source.sge(i, 1)], ...wire.target.remote(i) });
  wire.settle();
  const acks = wire.seen.filter(({ opcode }) => opcode === Operation.ACKNOWLEDGE);
  assert.deepEqual([acks.length, acks[0]?.psn, aethOf(acks[0]!).msn], [1, 7, 8]);
  assert.equal(statuses(wire.bed[0]).length, 8);
});

test("nobody answers: the request goes out once and as often as there are retries, then fails (9.7.6.1)", () => {
  const wire = new Wire();
  const [qp] = wire.connect(Service.RC, { ackTimeout: 8, retryCount: 3 });
  wire.decide = () => false;
  qp.postSend({ opcode: SEND, inline: Uint8Array.of(7) });
  wire.elapse(3.5 * ackTimeoutNs(8), 350);
  assert.deepEqual([statuses(wire.bed[0]), wire.take().length], [[], 4]);
  wire.elapse(ackTimeoutNs(8), 100);
  assert.deepEqual([statuses(wire.bed[0]), wire.take().length, stateOf(qp)], [["TRANSPORT_RETRY"], 0, "ERR"]);
});

for (const [name, forge] of [
  ["too short", (view: DataView) => Bth.padCount.set(view, BTH_AT, 3)],
  ["of the wrong kind", (view: DataView) => Bth.opcode.set(view, BTH_AT, Operation.READ_RESPONSE_FIRST)],
  ["an atomic's", (view: DataView) => Bth.opcode.set(view, BTH_AT, Operation.ATOMIC_ACKNOWLEDGE)],
] as const) {
  test(`BAD_RESPONSE: an answer to a read that is ${name} (9.9.2.2, 9.9.2.4.2)`, () => {
    const wire = new Wire();
    const [qp] = wire.connect();
    wire.decide = ({ opcode, view }) => {
      if (opcode === Operation.READ_RESPONSE_ONLY) forge(view);
      return true;
    };
    qp.postSend({ opcode: RDMA_READ, sges: [wire.source.sge(0, 16)], ...wire.target.remote() });
    qp.postSend({ opcode: SEND, inline: Uint8Array.of(7) });
    wire.settle();
    assert.deepEqual([statuses(wire.bed[0]), stateOf(qp)], [["BAD_RESPONSE", "WR_FLUSHED"], "ERR"]);
  });
}

for (const [name, forge] of [
  ["a middle without a first", (view: DataView) => Bth.opcode.set(view, BTH_AT, Operation.WRITE_MIDDLE)],
  ["a send in the middle of a write", (view: DataView) => Bth.opcode.set(view, BTH_AT, Operation.SEND_LAST)],
  ["less than its RETH says", (view: DataView) => Reth.dmaLength.set(view, BODY_AT, 17)],
  ["an opcode that is none", (view: DataView) => Bth.opcode.set(view, BTH_AT, 0x1f)],
] as const) {
  test(`NAK "invalid request": ${name} (9.7.4.1.2, 9.7.4.1.5, 9.7.4.1.6)`, () => {
    const wire = new Wire();
    const [qp, peer] = wire.connect();
    wire.decide = ({ opcode, view }) => {
      if (opcode === Operation.WRITE_ONLY) forge(view);
      return true;
    };
    qp.postSend({ opcode: RDMA_WRITE, sges: [wire.source.sge(0, 16)], ...wire.target.remote() });
    wire.settle();
    assert.deepEqual([statuses(wire.bed[0]), stateOf(peer)], [["REMOTE_INVALID_REQUEST"], "ERR"]);
    assert.equal(wire.target.bytes[1], 0, "nothing was written");
  });
}

test("a write with immediate data takes a receive WQE, and does not look at the memory that it names (9.4.3, 10.7.2.2)", () => {
  const wire = new Wire();
  const [qp, peer] = wire.connect();
  peer.postReceive([{ ...wire.target.sge(), lkey: 0x4242 }]);
  qp.postSend({ opcode: SendOpcode.RDMA_WRITE_IMM, sges: [wire.source.sge(0, 600)], immediate: 5, ...wire.target.remote() });
  wire.settle();
  assert.deepEqual([statuses(wire.bed[0]), stateOf(peer)], [["OK"], "RTS"]);
  assert.deepEqual(
    wire.bed[1].cq.poll().map(({ byteCount, immediate }) => [byteCount, immediate]),
    [[600, 5]],
  );
});

test("UC: a message that loses a packet is lost whole, the next one takes its receive (9.8.2.2)", () => {
  const wire = new Wire();
  const [qp, peer] = wire.connect(Service.UC);
  peer.postReceive([wire.target.sge(0, 1024)]);
  wire.decide = ({ psn }) => psn !== 1;
  qp.postSend({ opcode: SEND, sges: [wire.source.sge(0, 700)] });
  qp.postSend({ opcode: SEND, sges: [wire.source.sge(1000, 700)] });
  wire.settle();
  assert.deepEqual(
    wire.seen.map(({ opcode }) => opcode === bthOpcode(OpcodeTransport.UC, opcode & 0x1f)),
    [true, true, true, true, true, true],
  );
  assert.deepEqual([statuses(wire.bed[0]), statuses(wire.bed[1])], [["OK", "OK"], ["OK"]]);
  assert.ok(wire.target.bytes.subarray(0, 700).equals(wire.source.bytes.subarray(1000, 1700)));
});

for (const [name, forge] of [
  ["another LID", (view: DataView) => Lrh.slid.set(view, 0, 3)],
  ["another P_Key", (view: DataView) => Bth.pkey.set(view, BTH_AT, 0x7123)],
  ["a QP that is not there", (view: DataView) => Bth.destQp.set(view, BTH_AT, 0x99)],
  ["another service", (view: DataView) => Bth.opcode.set(view, BTH_AT, bthOpcode(OpcodeTransport.UC, Operation.WRITE_ONLY))],
] as const) {
  test(`packets that are not the connection's are dropped: ${name} (9.6.1)`, () => {
    const wire = new Wire();
    const [qp, peer] = wire.connect(Service.RC, { ackTimeout: 8, retryCount: 0 });
    wire.decide = ({ view }) => {
      forge(view);
      return true;
    };
    qp.postSend({ opcode: RDMA_WRITE, inline: Uint8Array.of(1), ...wire.target.remote() });
    wire.elapse(2 * ackTimeoutNs(8));
    assert.deepEqual([statuses(wire.bed[0]), stateOf(peer), wire.target.bytes[0]], [["TRANSPORT_RETRY"], "RTS", 0]);
  });
}
