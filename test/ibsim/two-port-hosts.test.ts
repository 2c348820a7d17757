// Hosts with two ports: each port is up, has LIDs of its own, and is reached; the same subnet in ibsim and here, under the same OpenSM.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import { parseNetlist } from "../../src/fabric/topology/netlist.ts";
import { type FabricTools, findTools, logSays } from "./tools.ts";

const found = await findTools();
const skip = typeof found === "string" ? found : false;
const tools = found as FabricTools;
after(() => (skip === false ? tools.close() : undefined));

/** n1 has one port; those of n2 and n5 are on two leaves, those of n3 on one, and n4 has only its second one in use. */
const NETLIST = `
switchguid=0x200
Switch 8 "spine1" # "spine1" enhanced port 0 lid 0 lmc 0
[1] "leaf1"[7] # lid 0 4xQDR
[2] "leaf2"[7] # lid 0 4xQDR

switchguid=0x210
Switch 8 "spine2" # "spine2" enhanced port 0 lid 0 lmc 0
[1] "leaf1"[8] # lid 0 4xQDR
[2] "leaf2"[8] # lid 0 4xQDR

switchguid=0x220
Switch 8 "leaf1" # "leaf1" enhanced port 0 lid 0 lmc 0
[1] "n1"[1] # lid 0 4xDDR
[2] "n2"[1] # lid 0 4xDDR
[3] "n3"[1] # lid 0 4xDDR
[4] "n3"[2] # lid 0 1xSDR
[5] "n5"[2] # lid 0 4xDDR
[7] "spine1"[1] # lid 0 4xQDR
[8] "spine2"[1] # lid 0 4xQDR

switchguid=0x230
Switch 8 "leaf2" # "leaf2" enhanced port 0 lid 0 lmc 0
[1] "n2"[2] # lid 0 4xDDR
[2] "n4"[2] # lid 0 4xQDR
[3] "n5"[1] # lid 0 4xDDR
[7] "spine1"[2] # lid 0 4xQDR
[8] "spine2"[2] # lid 0 4xQDR

caguid=0x100
Ca 1 "n1" # "n1"
[1] "leaf1"[1] # lid 0 4xDDR

caguid=0x110
Ca 2 "n2" # "n2"
[1] "leaf1"[2] # lid 0 4xDDR
[2] "leaf2"[1] # lid 0 4xDDR

caguid=0x120
Ca 2 "n3" # "n3"
[1] "leaf1"[3] # lid 0 4xDDR
[2] "leaf1"[4] # lid 0 1xSDR

caguid=0x130
Ca 2 "n4" # "n4"
[2] "leaf2"[2] # lid 0 4xQDR

caguid=0x140
Ca 2 "n5" # "n5"
[1] "leaf2"[3] # lid 0 4xDDR
[2] "leaf1"[5] # lid 0 4xDDR
`;
/** Ports of hosts that have a cable. */
const END_PORTS = 8;

const discovered = async (base: string): Promise<string> =>
  (await tools.print(base, "n1", "ibnetdiscover")).replace(/^# Topology file: generated on .*$/m, "");
/** Port and LID of each end port in use, by its host's GUID. */
const endPortsIn = (text: string): (readonly [guid: string, port: string, lid: string])[] =>
  [...text.matchAll(/^\[\d+\]\s+"H-(\w+)"\[(\d+)\].*? lid (\d+) /gm)].map(([, guid, port, lid]) => [guid!, port!, lid!]);

interface Seen {
  readonly netlist: string;
  readonly routes: readonly string[];
}

async function underOpensm(base: string, engine: string): Promise<Seen> {
  const opensm = tools.startOpensm(base, "n1", ["-R", engine]);
  await logSays(opensm.log, /SUBNET UP/);
  const netlist = await discovered(base);
  const routes: string[] = [];
  for (const [, lid] of netlist.matchAll(/^Switch.* lid (\d+) lmc/gm))
    routes.push(await tools.print(base, "n1", "ibroute", ["-n", "-a", lid!]));
  await opensm.end();
  return { netlist, routes };
}

function serve(base: string, sm: "none" | "builtin"): Promise<DomainHandle> {
  const domain = new DomainHandle({ log: silentLog, sm, topology: parseNetlist(NETLIST, "two ports") });
  return domain.serveIbsim(base).then(() => domain);
}

for (const engine of ["minhop", "updn"]) {
  test(`hosts with two ports under OpenSM ${engine}: the same ibnetdiscover output and forwarding tables as in ibsim`, {
    skip,
  }, async () => {
    const path = join(tools.folder, "two-ports.net");
    writeFileSync(path, NETLIST);
    const base = `vhca-two-${process.pid}`;
    const ibsim = await tools.startIbsim(`${base}-a`, path);
    const theirs = await underOpensm(`${base}-a`, engine).finally(() => ibsim.end("SIGKILL"));
    const domain = await serve(`${base}-b`, "none");
    const ours = await underOpensm(`${base}-b`, engine).finally(() => domain.stop());
    assert.equal(ours.netlist, theirs.netlist);
    assert.deepEqual(ours.routes, theirs.routes);
    const ends = endPortsIn(ours.netlist);
    assert.equal(ends.length, END_PORTS);
    assert.equal(new Set(ends.map(([, , lid]) => lid)).size, END_PORTS, "LIDs of their own");
  });
}

test("the built-in subnet manager brings both ports up, and what runs on each answers", { skip }, async () => {
  const base = `vhca-two-builtin-${process.pid}`;
  const domain = await serve(base, "builtin");
  try {
    let ends: ReturnType<typeof endPortsIn> = [];
    for (let i = 0; i < 50 && new Set(ends.map(([, , lid]) => lid)).size < END_PORTS; i++)
      ends = endPortsIn(await discovered(base));
    assert.equal(ends.length, END_PORTS);
    for (const [guid, port, lid] of ends) {
      const info = await tools.print(base, "n1", "smpquery", ["portinfo", lid, port]);
      assert.match(info, new RegExp(`^Lid:\\.*${lid}$`, "m"));
      assert.match(info, /^LinkState:\.*Active$/m);
      assert.match(info, new RegExp(`^LocalPort:\\.*${port}$`, "m"));
      const node = await tools.print(base, "n1", "smpquery", ["nodeinfo", lid]);
      assert.match(node, new RegExp(`^Guid:\\.*0x${guid}$`, "m"));
      assert.match(await tools.print(base, "n1", "perfquery", [lid, port]), new RegExp(`PortSelect:\\.*${port}$`, "m"));
    }
    const [first] = ends.map(([, , lid]) => lid) as [string];
    for (const [guid, port, lid] of ends.slice(1)) {
      const way = await tools.print(base, "n1", "ibtracert", [first, lid]);
      assert.match(way, new RegExp(`^To ca \\{0x${guid}\\} portnum ${port} lid ${lid}-${lid}`, "m"));
    }
  } finally {
    await domain.stop();
  }
});
