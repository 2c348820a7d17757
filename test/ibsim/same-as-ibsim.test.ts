// The same netlist in ibsim and here, each under an OpenSM of its own: the same subnet.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import { parseNetlist } from "../../src/fabric/topology/netlist.ts";
import { shapeTopology } from "../../src/fabric/topology/shapes.ts";
import { joinGroup } from "./join-group.ts";
import { netlistText } from "./netlist-text.ts";
import { type FabricTools, findTools, logSays } from "./tools.ts";

const found = await findTools();
const skip = typeof found === "string" ? found : false;
const tools = found as FabricTools;
after(() => (skip === false ? tools.close() : undefined));

const RATES = ["4xDDR", "4xEDR", "12xQDR", "1xSDR", "4xFDR", "4xHDR", "2xHDR", "4xNDR", "8xQDR", "4xQDR", "1xEDR"];
const text = netlistText(shapeTopology("fat-tree:4"), RATES);
const SWITCHES = 20;
const HOSTS = 16;

interface Subnet {
  readonly netlist: string;
  /** Of every switch. */
  readonly unicast: readonly string[];
  readonly multicast: readonly string[];
}

/** What the tools tell of a subnet that `base` serves, with OpenSM on n1. */
async function describe(base: string, args: string[]): Promise<Subnet> {
  const opensm = tools.startOpensm(base, "n1", args);
  await logSays(opensm.log, /SUBNET UP/);
  for (const host of ["n2", "n7", "n16"]) joinGroup(base, host);
  const netlist = (await tools.print(base, "n1", "ibnetdiscover")).replace(/^# Topology file: generated on .*$/m, "");
  const lids = [...netlist.matchAll(/^Switch.* lid (\d+) lmc/gm)].map(([, lid]) => lid!);
  assert.equal(lids.length, SWITCHES);
  // One after the other: ibsim has ten clients at most.
  const tables = async (option: string): Promise<string[]> => {
    const texts: string[] = [];
    for (const lid of lids) texts.push(await tools.print(base, "n1", "ibroute", ["-n", option, lid]));
    return texts;
  };
  const unicast = await tables("-a");
  // OpenSM routes a group some time after somebody has joined.
  let multicast: string[] = [];
  for (let i = 0; i < 50 && multicast.filter((table) => /0xc000/i.test(table)).length < 3; i++) multicast = await tables("-M");
  await opensm.end();
  return { netlist, unicast, multicast };
}

async function inIbsim(args: string[]): Promise<Subnet> {
  const path = join(tools.folder, "netlist");
  writeFileSync(path, text);
  const base = `vhca-ibsim-${process.pid}`;
  const ibsim = await tools.startIbsim(base, path);
  try {
    return await describe(base, args);
  } finally {
    await ibsim.end("SIGKILL");
  }
}

async function inOurs(args: string[]): Promise<Subnet> {
  const base = `vhca-ours-${process.pid}`;
  const domain = new DomainHandle({ log: silentLog, sm: "none", topology: parseNetlist(text, "fat-tree:4") });
  try {
    await domain.serveIbsim(base);
    return await describe(base, args);
  } finally {
    await domain.stop();
  }
}

for (const engine of ["minhop", "updn", "ftree"]) {
  test(`under OpenSM ${engine}: the same ibnetdiscover output, forwarding tables and multicast tables`, { skip }, async () => {
    const theirs = await inIbsim(["-R", engine]);
    const ours = await inOurs(["-R", engine]);
    assert.equal(ours.netlist, theirs.netlist);
    assert.deepEqual(ours.unicast, theirs.unicast);
    assert.deepEqual(ours.multicast, theirs.multicast);
    for (const rate of RATES) assert.match(ours.netlist, new RegExp(` ${rate}$`, "m"));
    for (const table of ours.unicast) assert.ok((table.match(/^0x\w+ (?!255)/gm)?.length ?? 0) >= HOSTS);
    assert.match(ours.multicast.join(), /0xc000/i);
  });
}
