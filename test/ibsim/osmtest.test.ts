// osmtest, OpenSM's tester of subnet administrations, as a program of the host: the same flows against OpenSM in ibsim and against the built-in
// manager here. The preload library brings the first packet of a table only, so flows that read whole tables (a, v, s, m, f) fail against either;
// in a guest they pass (test/vm/diags.test.ts).

import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import { parseNetlist } from "../../src/fabric/topology/netlist.ts";
import { shapeTopology } from "../../src/fabric/topology/shapes.ts";
import { netlistText } from "./netlist-text.ts";
import { type FabricTools, findTools, logSays } from "./tools.ts";

const found = await findTools();
const skip = typeof found === "string" ? found : false;
const tools = found as FabricTools;
after(() => (skip === false ? tools.close() : undefined));

const FLOWS = ["c", "q", "e", "t"];
const text = netlistText(shapeTopology("fat-tree:2"));

/** The flows that pass, of `base` from n2. `q` writes the tables of lanes that it got. */
async function passed(base: string): Promise<{ flows: string[]; tables: string }> {
  const flows: string[] = [];
  for (const flow of FLOWS) {
    const args = ["-i", join(tools.folder, `${base}.dat`), "-l", join(tools.folder, `${base}.log`), "-f", flow];
    const { status, stdout } = await tools.run(base, "n2", "osmtest", args);
    if (status === 0 && /PASS\s*$/.test(stdout)) flows.push(flow);
  }
  const file = join(tools.folder, "qos.txt");
  return { flows, tables: existsSync(file) ? readFileSync(file, "utf8") : "" };
}

test("osmtest's flows c, q, e and t pass here as they do in ibsim under OpenSM", { skip, timeout: 180_000 }, async () => {
  const net = join(tools.folder, "net");
  writeFileSync(net, text);
  const base = `vhca-osmtest-${process.pid}`;
  const ibsim = await tools.startIbsim(`${base}-a`, net);
  const opensm = tools.startOpensm(`${base}-a`, "n1");
  await logSays(opensm.log, /SUBNET UP/);
  const theirs = await passed(`${base}-a`);
  await opensm.end();
  await ibsim.end("SIGKILL");

  const domain = new DomainHandle({ log: silentLog, topology: parseNetlist(text, "fat-tree:2") });
  try {
    await domain.serveIbsim(`${base}-b`);
    // the manager is through when a host has its LID
    for (
      let tries = 0;
      tries < 50 && !/Active/.test((await tools.run(`${base}-b`, "n2", "smpquery", ["-D", "portinfo", "0"])).stdout);
    )
      tries++;
    const ours = await passed(`${base}-b`);
    assert.deepEqual(ours.flows, FLOWS);
    assert.deepEqual(ours.flows, theirs.flows);
    // of the ports that the first packets of the inventory had, which differ
    for (const { tables } of [ours, theirs])
      for (const kind of [/^VL_ARBITRATION_TABLE$/m, /^SLtoVL_MAP_TABLE$/m]) assert.match(tables, kind);
    // more tables than the administration sends to a host at a time: it knows that the library takes the first segment and no more
    for (let i = 0; i < 20; i++) assert.match(await tools.print(`${base}-b`, "n2", "saquery", ["NR"]), /NodeRecord dump/);
  } finally {
    await domain.stop();
  }
});
