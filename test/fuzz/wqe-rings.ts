// Queue pairs whose contexts lie about their rings: where they start, how long they and their entries are, in a region that ends
// where guest memory ends. The WQEs are whatever lies there. Nothing outside what is registered may change, and nothing throws.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import { Region } from "../../src/driver/memory-region.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { AddressPath, PRIMARY_PATH_AT, QpContext } from "../../src/spec/hca/contexts.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";
import { type Guest, newQp } from "../in-process/pair.ts";
import { number32 } from "./values.ts";
import type { WqeWorld } from "./wqe-world.ts";

const PAGE = 4096;
const RING_PAGES = 2;
const RING_BYTES = RING_PAGES * PAGE;

/** A region over the last pages of a guest's memory, which nobody else uses. */
export function lastPages(guest: Guest): Region {
  const { memory, dmaBase } = guest.node.access;
  const at = memory.bytes.length - RING_BYTES;
  const block = { at, bytes: RING_BYTES, dmaAddress: dmaBase + at };
  return new Region(guest.device, block, { pd: guest.pd, access: 0, virtualAddress: 0n });
}

/** Fills a ring with words that look like links, controls and segments. */
function scribble(random: Random, world: WqeWorld, region: Region): void {
  const { guest } = world.near;
  const { view } = guest.node.access.memory;
  const lkey = world.near.buffer("all").region.lkey;
  const address = Number(world.near.buffer("all").region.virtualAddress);
  const words = [
    0,
    8,
    9,
    63,
    SendOpcode.SEND,
    SendOpcode.RDMA_WRITE,
    64,
    lkey,
    address,
    guest.pd,
    0x80000010,
    (1 << 24) | guest.pd,
  ];
  for (let at = 0; at < RING_BYTES; at += 4) {
    view.setUint32(region.block.at + at, random.chance(0.95) ? random.pick(words) : random.u32());
  }
}

/** A base in a ring region: the ends of pages are where it matters. */
const base = (random: Random): number =>
  random.chance(0.9) ? random.below(RING_PAGES + 1) * PAGE - random.pick([0, 16, 20, 64, 100, random.below(PAGE)]) : random.u32();

/** One such queue pair, connected to itself or to nobody; returns the WQEs posted. */
export function postOnLyingRing(random: Random, world: WqeWorld, region: Region): DriverQueuePair {
  const { guest } = world.near;
  scribble(random, world, region);
  const service = random.pick([Service.RC, Service.UC, Service.UD]);
  const qp = newQp(guest, service, { sendWqes: 4, receiveWqes: 4 });
  const sizes = [2, 2, 1, 0, number32(random, 4)];
  qp.transition(Command.RST2INIT_QP, QpState.INIT, 0, (view, at) => {
    QpContext.sendCqn.set(view, at, guest.cq.number);
    QpContext.receiveCqn.set(view, at, guest.cq.number);
    QpContext.wqeLkey.set(view, at, region.lkey);
    QpContext.sqBase.set(view, at, base(random) >>> 0);
    QpContext.rqBase.set(view, at, base(random) >>> 0);
    QpContext.logSqSize.set(view, at, random.pick(sizes));
    QpContext.logRqSize.set(view, at, random.pick(sizes));
    QpContext.logSqStride.set(view, at, random.below(8));
    QpContext.logRqStride.set(view, at, random.below(8));
    QpContext.qkey.set(view, at, 0);
    AddressPath.port.set(view, at + PRIMARY_PATH_AT, 1);
  });
  const connection = { remoteQpn: qp.number, dlid: guest.wire.lid, rnrRetry: 0, minRnrTimer: 1, retryCount: 0, ackTimeout: 1 };
  qp.readyToReceive(service === Service.UD ? undefined : connection);
  qp.readyToSend(service === Service.UD ? undefined : connection);
  const { view } = guest.node.access.memory;
  view.setUint32(qp.rqRecord.at, random.below(6));
  qp.sendPosted = random.below(6);
  qp.publishSends();
  return qp;
}

/** The ring region still holds what the driver wrote. */
export function assertUntouched(guest: Guest, region: Region, before: Buffer): void {
  const { bytes } = guest.node.access.memory;
  assert.ok(bytes.subarray(region.block.at, region.block.at + RING_BYTES).equals(before), "the device wrote into a ring");
}

export const copyOf = (guest: Guest, region: Region): Buffer =>
  Buffer.from(guest.node.access.memory.bytes.subarray(region.block.at, region.block.at + RING_BYTES));
