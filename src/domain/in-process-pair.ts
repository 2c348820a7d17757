// Two guests inside this process, joined by RC queue pairs: what the tour without VMs measures and what warms the engine up.

import { DriverCompletionQueue } from "../driver/completion-queue.ts";
import { Region } from "../driver/memory-region.ts";
import { DriverQueuePair, type SendRequest, type Sge } from "../driver/queue-pair.ts";
import { Access } from "../spec/hca/contexts.ts";
import { SendOpcode } from "../spec/hca/queues.ts";
import { PortState, Service } from "../spec/ib/numbers.ts";
import { InProcessFabric, type InProcessFabricOptions, type InProcessGuest } from "./in-process-fabric.ts";

const GUEST_MEMORY = 16 << 20;
/** Tables for little more than two queue pairs. */
const SMALL_TABLES = { logQps: 12, logCqs: 12, logMpts: 12, mtts: 8192 };
/** Largest message of the pair, in bytes. */
export const PAIR_MESSAGE_BYTES = 65536;
const STEPS_TO_ACTIVE_MAX = 1_000_000;
const CQ_ENTRIES = 255;
const ALL_ACCESS = Access.LOCAL_READ | Access.LOCAL_WRITE | Access.REMOTE_READ | Access.REMOTE_WRITE | Access.REMOTE_ATOMIC;

interface Side {
  guest: InProcessGuest;
  cq: DriverCompletionQueue;
  qp: DriverQueuePair;
  region: Region;
}

/** The operations between the two guests. */
export type PairOperation = "send" | "write" | "read" | "atomic";

export class InProcessPair {
  readonly system: InProcessFabric;
  readonly #near: Side;
  readonly #far: Side;

  /**
   * Brings two guests up and connects them.
   * @throws if the subnet manager does not bring their ports up
   */
  constructor(options: InProcessFabricOptions) {
    this.system = new InProcessFabric(options);
    const guests = ["n1", "n2"].map((name) => this.system.addGuest(name, GUEST_MEMORY, SMALL_TABLES));
    this.#waitForPorts();
    const [near, far] = guests.map(newSide);
    if (near === undefined || far === undefined) throw new Error("invariant: two guests");
    this.#near = near;
    this.#far = far;
    connect(near, far);
    connect(far, near);
    for (const side of [near, far]) side.qp.readyToSend({ remoteQpn: 0, dlid: 0 });
  }

  /** Accesses of both guests that went through a call instead of a store. */
  get trappedAccesses(): number {
    return this.#near.guest.node.access.trappedAccesses + this.#far.guest.node.access.trappedAccesses;
  }

  /** A function that carries one operation of `length` bytes (at most `PAIR_MESSAGE_BYTES`) out, up to its completion. */
  operation(kind: PairOperation, length: number): () => void {
    const { qp, cq } = this.#near;
    const far = this.#far;
    const { domain } = this.system;
    const request = this.#request(kind, length);
    const receive = [sge(far, PAIR_MESSAGE_BYTES)];
    return () => {
      if (kind === "send") far.qp.postReceive(receive);
      qp.postSend(request);
      while (cq.poll(1).length === 0) domain.step();
      if (kind === "send") far.cq.poll(1);
    };
  }

  #request(kind: PairOperation, length: number): SendRequest {
    const sges = [sge(this.#near, length)];
    const { virtualAddress, rkey } = this.#far.region;
    const remote = { remoteAddress: virtualAddress, rkey };
    switch (kind) {
      case "send":
        return { opcode: SendOpcode.SEND, sges };
      case "write":
        return { opcode: SendOpcode.RDMA_WRITE, sges, ...remote };
      case "read":
        return { opcode: SendOpcode.RDMA_READ, sges, ...remote };
      case "atomic":
        return { opcode: SendOpcode.ATOMIC_FA, sges, swapAdd: 1n, ...remote };
    }
  }

  #waitForPorts(): void {
    const { guests, domain } = this.system;
    for (let i = 0; guests.some((guest) => guest.port.state !== PortState.ACTIVE); i++) {
      domain.step();
      if (i === STEPS_TO_ACTIVE_MAX) throw new Error("the subnet manager did not bring the ports up");
    }
  }
}

const sge = (side: Side, length: number): Sge => ({ address: side.region.virtualAddress, length, lkey: side.region.lkey });

function newSide(guest: InProcessGuest): Side {
  const pd = guest.device.allocatePd();
  const cq = new DriverCompletionQueue(guest.device, CQ_ENTRIES, pd);
  const region = new Region(guest.device, guest.device.heap.allocate(PAIR_MESSAGE_BYTES), { pd, access: ALL_ACCESS });
  return { guest, cq, region, qp: new DriverQueuePair(guest.device, { service: Service.RC, pd, sendCq: cq, receiveCq: cq }) };
}

function connect(side: Side, other: Side): void {
  side.qp.init();
  side.qp.readyToReceive({ remoteQpn: other.qp.number, dlid: other.guest.port.lid });
}
