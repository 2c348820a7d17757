// How long the built-in subnet manager takes, in wall time, and what a fabric weighs: from nothing to every port ACTIVE, one cable pulled and
// plugged in again, resident memory. Everything in this thread, as in an engine; nothing else is going on.
//
//   node bench/fabric.ts [SHAPE…]      default: fat-tree:16 (1024 hosts) and fat-tree:34 (9826 hosts), each in a process of its own

import { spawnSync } from "node:child_process";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { Random } from "../src/base/random.ts";
import { newTopologyFabric } from "../src/domain/engine-fabric.ts";
import type { Link } from "../src/fabric/link.ts";
import { shapeTopology } from "../src/fabric/topology/shapes.ts";
import type { TopologyFabric } from "../src/fabric/topology-fabric.ts";

const SHAPES = ["fat-tree:16", "fat-tree:34"];
const ONE = "VHCA_BENCH_ONE";
const LIMIT_NS = 300e9;

const nowNs = (): number => Math.round(performance.now() * 1e6);
const seconds = (ns: number): string => `${(ns / 1e9).toFixed(2)} s`;
const rssMb = (): number => Math.round(process.memoryUsage().rss / 1e6);

/** Steps the fabric until nothing is due before the next sweep; returns the time that took. */
function settle(lab: TopologyFabric): number {
  const start = nowNs();
  for (let now = start; ; now = nowNs()) {
    lab.step(now);
    if (lab.fabric.queued === 0 && lab.nextDeadlineNs() > now) return nowNs() - start;
    if (now - start > LIMIT_NS) throw new Error(`not done after ${seconds(LIMIT_NS)}`);
  }
}

function inactive({ fabric }: TopologyFabric): number {
  let count = 0;
  for (const { a, b, isPlugged } of fabric.links) if (isPlugged && !(a.isActive && b.isActive)) count++;
  return count;
}

/** A cable between two switches, none of them the manager's own. */
function someTrunk(lab: TopologyFabric): Link | undefined {
  const [first] = lab.switches.values();
  return [...lab.fabric.links].find(({ a, b }) => a.node.switch && b.node.switch && a.node !== first && b.node !== first);
}

function measure(shape: string): void {
  const base = rssMb();
  const start = nowNs();
  const lab = newTopologyFabric(shapeTopology(shape), "builtin", new Random(1));
  const built = nowNs() - start;
  const upNs = settle(lab);
  const missing = inactive(lab);
  const hosts = [...lab.fabric.nodes].filter((node) => node.switch === undefined).length;
  console.log(`${shape}: ${hosts} hosts, ${lab.switches.size} switches, ${lab.fabric.links.size} links`);
  console.log(
    `  build ${seconds(built)}; all ports ACTIVE after ${seconds(upNs)}${missing === 0 ? "" : `, BUT ${missing} LINKS ARE NOT`}`,
  );
  console.log(`  packets handled ${lab.fabric.counts.delivered}, lost ${lab.fabric.counts.overflowed}`);
  const link = someTrunk(lab);
  if (link !== undefined) {
    for (const isPlugged of [false, true]) {
      link.setPlugged(isPlugged);
      console.log(`  a cable ${isPlugged ? "plugged in" : "pulled"}: ${seconds(settle(lab))}, ${inactive(lab)} links not ACTIVE`);
    }
  }
  console.log(`  RSS ${rssMb()} MB, ${base} MB before; ${cpus()[0]?.model ?? "?"}, Node ${process.version}`);
}

const shapes = process.argv.slice(2);
if (process.env[ONE] !== undefined) measure(process.env[ONE]);
else {
  for (const shape of shapes.length > 0 ? shapes : SHAPES) {
    const script = fileURLToPath(import.meta.url);
    spawnSync(process.execPath, [...process.execArgv, script], { stdio: "inherit", env: { ...process.env, [ONE]: shape } });
  }
}
