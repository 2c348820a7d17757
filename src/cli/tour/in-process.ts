// The tour without VMs: the same HCA, driven by our own driver from two guests inside this process. It shows that the device
// works; its figures are those of function calls and are not to be compared with a VM's.

import { performance } from "node:perf_hooks";
import { Random } from "../../base/random.ts";
import { InProcessFabric, type InProcessGuest } from "../../domain/in-process-fabric.ts";
import { DriverCompletionQueue } from "../../driver/completion-queue.ts";
import { Region } from "../../driver/memory-region.ts";
import { DriverQueuePair, type SendRequest } from "../../driver/queue-pair.ts";
import { systemClock } from "../../host/clock.ts";
import { Access } from "../../spec/hca/contexts.ts";
import { SendOpcode } from "../../spec/hca/queues.ts";
import { PortState, Service } from "../../spec/ib/numbers.ts";
import { printLine } from "../output.ts";
import type { Figure } from "./pair.ts";

const GUEST_MEMORY = 32 << 20;
const PORT_TIMEOUT_MS = 5_000;
const WARM_UP = 2_000;
const LATENCY_ROUNDS = 5_000;
const BANDWIDTH_ROUNDS = 2_000;
const SMALL = 8;
const LARGE = 65536;
const ALL_ACCESS = Access.LOCAL_READ | Access.LOCAL_WRITE | Access.REMOTE_READ | Access.REMOTE_WRITE | Access.REMOTE_ATOMIC;

interface Side {
  guest: InProcessGuest;
  cq: DriverCompletionQueue;
  qp: DriverQueuePair;
  region: Region;
}

/** Brings up two guests and measures each operation between them. */
export function measureInProcess(isMapped: boolean): Figure[] {
  const system = new InProcessFabric({ clock: systemClock, random: new Random(Date.now()), isMapped });
  const guests = ["n1", "n2"].map((name) => system.addGuest(name, GUEST_MEMORY, { mtts: 8192 }));
  waitForPorts(system);
  if (isMapped) for (const { name, port } of guests) printLine(`${name}: MT25204, port 1 ACTIVE, LID ${port.lid}`);
  const [a, b] = guests.map(newSide);
  if (a === undefined || b === undefined) throw new Error("invariant: two guests");
  connect(a, b);
  connect(b, a);
  for (const side of [a, b]) side.qp.readyToSend({ remoteQpn: 0, dlid: 0 });
  const remote = { remoteAddress: b.region.virtualAddress, rkey: b.region.rkey };
  const sges = (length: number): SendRequest["sges"] => [{ address: a.region.virtualAddress, length, lkey: a.region.lkey }];
  const run = (name: string, kind: Figure["kind"], request: SendRequest, size: number): Figure =>
    measureOne(system, a, b, { name, kind, request, size });
  return [
    run("send 8 B", "latency", { opcode: SendOpcode.SEND, sges: sges(SMALL) ?? [] }, SMALL),
    run("RDMA write 8 B", "latency", { opcode: SendOpcode.RDMA_WRITE, sges: sges(SMALL) ?? [], ...remote }, SMALL),
    run("RDMA read 8 B", "latency", { opcode: SendOpcode.RDMA_READ, sges: sges(SMALL) ?? [], ...remote }, SMALL),
    run(
      "atomic fetch & add",
      "latency",
      { opcode: SendOpcode.ATOMIC_FA, sges: sges(SMALL) ?? [], swapAdd: 1n, ...remote },
      SMALL,
    ),
    run("send 64 KiB", "bandwidth", { opcode: SendOpcode.SEND, sges: sges(LARGE) ?? [] }, LARGE),
    run("RDMA write 64 KiB", "bandwidth", { opcode: SendOpcode.RDMA_WRITE, sges: sges(LARGE) ?? [], ...remote }, LARGE),
    run("RDMA read 64 KiB", "bandwidth", { opcode: SendOpcode.RDMA_READ, sges: sges(LARGE) ?? [], ...remote }, LARGE),
  ];
}

function waitForPorts(system: InProcessFabric): void {
  const deadline = performance.now() + PORT_TIMEOUT_MS;
  while (system.guests.some((guest) => guest.port.state !== PortState.ACTIVE)) {
    system.domain.settle();
    if (performance.now() > deadline) throw new Error("the subnet manager did not bring the ports up");
  }
}

function newSide(guest: InProcessGuest): Side {
  const pd = guest.device.allocatePd();
  const cq = new DriverCompletionQueue(guest.device, 255, pd);
  const region = new Region(guest.device, guest.device.heap.allocate(LARGE), { pd, access: ALL_ACCESS });
  return { guest, cq, region, qp: new DriverQueuePair(guest.device, { service: Service.RC, pd, sendCq: cq, receiveCq: cq }) };
}

function connect(side: Side, other: Side): void {
  side.qp.init();
  side.qp.readyToReceive({ remoteQpn: other.qp.number, dlid: other.guest.port.lid });
}

interface Test {
  name: string;
  kind: Figure["kind"];
  request: SendRequest;
  size: number;
}

function measureOne(system: InProcessFabric, a: Side, b: Side, test: Test): Figure {
  const rounds = test.kind === "latency" ? LATENCY_ROUNDS : BANDWIDTH_ROUNDS;
  const isSend = test.request.opcode === SendOpcode.SEND;
  const receive = [{ address: b.region.virtualAddress, length: LARGE, lkey: b.region.lkey }];
  const once = (): void => {
    if (isSend) b.qp.postReceive(receive);
    a.qp.postSend(test.request);
    while (a.cq.poll(1).length === 0) system.domain.step();
    if (isSend) b.cq.poll(1);
  };
  for (let i = 0; i < WARM_UP; i++) once();
  const before = trapped(a) + trapped(b);
  const start = performance.now();
  for (let i = 0; i < rounds; i++) once();
  const seconds = (performance.now() - start) / 1000;
  const value = test.kind === "latency" ? (seconds / rounds) * 1e6 : (rounds * test.size) / seconds / 1e6;
  const unit = test.kind === "latency" ? "µs" : "MB/s";
  const { name, kind } = test;
  return { name, kind, unit, value, operations: rounds, messages: trapped(a) + trapped(b) - before };
}

const trapped = (side: Side): number => side.guest.node.access.trappedAccesses;
