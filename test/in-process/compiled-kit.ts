// Two guests whose plain requests are carried out by the compiled program, and a look at whether they really were. To be imported before
// anything makes a test bed.

import "./compiled.ts";
import assert from "node:assert/strict";
import { DriverError } from "../../src/driver/access.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import type { DriverQueuePair, QueuePairOptions, SendRequest } from "../../src/driver/queue-pair.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { Mpt } from "../../src/spec/hca/contexts.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import type { CompiledRequests } from "../../src/transport/plain/compiled-requests.ts";
import { ALL_ACCESS, Buffer64, connect, type Guest, TestBed, type TestBedOptions } from "./pair.ts";

export class CompiledBed extends TestBed {
  constructor(count = 2, options: TestBedOptions = {}) {
    // Packets go another way.
    super(count, { ...options, packets: false });
  }

  get compiled(): CompiledRequests {
    const { compiled } = this.domain.network;
    assert.ok(compiled, "the test bed has no compiled program");
    return compiled;
  }

  /** Messages that the program carries out during `act` and until everything is done. */
  messagesDuring(act: () => void): number {
    const before = this.compiled.messages;
    act();
    this.domain.settle();
    return this.compiled.messages - before;
  }

  /** Two queue pairs that the program looks at: the first has written twice. */
  hotPair(a: Guest, b: Guest, options: Partial<QueuePairOptions> = {}): [DriverQueuePair, DriverQueuePair] {
    const pair = connect(a, b, undefined, {}, options);
    this.heat(pair[0], a, b);
    return pair;
  }

  /** Lets a connected queue pair of `a` write to `b`, twice: by the general way, then by the program. */
  heat(qp: DriverQueuePair, a: Guest, b: Guest): void {
    const target = new Buffer64(b, 8);
    const write = (): void => {
      qp.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(1), ...target.remote() });
    };
    for (const messages of [0, 1]) {
      assert.equal(this.messagesDuring(write), messages, "the second write is carried out by the program");
      for (const guest of [a, b]) guest.cq.poll();
    }
    target.region.deregister();
    this.domain.settle();
  }

  /** Syndromes of a guest's new completions. */
  syndromes(guest: Guest): number[] {
    return guest.cq.poll().map(({ syndrome }) => syndrome);
  }
}

/** A request, and whether the program carries it out (by default it does) and with what syndromes it completes at either end. */
export interface Expected {
  isByProgram?: boolean;
  near?: number[];
  far?: number[];
}

/** Posts a request on a hot connection of `near` and holds what comes of it to what is expected. */
export function assertPosted(
  bed: CompiledBed,
  [near, far]: readonly [Guest, Guest],
  qp: DriverQueuePair,
  request: SendRequest,
  { isByProgram = true, near: atNear = [0], far: atFar = [] }: Expected = {},
): void {
  assert.equal(
    bed.messagesDuring(() => qp.postSend(request)),
    isByProgram ? 1 : 0,
    isByProgram ? "carried out by the program" : "left alone by the program",
  );
  assert.deepEqual(bed.syndromes(near), atNear);
  if (far !== near) assert.deepEqual(bed.syndromes(far), atFar);
}

export interface RawRegion {
  start: bigint;
  length: bigint;
  /** ICM address of its first entry. */
  mttAddress: number;
  access?: number;
  pd?: number;
  logPage?: number;
  /** Addresses are DMA addresses. */
  isPhysical?: boolean;
  /** In the table; else the next free one. */
  index?: number;
}

/** Registers a region by hand; returns its key, undefined if the device refuses it. */
export function registerRaw({ device, pd }: Guest, region: RawRegion): number | undefined {
  const index = region.index ?? device.mptIndexes.allocate();
  try {
    device.commands.run(Command.SW2HW_MPT, {
      modifier: index,
      input: (view, at) => {
        view.setUint32(at, (0xf0000000 | (region.access ?? ALL_ACCESS)) >>> 0, false);
        Mpt.region.set(view, at, 1);
        Mpt.key.set(view, at, index);
        Mpt.pd.set(view, at, region.pd ?? pd);
        Mpt.logPageSize.set(view, at, (region.logPage ?? 12) - 12);
        Mpt.physical.set(view, at, region.isPhysical === true ? 1 : 0);
        Mpt.start.setBig(view, at, region.start);
        Mpt.length.setBig(view, at, region.length);
        Mpt.mttAddress.setBig(view, at, BigInt(region.mttAddress));
      },
    });
  } catch (error) {
    if (error instanceof DriverError) return undefined;
    throw error;
  }
  return ((index << 8) | (index >>> 24)) >>> 0;
}

/** A pair on which the first end writes; the target is at the second. */
export function writers(cqEntries?: number) {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const sendCq = cqEntries === undefined ? a.cq : new DriverCompletionQueue(a.device, cqEntries, a.pd);
  const end = { ...a, cq: sendCq };
  const [qp, peer] = connect(end, b);
  bed.heat(qp, end, b);
  const target = new Buffer64(b, 64);
  const write = (byte: number): void => {
    qp.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(byte), ...target.remote() });
  };
  return { bed, a: end, b, qp, peer, target, write };
}

/** The state of a queue pair in its device. */
export const stateOf = ({ node }: Guest, { number }: DriverQueuePair): number | undefined =>
  node.hca.adapter.qps.find(number)?.state;

/** Types of the asynchronous events that a guest has had. */
export const asyncTypes = ({ device }: Guest): number[] => device.asyncEvents.map(({ type }) => type);
