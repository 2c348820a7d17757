// What fuzzing has found in the rings of WQEs. docs/fuzzing.md.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Region } from "../../src/driver/memory-region.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { AddressPath, PRIMARY_PATH_AT, QpContext } from "../../src/spec/hca/contexts.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";
import { type Guest, newQp, TestBed } from "../in-process/pair.ts";
import { syndromes } from "./found-kit.ts";

const PAGE = 4096;

/** The last page of the guest's memory, whoever has it. */
function lastPageOf(guest: Guest): { at: number; bytes: number; dmaAddress: number } {
  const { memory, dmaBase } = guest.node.access;
  const at = memory.bytes.length - PAGE;
  return { at, bytes: PAGE, dmaAddress: dmaBase + at };
}

test("a WQE that begins 16 bytes before the end of guest memory is refused, and nobody reads on", () => {
  const bed = new TestBed(2);
  const [guest] = bed.guests as [Guest];
  const { heap } = guest.device;
  heap.allocate((heap.freePages - 40) * PAGE);
  const qp = newQp(guest, Service.UD, { sendWqes: 64, receiveWqes: 1 });
  while (heap.freePages > 0) heap.allocate(PAGE);
  const last = new Region(guest.device, lastPageOf(guest), { pd: guest.pd, access: 0, virtualAddress: 0n });
  const set = (view: DataView, at: number): void => {
    QpContext.sendCqn.set(view, at, guest.cq.number);
    QpContext.receiveCqn.set(view, at, guest.cq.number);
    QpContext.wqeLkey.set(view, at, last.lkey);
    // Slot 1 begins 16 bytes before the end of the page and of memory.
    QpContext.logSqSize.set(view, at, 1);
    QpContext.sqBase.set(view, at, PAGE - 16 - (1 << qp.logSqStride));
    AddressPath.port.set(view, at + PRIMARY_PATH_AT, 1);
  };
  const { view } = guest.node.access.memory;
  const page = lastPageOf(guest).at;
  // Slot 0 is a NOP of 16 bytes, as slot 1 says; slot 1 is a send of the whole stride, as slot 0 says.
  view.setUint32(page + PAGE - 16 + 4, 1);
  view.setUint32(page + PAGE - 16 - (1 << qp.logSqStride), SendOpcode.SEND);
  view.setUint32(page + PAGE - 16 - (1 << qp.logSqStride) + 4, (1 << qp.logSqStride) / 16);
  qp.transition(Command.RST2INIT_QP, QpState.INIT, 0, set);
  qp.readyToReceive();
  qp.readyToSend();
  qp.sendPosted = 2;
  qp.publishSends();
  bed.domain.settle();
  assert.deepEqual(syndromes(guest), [Syndrome.LOCAL_PROTECTION]);
});
