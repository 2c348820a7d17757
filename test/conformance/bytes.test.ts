// The device's bytes as a driver finds them, written out: docs "infinihost", appendix B. Everything else in these tests reads them
// through the same tables as the device writes them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Bar0 } from "../../src/spec/hca/registers.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { Buffer64, connect, datagramQp, type Guest, TestBed } from "../in-process/pair.ts";

/** `count` dwords of the guest's memory as hex. */
const dwords = (guest: Guest, at: number, count: number): string =>
  Array.from({ length: count }, (_, i) =>
    guest.node.access.memory.view
      .getUint32(at + 4 * i)
      .toString(16)
      .padStart(8, "0"),
  ).join(" ");

const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, "0");

test("QUERY_FW by seven stores to the command register (B1, 2.8.1)", () => {
  const bed = new TestBed(1);
  const { access } = bed[0].node;
  bed[0].device.commands.useEvents(false);
  const mailbox = 0x8000;
  access.memory.bytes.fill(0xee, mailbox, mailbox + 0x100);
  const words = [0, 0, 0, 0, access.dmaBase + mailbox, 0xffff0000, 0x00800004];
  for (const [i, word] of words.entries()) access.writeRegister(0x80680 + 4 * i, word >>> 0);
  bed.domain.settle();
  assert.equal(access.readRegister(0x80680 + 24), 0x00000004, "GO is clear, the status 0");
  const { bytes } = access.memory;
  const at = (offset: number, length: number): string =>
    bytes.subarray(mailbox + offset, mailbox + offset + length).toString("hex");
  assert.equal(at(0, 8), "0000000100000002", "no pages, firmware 1.2.0");
  assert.equal(bytes[mailbox + 0x0f], 4);
  assert.equal(at(0x20, 8), "00000000000f00d8");
  assert.equal(at(0x30, 12), "000000000008180000000010", "catastrophic-error buffer");
  assert.equal(at(0x40, 16), "00000000000808000000000000081000", "EQ arm and consumer indices");
});

test("ENABLE_LAM says that there is no attached memory (2.8.2), and NOP in event mode completes by an event (B2)", () => {
  const bed = new TestBed(1);
  const { access } = bed[0].node;
  const { device } = bed[0];
  const eq = device.eventQueues[2]!;
  access.onInterrupt(2, () => {});
  const before = dwords(bed[0], eq.region.block.at, 64);
  for (const [i, word] of [0, 0, 0x1f, 0, 0, 0x00100000, 0x00c00031].entries()) access.writeRegister(0x80680 + 4 * i, word);
  bed.domain.settle();
  const after = dwords(bed[0], eq.region.block.at, 64).split(" ");
  const changed = before.split(" ").flatMap((word, i) => (word === after[i] ? [] : [i]));
  const entry = Math.floor((changed[0] ?? 0) / 8) * 8;
  assert.equal(
    after.slice(entry, entry + 8).join(" "),
    "000a0000 00000010 00000000 00000000 00000000 00000000 00000000 00000000",
  );
  device.commands.useEvents(false);
  for (const [i, word] of [0, 0, 0, 0, 0, 0xffff0000, 0x00800ff8].entries()) access.writeRegister(0x80680 + 4 * i, word >>> 0);
  bed.domain.settle();
  assert.equal(access.readRegister(0x80680 + 24), 0x22000ff8);
});

test("an RC send, dword by dword: link, record, and the completions of both sides (B6, B9)", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1]);
  const source = new Buffer64(bed[0], 64);
  const target = new Buffer64(bed[1], 64);
  qpB.postReceive([target.sge()]);
  qpA.postSend({ opcode: SendOpcode.SEND, sges: [source.sge(0, 40)] });
  assert.equal(dwords(bed[0], qpA.sendSlotAt(-1), 2), `${hex(qpA.sqBase | 0x0a)} 00000082`, "the slot before says what comes");
  assert.equal(dwords(bed[0], qpA.sqRecord.at, 1), "00000001");
  bed.domain.settle();
  assert.equal(
    dwords(bed[0], bed[0].cq.region.block.at, 8),
    `${hex(qpA.number)} 00000000 00000000 00000000 00000000 00000000 ${hex(qpA.sqBase)} 0a800000`,
  );
  assert.equal(
    dwords(bed[1], bed[1].cq.region.block.at, 8),
    `${hex(qpB.number)} 00000000 00000000 00000000 00000000 00000028 00000000 04000000`,
  );
});

test("a send that fails, and a datagram received (B8, B10)", () => {
  const bed = new TestBed(2);
  const [qpA] = connect(bed[0], bed[1], Service.RC, { retryCount: 0, ackTimeout: 8 });
  bed.wires[1]!.setState(1);
  qpA.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(1), remoteAddress: 0n, rkey: 1 });
  bed.elapse(10e6);
  const [d0, , , , d4, , d6, d7] = dwords(bed[0], bed[0].cq.region.block.at, 8).split(" ");
  assert.deepEqual([d0, d4, d6, d7], [hex(qpA.number), "15000000", hex(qpA.sqBase), "ff000000"]);
  bed.wires[1]!.setState(4);
  const [from, to] = [datagramQp(bed[0]), datagramQp(bed[1])];
  const inbox = new Buffer64(bed[1], 200);
  for (let i = 0; i < 3; i++) to.postReceive([inbox.sge()]);
  for (let i = 0; i < 3; i++) {
    from.postSend({
      opcode: SendOpcode.SEND,
      inline: new Uint8Array(40),
      address: { dlid: 2 },
      remoteQpn: to.number,
      qkey: 0x1234,
    });
    bed.domain.settle();
  }
  const third = bed[1].cq.region.block.at + 2 * 32;
  assert.equal(
    dwords(bed[1], third, 8),
    `${hex(to.number)} 00000000 ${hex(from.number)} 00000001 00000000 00000050 ${hex(2 << to.logRqStride)} 64000000`,
  );
});

test("events: a completion and a port that becomes active, and how they are acknowledged (B7, B11-B13)", () => {
  const bed = new TestBed(2);
  const [qpA] = connect(bed[0], bed[1]);
  const [completions, asynchronous] = bed[0].device.eventQueues;
  for (const vector of [0, 1]) bed[0].node.access.onInterrupt(vector, () => {});
  bed[0].cq.arm();
  qpA.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(1), ...new Buffer64(bed[1], 8).remote() });
  bed.domain.settle();
  assert.equal(dwords(bed[0], completions!.region.block.at, 4), `00000000 ${hex(bed[0].cq.number)} 00000000 00000000`);
  assert.equal(bed[0].node.access.memory.bytes[completions!.region.block.at + 31], 0, "owner: software");
  bed.clients[0]!.portStateChanged(true);
  bed.domain.settle();
  assert.equal(dwords(bed[0], asynchronous!.region.block.at, 4), "00090004 00000000 00000000 10000000");
  completions!.handleInterrupt();
  assert.equal(bed[0].node.access.readRegister(Bar0.EQ_SET_CI + 8 * completions!.number), 1);
  assert.equal(bed[0].node.access.readRegister(0x80800 + 4), 1 << completions!.number);
});
