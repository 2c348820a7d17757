// Two guests for the `wqe` target: regions of every kind beside pages that belong to nobody, a shadow of all of it that the model
// changes, and pairs of queue pairs of every service.

import assert from "node:assert/strict";
import type { DriverQueuePair, Sge } from "../../src/driver/queue-pair.ts";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { Access, QpContext } from "../../src/spec/hca/contexts.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";
import { ALL_ACCESS, Buffer64, connect, datagramQp, fill, type Guest, TestBed } from "../in-process/pair.ts";

const MEMORY_BYTES = 2 << 20;
const PAGE = 4096;
export const REGION_BYTES = 3 * PAGE;
/** The page of the "holey" region that has no memory behind it. */
export const HOLE = { first: PAGE, end: 2 * PAGE } as const;
export const QKEY = 0x1234;

const ACCESS = {
  all: ALL_ACCESS,
  local: Access.LOCAL_READ | Access.LOCAL_WRITE,
  readonly: Access.LOCAL_READ | Access.REMOTE_READ,
  noAtomic: ALL_ACCESS & ~Access.REMOTE_ATOMIC,
  foreign: ALL_ACCESS,
  holey: ALL_ACCESS,
  gone: ALL_ACCESS,
} as const;
export type RegionKind = keyof typeof ACCESS;
export const REGION_KINDS = Object.keys(ACCESS) as RegionKind[];

/** A range of a region, as a segment of a WQE names it; it may leave the region. */
export interface Piece {
  region: RegionKind;
  offset: number;
  length: number;
}

/** One guest's regions with their shadow. */
export class Side {
  readonly guest: Guest;
  readonly buffers = new Map<RegionKind, Buffer64>();
  readonly shadow = new Map<RegionKind, Buffer>();
  readonly #canaries: Buffer[] = [];

  constructor(guest: Guest, seed: number) {
    this.guest = guest;
    for (const [i, kind] of REGION_KINDS.entries()) {
      this.#addCanary();
      const pd = kind === "foreign" ? guest.device.allocatePd() : guest.pd;
      const buffer = new Buffer64(guest, REGION_BYTES, { access: ACCESS[kind], pd });
      fill(buffer.bytes, seed + i);
      this.buffers.set(kind, buffer);
      this.shadow.set(kind, Buffer.from(buffer.bytes));
    }
    this.#addCanary();
    this.#makeHole();
    this.buffer("gone").region.deregister();
  }

  buffer(kind: RegionKind): Buffer64 {
    const buffer = this.buffers.get(kind);
    assert.ok(buffer);
    return buffer;
  }

  sge({ region, offset, length }: Piece): Sge {
    const { virtualAddress, lkey } = this.buffer(region).region;
    return { address: virtualAddress + BigInt(offset), length, lkey };
  }

  /** Whether the region behind a segment takes this access, as the driver has registered it. */
  isAllowed({ region, offset, length }: Piece, access: number): boolean {
    if (region === "gone" || region === "foreign" || (ACCESS[region] & access) !== access) return false;
    return offset >= 0 && offset + length <= REGION_BYTES;
  }

  /** All regions hold what the model says, and nothing beside them has changed. */
  check(): void {
    for (const [kind, buffer] of this.buffers) {
      const expected = this.shadow.get(kind);
      assert.ok(expected !== undefined);
      if (buffer.bytes.equals(expected)) continue;
      const at = buffer.bytes.findIndex((byte, i) => byte !== expected[i]);
      assert.fail(`${this.guest.node.name}: region "${kind}" differs from byte ${at}`);
    }
    for (const canary of this.#canaries) assert.ok(canary.equals(CANARY), "a page that belongs to nobody has changed");
  }

  /** Takes over what memory holds now, after something of which the model knows no more than where it may write. */
  accept(kinds: readonly RegionKind[]): void {
    for (const kind of kinds) this.shadow.set(kind, Buffer.from(this.buffer(kind).bytes));
  }

  #addCanary(): void {
    const block = this.guest.device.heap.allocate(PAGE);
    const bytes = this.guest.node.access.memory.bytes.subarray(block.at, block.at + PAGE);
    bytes.set(CANARY);
    this.#canaries.push(bytes);
  }

  /** Clears the present bit of the MTT of the second page. */
  #makeHole(): void {
    const { adapter } = this.guest.node.hca;
    const region = adapter.regions.at(adapter.regions.find(this.buffer("holey").region.lkey));
    assert.ok(region);
    const address = region.mttAddress + 8;
    assert.ok(adapter.icm.locate(Math.floor(address / PAGE), address % PAGE));
    adapter.dma.memory.view.setUint32(adapter.dma.at + 4, 0);
  }
}

const CANARY = Buffer.alloc(PAGE);
fill(CANARY, 99);

export const PAIR_KINDS = ["rc", "rcSrq", "uc", "ucSrq", "ud", "udSrq"] as const;
export type PairKind = (typeof PAIR_KINDS)[number];
const SERVICES: Record<PairKind, number> = {
  rc: Service.RC,
  rcSrq: Service.RC,
  uc: Service.UC,
  ucSrq: Service.UC,
  ud: Service.UD,
  udSrq: Service.UD,
};

/** A queue pair that sends and one that receives, the latter from a shared queue or its own. */
export interface Pair {
  kind: PairKind;
  service: number;
  sender: DriverQueuePair;
  receiver: DriverQueuePair;
  srq: DriverSharedReceiveQueue | undefined;
}

export class WqeWorld {
  readonly bed = new TestBed(2, { memoryBytes: MEMORY_BYTES });
  readonly near: Side;
  readonly far: Side;

  constructor(seed: number) {
    this.near = new Side(this.bed[0], seed);
    this.far = new Side(this.bed[1], seed + 50);
    for (const { device } of this.bed.guests) device.commands.useEvents(false);
  }

  newPair(kind: PairKind): Pair {
    const { bed } = this;
    const service = SERVICES[kind];
    const [a, b] = [bed[0], bed[1]];
    const srq = kind.endsWith("Srq") ? new DriverSharedReceiveQueue(b.device, { pd: b.pd, wqes: 15, sges: 4 }) : undefined;
    const small = { sendWqes: 16, receiveWqes: 16, sges: 6 };
    const optionsOfB = srq === undefined ? small : { ...small, srq };
    if (service === Service.UD) {
      return { kind, service, sender: datagramQp(a, QKEY, small), receiver: datagramQp(b, QKEY, optionsOfB), srq };
    }
    const connection = { rnrRetry: 1, minRnrTimer: 1, retryCount: 1, ackTimeout: 1 };
    const [sender, receiver] = connect(a, b, service, connection, small, optionsOfB);
    return { kind, service, sender, receiver, srq };
  }

  destroy(pair: Pair): void {
    pair.sender.destroy();
    pair.receiver.destroy();
    pair.srq?.destroy();
  }

  /** Lets everything happen that can happen, and all timers run out. */
  settle(): void {
    this.bed.domain.settle();
    this.bed.elapse(2_000_000, 8);
  }

  /** After an error of UC or UD: the send queue is started again. */
  restart(qp: DriverQueuePair): void {
    qp.transition(Command.SQERR2RTS_QP, QpState.RTS, 0);
  }
}

export const stateOf = (qp: DriverQueuePair): number => QpContext.state.get(qp.query(), 0);
