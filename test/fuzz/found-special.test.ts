// What fuzzing has found at QP0 and QP1. docs/fuzzing.md.

import assert from "node:assert/strict";
import { test } from "node:test";
import { buildMadPacket, gmpAddress, smpAddress } from "../../src/mad/packet.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Lrh } from "../../src/spec/ib/headers.ts";
import { Lid, Service } from "../../src/spec/ib/numbers.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { receivePacket } from "../../src/transport/special.ts";
import { Buffer64, datagramQp, type Guest, newQp, TestBed } from "../in-process/pair.ts";
import { syndromes } from "./found-kit.ts";

/** QP0 of a guest with a receive posted. */
function smiQp(guest: Guest): Buffer64 {
  const qp = newQp(guest, Service.MLX, { number: guest.device.specialQpBase });
  qp.init();
  qp.readyToReceive();
  const buffer = new Buffer64(guest, 512);
  qp.postReceive([buffer.sge()]);
  return buffer;
}

const packetOf = (vl: number, dlid: number, destQp: number): Uint8Array => {
  const address = destQp === 0 ? smpAddress(1, dlid) : { ...gmpAddress(1, dlid), destQp, qkey: 0x1234 };
  const packet = buildMadPacket(address, new DataView(new ArrayBuffer(256)));
  Lrh.vl.set(new DataView(packet.buffer, packet.byteOffset, packet.byteLength), 0, vl);
  return packet;
};

test("QP0 takes packets of VL 15 only, and VL 15 carries packets for QP0 only", () => {
  const bed = new TestBed(1);
  const [guest] = bed.guests as [Guest];
  const port = guest.node.hca.adapter.ports[0]!;
  smiQp(guest);
  const qp = datagramQp(guest);
  qp.postReceive([new Buffer64(guest, 512).sge()]);
  const { lid } = guest.wire;
  receivePacket(port, packetOf(0, lid, 0));
  receivePacket(port, packetOf(15, lid, qp.number));
  receivePacket(port, packetOf(15, Lid.PERMISSIVE, qp.number));
  assert.deepEqual(syndromes(guest), []);
  assert.equal(guest.node.hca.adapter.counters[AdapterCounter.droppedBadPacket], 3);
  receivePacket(port, packetOf(15, Lid.PERMISSIVE, 0));
  receivePacket(port, packetOf(0, lid, qp.number));
  assert.deepEqual(syndromes(guest), [0, 0]);
});

test("the internal number of QP0 is no address: a UD QP that sends to it reaches nobody", () => {
  const bed = new TestBed(2);
  smiQp(bed[1]);
  const qp = datagramQp(bed[0]);
  const remoteQpn = bed[1].device.specialQpBase;
  qp.postSend({ opcode: SendOpcode.SEND, inline: Uint8Array.of(1), address: { dlid: bed[1].wire.lid }, remoteQpn, qkey: 0x9999 });
  bed.domain.settle();
  assert.deepEqual([syndromes(bed[0]), syndromes(bed[1])], [[0], []]);
  receivePacket(bed[1].node.hca.adapter.ports[0]!, packetOf(0, bed[1].wire.lid, remoteQpn));
  assert.deepEqual(syndromes(bed[1]), []);
  assert.equal(bed[1].node.hca.adapter.counters[AdapterCounter.droppedNoQp], 2);
});
