// OpenSM on a large fabric of ours and on the same netlist in ibsim, in turn: from its start to SUBNET UP.
//   node bench/opensm.ts [SHAPE] [ROUNDS] [VMS]
// With VMS, so many of our hosts, n1, n2 …, are VMs, started anew for each sweep; in ibsim all are phantoms.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { silentLog } from "../src/base/log.ts";
import { Session } from "../src/cli/session.ts";
import { DomainHandle } from "../src/domain/domain-handle.ts";
import { parseNetlist } from "../src/fabric/topology/netlist.ts";
import { shapeTopology } from "../src/fabric/topology/shapes.ts";
import { nodesOf } from "../src/fabric/topology/topology.ts";
import { netlistText } from "../test/ibsim/netlist-text.ts";
import { type FabricTools, findTools, logSays } from "../test/ibsim/tools.ts";

const [shape = "fat-tree:16", rounds = "5", vms = "0"] = process.argv.slice(2);
const found = await findTools();
if (typeof found === "string") {
  console.log(found);
  process.exit(2);
}
const tools: FabricTools = found;
const text = netlistText(shapeTopology(shape));
const netlist = join(tools.folder, "netlist");
writeFileSync(netlist, text);
const topology = parseNetlist(text, shape);
/** Where OpenSM runs: the last host, which is never a VM's. */
const host = nodesOf(topology, "host").at(-1)!.name;

/** A domain that nobody needs waits for two seconds and then has itself compiled (domain/warm-up.ts); it is done when it rests again. */
const WARM_MS = 3000;
const REST_MS = 500;
const REST_SHARE = 0.05;
/** Beside VMs it never rests quite. */
const MAX_WARM_MS = 15_000;

async function warmUp(): Promise<void> {
  await sleep(WARM_MS);
  for (let waitedMs = WARM_MS; waitedMs < MAX_WARM_MS; waitedMs += REST_MS) {
    const before = process.cpuUsage();
    await sleep(REST_MS);
    const { user, system } = process.cpuUsage(before);
    if (user + system < REST_MS * 1000 * REST_SHARE) return;
  }
}

/** Seconds from OpenSM's first SMP to SUBNET UP, by its own log. */
async function sweep(base: string, engine: string): Promise<number> {
  const opensm = tools.startOpensm(base, host, ["-R", engine]);
  const timeOf = async (pattern: RegExp): Promise<number> => {
    const [, hours, minutes, seconds, microseconds] =
      /(\d\d):(\d\d):(\d\d) (\d{6})/.exec(await logSays(opensm.log, pattern, 300_000)) ?? [];
    return Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds) + Number(microseconds) / 1e6;
  };
  const start = await timeOf(/Entering DISCOVERING state/);
  const end = await timeOf(/SUBNET UP/);
  await opensm.end("SIGKILL");
  return end - start;
}

async function inIbsim(engine: string): Promise<number> {
  const ibsim = await tools.startIbsim("vhca-bench-ibsim", netlist);
  try {
    return await sweep("vhca-bench-ibsim", engine);
  } finally {
    await ibsim.end("SIGKILL");
  }
}

async function inOurs(engine: string): Promise<number> {
  return Number(vms) > 0 ? besideVms(engine) : amongPhantoms(engine);
}

async function besideVms(engine: string): Promise<number> {
  const session = await Session.start({ nodes: Number(vms), sm: "none", topology, log: silentLog });
  try {
    await session.domain.serveIbsim("vhca-bench-ours");
    await warmUp();
    return await sweep("vhca-bench-ours", engine);
  } finally {
    await session.stop();
  }
}

async function amongPhantoms(engine: string): Promise<number> {
  const domain = new DomainHandle({ log: silentLog, sm: "none", topology });
  try {
    await domain.serveIbsim("vhca-bench-ours");
    await warmUp();
    return await sweep("vhca-bench-ours", engine);
  } finally {
    await domain.stop();
  }
}

const median = (values: number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;
const seconds = (values: number[]): string => `${median(values).toFixed(2)} (${values.map((v) => v.toFixed(2)).join(" ")})`;

console.log(`OpenSM to SUBNET UP on ${shape}: ${topology.nodes.length} nodes; seconds, median and all`);
for (const engine of ["minhop", "updn", "ftree"]) {
  const theirs: number[] = [];
  const ours: number[] = [];
  for (let round = 0; round < Number(rounds); round++) {
    theirs.push(await inIbsim(engine));
    ours.push(await inOurs(engine));
  }
  console.log(
    `${engine.padEnd(7)} ibsim ${seconds(theirs)}   ours ${seconds(ours)}   ratio ${(median(ours) / median(theirs)).toFixed(2)}`,
  );
}
await tools.close();
