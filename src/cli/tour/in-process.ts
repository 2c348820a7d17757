// The tour without VMs: the same HCA, driven by our own driver from two guests inside this process. It shows that the device
// works; its figures are those of function calls and are not to be compared with a VM's.

import { performance } from "node:perf_hooks";
import { Random } from "../../base/random.ts";
import { InProcessPair, PAIR_MESSAGE_BYTES, type PairOperation } from "../../domain/in-process-pair.ts";
import { systemClock } from "../../host/clock.ts";
import { printLine } from "../output.ts";
import type { Figure } from "./pair.ts";

const WARM_UP = 2_000;
const LATENCY_ROUNDS = 5_000;
const BANDWIDTH_ROUNDS = 2_000;
const SMALL = 8;

interface Test {
  name: string;
  operation: PairOperation;
  size: number;
}

const TESTS: readonly Test[] = [
  { name: "send 8 B", operation: "send", size: SMALL },
  { name: "RDMA write 8 B", operation: "write", size: SMALL },
  { name: "RDMA read 8 B", operation: "read", size: SMALL },
  { name: "atomic fetch & add", operation: "atomic", size: SMALL },
  { name: "send 64 KiB", operation: "send", size: PAIR_MESSAGE_BYTES },
  { name: "RDMA write 64 KiB", operation: "write", size: PAIR_MESSAGE_BYTES },
  { name: "RDMA read 64 KiB", operation: "read", size: PAIR_MESSAGE_BYTES },
];

/** Brings up two guests and measures each operation between them. */
export function measureInProcess(isMapped: boolean): Figure[] {
  const pair = new InProcessPair({ clock: systemClock, random: new Random(Date.now()), isMapped });
  if (isMapped) for (const { name, port } of pair.system.guests) printLine(`${name}: MT25204, port 1 ACTIVE, LID ${port.lid}`);
  return TESTS.map((test) => measureOne(pair, test));
}

function measureOne(pair: InProcessPair, { name, operation, size }: Test): Figure {
  const isLatency = size === SMALL;
  const rounds = isLatency ? LATENCY_ROUNDS : BANDWIDTH_ROUNDS;
  const once = pair.operation(operation, size);
  for (let i = 0; i < WARM_UP; i++) once();
  const before = pair.trappedAccesses;
  const start = performance.now();
  for (let i = 0; i < rounds; i++) once();
  const seconds = (performance.now() - start) / 1000;
  return {
    name,
    kind: isLatency ? "latency" : "bandwidth",
    unit: isLatency ? "µs" : "MB/s",
    value: isLatency ? (seconds / rounds) * 1e6 : (rounds * size) / seconds / 1e6,
    operations: rounds,
    messages: pair.trappedAccesses - before,
  };
}
