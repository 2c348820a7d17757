// Two guests with a driver each on one fabric, for tests that move data.

import { SimClock } from "../../src/base/clock.ts";
import { InProcessDomain, type InProcessNode } from "../../src/domain/in-process.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { Device } from "../../src/driver/device.ts";
import { Region } from "../../src/driver/memory-region.ts";
import { type ConnectOptions, DriverQueuePair, type QueuePairOptions, type Sge } from "../../src/driver/queue-pair.ts";
import type { Quota } from "../../src/hca/limits.ts";
import { Access } from "../../src/spec/hca/contexts.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import type { WireClient } from "../../src/transport/wire.ts";
import { StubWire } from "./stub-wire.ts";

export const ALL_ACCESS =
  Access.LOCAL_READ | Access.LOCAL_WRITE | Access.REMOTE_READ | Access.REMOTE_WRITE | Access.REMOTE_ATOMIC;

/** `npm run test:packets`: the tests that can are run a second time with every message cut into packets. */
export const usesPackets = process.env.VHCA_TEST_PACKETS === "1";

/** One guest with its driver and what most tests need, on any fabric. */
export interface End {
  node: InProcessNode;
  device: Device;
  wire: { readonly lid: number };
  pd: number;
  cq: DriverCompletionQueue;
}

/** One of a test bed, where the wires are the test's own. */
export interface Guest extends End {
  wire: StubWire;
}

export interface TestBedOptions {
  isMapped?: boolean;
  memoryBytes?: number;
  /** LIDs of each port, as a logarithm. */
  lmc?: number;
  interrupts?: "msix" | "intx";
  quota?: Partial<Quota>;
  /** Messages go as packets, as they would between two engines. */
  packets?: boolean;
}

export class TestBed {
  readonly clock = new SimClock();
  readonly domain: InProcessDomain;
  readonly wires: StubWire[] = [];
  readonly guests: Guest[] = [];
  /** What the fabric would call, guest by guest. */
  readonly clients: WireClient[] = [];
  readonly #options: TestBedOptions;

  constructor(count: number, options: TestBedOptions = {}) {
    this.#options = options;
    this.domain = new InProcessDomain({ clock: this.clock, isMapped: options.isMapped ?? true });
    if (options.packets ?? usesPackets) this.domain.network.setPath("packets");
    for (let i = 0; i < count; i++) this.addGuest(options.memoryBytes ?? 16 << 20);
  }

  addGuest(memoryBytes = 16 << 20): Guest {
    const { lmc, interrupts, quota } = this.#options;
    const wire = new StubWire(this.wires, lmc);
    const node = this.domain.addNode(`n${this.wires.length}`, memoryBytes, wire, (client) => this.clients.push(client), quota);
    const device = new Device(node.access, {
      ...{ logQps: 12, logCqs: 12, logMpts: 12, mtts: 8192 },
      ...(interrupts === undefined ? {} : { interrupts }),
    });
    const pd = device.allocatePd();
    const guest = { node, device, wire, pd, cq: new DriverCompletionQueue(device, 255, pd) };
    this.guests.push(guest);
    return guest;
  }

  /** Lets `ns` pass in steps, with everything that becomes due in between. */
  elapse(ns: number, steps = 20): void {
    for (let i = 0; i < steps; i++) {
      this.clock.advanceNs(ns / steps);
      this.domain.settle();
    }
  }

  get 0(): Guest {
    return this.guests[0]!;
  }

  get 1(): Guest {
    return this.guests[1]!;
  }
}

/** A buffer registered with all access rights. */
export class Buffer64 {
  readonly region: Region;
  readonly bytes: Buffer;

  constructor(
    guest: End,
    length: number,
    options: { access?: number; virtualAddress?: bigint; pageBytes?: number; pd?: number } = {},
  ) {
    const block = guest.device.heap.allocate(length, options.pageBytes);
    this.region = new Region(guest.device, block, {
      pd: options.pd ?? guest.pd,
      access: options.access ?? ALL_ACCESS,
      length,
      ...(options.virtualAddress === undefined ? {} : { virtualAddress: options.virtualAddress }),
      ...(options.pageBytes === undefined ? {} : { pageBytes: options.pageBytes }),
    });
    this.bytes = guest.node.access.memory.bytes.subarray(block.at, block.at + length);
  }

  sge(offset = 0, length = this.bytes.length - offset): Sge {
    return { address: this.region.virtualAddress + BigInt(offset), length, lkey: this.region.lkey };
  }

  remote(offset = 0): { remoteAddress: bigint; rkey: number } {
    return { remoteAddress: this.region.virtualAddress + BigInt(offset), rkey: this.region.rkey };
  }
}

export function newQp(guest: End, service: number, options: Partial<QueuePairOptions> = {}): DriverQueuePair {
  return new DriverQueuePair(guest.device, { service, pd: guest.pd, sendCq: guest.cq, receiveCq: guest.cq, ...options });
}

/** A connected pair of QPs, one on each guest (or both on one). */
export function connect(
  a: End,
  b: End,
  service: number = Service.RC,
  connection: Partial<ConnectOptions> = {},
  options: Partial<QueuePairOptions> = {},
  optionsOfB: Partial<QueuePairOptions> = options,
  connectionOfB: Partial<ConnectOptions> = {},
): [DriverQueuePair, DriverQueuePair] {
  const qpA = newQp(a, service, options);
  const qpB = newQp(b, service, optionsOfB);
  const ends = [
    [qpA, qpB, b, connection],
    [qpB, qpA, a, { ...connection, ...connectionOfB }],
  ] as const;
  for (const [qp, other, guest, attributes] of ends) {
    qp.init();
    qp.readyToReceive({ remoteQpn: other.number, dlid: guest.wire.lid, ...attributes });
  }
  for (const [qp, other, guest, attributes] of ends) {
    qp.readyToSend({ remoteQpn: other.number, dlid: guest.wire.lid, ...attributes });
  }
  return [qpA, qpB];
}

/** A datagram QP ready to send. */
export function datagramQp(guest: End, qkey = 0x1234, options: Partial<QueuePairOptions> = {}): DriverQueuePair {
  const qp = newQp(guest, Service.UD, options);
  qp.init({ qkey });
  qp.readyToReceive();
  qp.readyToSend();
  return qp;
}

export function fill(bytes: Uint8Array, seed: number): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31 + seed * 17 + (i >> 8)) & 0xff;
}
