// The same netlist in ibsim and here, each under an OpenSM of its own: the same subnet.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import { parseNetlist } from "../../src/fabric/topology/netlist.ts";
import { parseTopology } from "../../src/fabric/topology/parse.ts";
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

/** Everything that a netlist may have beside nodes and cables. */
const FILES: Readonly<Record<string, string>> = {
  "main.net": `# two racks of the same kind, and a spine
width=3
speed=7
module="r1"
include "rack.net"
module="r2"
switchguid+0x40
caguids+0x400
include "rack.net"
module=""

vendid=0x1405
devid=0x1234
sysimgguid=0x777
switchguid=0x300
Switch 8 "spine" # the spine base port 0 lid 0 lmc 0
[1] "r1@up" # lid 0 4xQDR
[2] "r2@up" w=1
[3] "spine2"[3] # "spine two" lid 0 12xEDR
[4] "x1"[2] e=1
@[8] "spare"

extspeed=3
Switch 010 "spine2" # "spine two" enhanced port 0 lid 0 lmc 0
[3] "spine"[3] # "the spine" lid 0 12xHDR

caguid=0x5000
Ca 2 "x1" # "outside"
[2] "spine"[4] s=3

do Link "spine2"[1] "r1#leaf"[7]
do Link "spine2"[2] "r2#leaf"[7]
do Unlink "spine2"[2]
do ReLink "r2#leaf"
do Link "spine2"[5] "@spare"
do Unlink "@spare"
do !commands
do Guid "x1" 0x6000
do Verbose 0
`,
  "rack.net": `Switch 8 "leaf"
[1] "h1"[1]
[2] "h2"[1] s=1
@[8] "up"

Hca 1 "h1"
[1] "leaf"[1]

Hca 2 "h2" # second host lid 0
[1] "leaf"[2] s=3
`,
  commands: 'Link "spine2"[6] "x1"[1]\nClear "spine"[7]\n',
};

test("a netlist of several files, with modules, aliases, relative GUIDs, masks and commands", { skip }, async () => {
  for (const [name, content] of Object.entries(FILES)) writeFileSync(join(tools.folder, name), content);
  // Without OpenSM: what it sets of speeds and widths ibsim takes as if both ends had agreed.
  const discovered = async (base: string): Promise<string> => {
    const printed = await tools.print(base, "r1#h1", "ibnetdiscover");
    return printed.replace(/^# Topology file: generated on .*$/m, "");
  };
  const base = `vhca-files-${process.pid}`;
  const ibsim = await tools.startIbsim(`${base}-a`, join(tools.folder, "main.net"));
  const theirs = await discovered(`${base}-a`).finally(() => ibsim.end("SIGKILL"));
  const topology = parseTopology(FILES["main.net"]!, "main.net", (name) => readFileSync(join(tools.folder, name), "utf8"));
  const domain = new DomainHandle({ log: silentLog, sm: "none", topology });
  await domain.serveIbsim(`${base}-b`);
  const ours = await discovered(`${base}-b`).finally(() => domain.stop());
  assert.equal(ours, theirs);
  assert.equal(ours.match(/^(Switch|Ca)/gm)?.length, 9);
  assert.match(ours, /"r2#leaf"/);
});
