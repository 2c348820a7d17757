// What a management datagram of a program of the host costs the engine: a directed-route request through the sockets of `--ibsim`, across the fabric
// and back. Engine and program are one thread here, and only the engine's processor time counts: no scheduler, no waking, so it says the same on a busy machine.
//   node bench/mad.ts [SHAPE] [ROUNDS]

import { setFlagsFromString } from "node:v8";
import koffi from "koffi";
import { silentLog } from "../src/base/log.ts";
import { Random } from "../src/base/random.ts";
import { DeviceDomain } from "../src/domain/device-domain.ts";
import { shapeTopology } from "../src/fabric/topology/shapes.ts";
import { nodesOf } from "../src/fabric/topology/topology.ts";
import { systemClock } from "../src/host/clock.ts";
import { allocateNative } from "../src/host/mapping.ts";
import { bytesOf, newDirectedSmp } from "../src/mad/mad.ts";
import { PhysState, PortState } from "../src/spec/ib/numbers.ts";
import { MadHeader, SMP_DATA_AT, SMP_DATA_BYTES } from "../src/spec/mad/headers.ts";
import { Method, NodeType, SmAttribute } from "../src/spec/mad/numbers.ts";
import { NodeInfo, PortInfo } from "../src/spec/mad/sm-attributes.ts";
import { RawClient } from "../test/ibsim/raw-client.ts";

// As in the engine thread.
setFlagsFromString("--no-allocation-site-pretenuring");

const [shape = "fat-tree:16", rounds = "20"] = process.argv.slice(2);
/** As OpenSM does by default (max_wire_smps). */
const ON_THE_WIRE = 4;
const PERMISSIVE = 0xffff;
const SMI = 0;

const topology = shapeTopology(shape);
const baseName = `vhca-bench-mad-${process.pid}`;
const domain = new DeviceDomain({ clock: systemClock, log: silentLog, random: new Random(1), sm: "none", topology });
domain.serveIbsim(baseName, process.getuid?.() ?? 0);
const client = new RawClient(baseName, () => domain.sweep(systemClock.nowNs()));
if (client.connect(nodesOf(topology, "host")[0]!.name, true) === undefined) throw new Error("the program is refused");

function ask(path: readonly number[], attribute: number, modifier = 0): DataView {
  const reply = client.call(PERMISSIVE, SMI, newDirectedSmp(path, Method.GET, attribute, modifier));
  if (reply === undefined) throw new Error(`no answer from ${path.join(",")}`);
  return reply.mad;
}

interface Found {
  readonly path: readonly number[];
  readonly port: number;
  readonly info: DataView;
}

/** A port of each node, by the shortest way. */
function findNodes(): Found[] {
  const found: Found[] = [];
  const known = new Set<bigint>();
  const paths: number[][] = [[]];
  for (let path = paths.shift(); path !== undefined; path = paths.shift()) {
    const node = ask(path, SmAttribute.NODE_INFO);
    const guid = NodeInfo.nodeGuid.getBig(node, SMP_DATA_AT);
    if (known.has(guid)) continue;
    known.add(guid);
    const port = NodeInfo.localPort.get(node, SMP_DATA_AT);
    found.push({ path, port, info: ask(path, SmAttribute.PORT_INFO, port) });
    if (NodeInfo.nodeType.get(node, SMP_DATA_AT) !== NodeType.SWITCH && path.length > 0) continue;
    for (let out = 1; out <= NodeInfo.portCount.get(node, SMP_DATA_AT); out++) {
      const info = ask(path, SmAttribute.PORT_INFO, out);
      if (PortInfo.physState.get(info, SMP_DATA_AT) === PhysState.LINK_UP) paths.push([...path, out]);
    }
  }
  return found;
}

/** Three questions and a Set to each node, as in a subnet manager's sweep. */
function requestsTo({ path, port, info }: Found): DataView[] {
  const set = newDirectedSmp(path, Method.SET, SmAttribute.PORT_INFO, port);
  bytesOf(set).set(bytesOf(info).subarray(SMP_DATA_AT, SMP_DATA_AT + SMP_DATA_BYTES), SMP_DATA_AT);
  PortInfo.portState.set(set, SMP_DATA_AT, PortState.NO_CHANGE);
  PortInfo.physState.set(set, SMP_DATA_AT, PhysState.NO_CHANGE);
  const questions = [SmAttribute.NODE_INFO, SmAttribute.PORT_INFO, SmAttribute.P_KEY_TABLE] as const;
  return [
    ...questions.map((attribute) => newDirectedSmp(path, Method.GET, attribute, attribute === SmAttribute.PORT_INFO ? port : 0)),
    set,
  ];
}

/** Of clock_gettime(2); Node's own figures for a thread move on with the kernel's ticks only, by milliseconds. */
const CLOCK_THREAD_CPUTIME_ID = 3;
const clockGettime = koffi.load(null).func("int clock_gettime(int clock, uintptr_t time)") as (
  clock: number,
  time: number,
) => number;
const timespec = allocateNative(16);

function processorNs(): number {
  clockGettime(CLOCK_THREAD_CPUTIME_ID, timespec.address);
  return Number(timespec.view.getBigInt64(0, true)) * 1e9 + Number(timespec.view.getBigInt64(8, true));
}

let tid = 0;

/** Sends some requests at once and takes the answers; returns what the engine used of the processor, in ns. */
function exchange(requests: readonly DataView[]): number {
  for (const request of requests) {
    MadHeader.tid.lo.set(request, 0, ++tid);
    client.send(PERMISSIVE, SMI, request);
  }
  const before = processorNs();
  domain.sweep(systemClock.nowNs());
  const usedNs = processorNs() - before;
  for (let i = 0; i < requests.length; i++) if (client.receive() === undefined) throw new Error("a request is not answered");
  return usedNs;
}

const nodes = findNodes();
const requests = nodes.flatMap(requestsTo);
const hops = nodes.reduce((sum, { path }) => sum + 2 * path.length, 0) / nodes.length;

function round(): number {
  let usedNs = 0;
  for (let i = 0; i < requests.length; i += ON_THE_WIRE) usedNs += exchange(requests.slice(i, i + ON_THE_WIRE));
  return usedNs / 1000 / requests.length;
}

const all = Array.from({ length: Number(rounds) }, round);
const sorted = [...all].sort((a, b) => a - b);
const text = `first ${all[0]!.toFixed(1)}, least ${sorted[0]!.toFixed(1)}, median ${sorted[sorted.length >> 1]!.toFixed(1)}`;
console.log(`${shape}: ${nodes.length} nodes, ${hops.toFixed(1)} hops there and back; µs of processor time for a MAD: ${text}`);
client.close();
domain.close();
