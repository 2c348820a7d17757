// OpenSM and infiniband-diags as Debian has them, on the host, without root: what they say of a fabric of ours.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { silentLog } from "../../src/base/log.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import { parseNetlist } from "../../src/fabric/topology/netlist.ts";
import { ALL_ACCESS, connectQp, openDevice } from "../../src/verbs/index.ts";
import { type FabricTools, findTools, logSays } from "./tools.ts";
import { NETLIST } from "./world.ts";

const found = await findTools();
const skip = typeof found === "string" ? found : false;
const tools = found as FabricTools;
const BASE = `vhca-tools-${process.pid}`;

let domain: DomainHandle;
before(async () => {
  if (skip !== false) return;
  domain = new DomainHandle({ log: silentLog, sm: "none", topology: parseNetlist(NETLIST, "test") });
  await domain.serveIbsim(BASE);
  const { log } = tools.startOpensm(BASE, "H1");
  await logSays(log, /SUBNET UP/);
});
after(async () => {
  if (skip !== false) return;
  await tools.close();
  await domain.stop();
});

const print = (node: string, program: string, ...args: string[]): Promise<string> => tools.print(BASE, node, program, args);

/** LID of a host. */
async function lidOf(description: string): Promise<string> {
  const [, lid] =
    new RegExp(`"${description}" *lid (\\d+)|${description}.*lid (\\d+)`).exec(await print("", "ibnetdiscover")) ?? [];
  assert.ok(lid);
  return lid;
}

test("ibnetdiscover, iblinkinfo, ibnodes: every node, every cable, all ACTIVE", { skip }, async () => {
  const netlist = await print("H2", "ibnetdiscover");
  for (const name of ["leaf one", "leaf two", "host one", "host two", "host three", "host four"])
    assert.match(netlist, new RegExp(name));
  assert.doesNotMatch(netlist, /lid 0 /);
  const links = await print("", "iblinkinfo", "-l");
  assert.equal(links.match(/Active\/ {2}LinkUp/g)?.length, 10);
});

test("sminfo, saquery, smpquery, ibtracert, ibroute, perfquery, ibqueryerrors", { skip }, async () => {
  assert.match(await print("H4", "sminfo"), /sm lid 1 sm guid 0x100011, .* state 3 SMINFO_MASTER/);
  assert.match(await print("H4", "saquery", "NR", "1"), /NodeDescription\.+host one/);
  assert.match(await print("H4", "smpquery", "nodeinfo", "1"), /# Node info: Lid 1.*PortGuid:\.+0x0000000000100011/s);
  assert.match(await print("H4", "smpquery", "-D", "portinfo", "0,1,8", "8"), /LinkState:\.+Active/);
  assert.match(await print("H4", "ibportstate", await lidOf("leaf one"), "1"), /Peer PortInfo:/);
  const lid = await lidOf("host four");
  assert.match(await print("", "ibtracert", "1", lid), /host one.*leaf one.*leaf two.*host four/s);
  assert.match(await print("", "ibroute", await lidOf("leaf one")), /Unicast lids.*host one/s);
  assert.match(await print("H2", "perfquery", "-x", lid, "1"), /PortXmitPkts:\.+[1-9]/);
  assert.match(await print("H2", "ibqueryerrors"), /0 bad nodes found/);
});

test("what ibsim has not got: counters by service level, details, congestion control", { skip }, async () => {
  const leaf = await lidOf("leaf one");
  assert.match(await print("H2", "perfquery", "--xmtsl", leaf, "8"), /XmtDataSL0:\.+[1-9]/);
  assert.match(await print("H2", "perfquery", "--rcvsl", leaf, "8"), /RcvDataSL0:\.+[1-9]/);
  for (const option of [
    "rcverr",
    "xmtdisc",
    "oprcvcounters",
    "flowctlcounters",
    "vloppackets",
    "vlopdata",
    "vlxmitflowctlerrors",
    "vlxmitcounters",
    "swportvlcong",
    "rcvcc",
    "slrcvfecn",
    "slrcvbecn",
    "xmitcc",
    "vlxmittimecc",
    "smplctl",
  ]) {
    assert.match(await print("H2", "perfquery", `--${option}`, leaf, "8"), /:\.+0/, option);
  }
  assert.match(await print("H2", "ibccquery", "CongestionInfo", "1"), /ControlTableCap:\.+2/);
  await print("H2", "ibccconfig", "CongestionKeyInfo", leaf, "0x77", "1", "0", "0");
  assert.notEqual((await tools.run(BASE, "H2", "ibccquery", ["-t", "100", "CongestionInfo", leaf])).status, 0);
  assert.match(await print("H2", "ibccquery", "-c", "0x77", "CongestionKeyInfo", leaf), /CC_Key:\.+0x0*77/);
});

test("ibping from host to host, while OpenSM is on one of them", { skip }, async () => {
  const server = tools.start(BASE, "H3", "ibping", ["-S"]);
  const lid = await lidOf("host three");
  await sleep(300);
  assert.match(await print("H2", "ibping", "-c", "5", "-f", lid), /5 packets transmitted, 5 received, 0% packet loss/);
  assert.match(await print("H3", "ibping", "-c", "2", "-f", lid), /2 packets transmitted, 2 received/);
  // OpenSM has not registered for this class: it must not get it.
  const unanswered = await tools.run(BASE, "H2", "ibping", ["-c", "1", "-f", "-t", "300", "1"]);
  assert.match(unanswered.stdout, /1 packets transmitted, 0 received/);
  await server.end();
  assert.match(await print("H2", "sminfo"), /SMINFO_MASTER/);
});

test("HCAs among the phantoms: OpenSM brings them up, data goes where it has routed; their hosts are theirs", {
  skip,
}, async () => {
  const open = async (name: string) => {
    const socketPath = join(tools.folder, `${name}.sock`);
    await domain.addHca({ name, socketPath });
    const context = await openDevice(socketPath, { memoryBytes: 16 << 20, mtts: 16384 });
    await context.portActive();
    const pd = context.allocPd();
    const cq = context.createCq(16);
    const memory = context.allocMemory(4096);
    const mr = pd.regMr(memory, ALL_ACCESS);
    return { context, memory, mr, cq, pd, qp: pd.createQp({ qpType: "RC", sendCq: cq, recvCq: cq }) };
  };
  const [a, b] = [await open("H2"), await open("H4")];
  try {
    connectQp(a.qp, { lid: b.context.queryPort().lid, qpNum: b.qp.qpNum });
    connectQp(b.qp, { lid: a.context.queryPort().lid, qpNum: a.qp.qpNum });
    a.memory.bytes.write("through OpenSM's tables");
    const sgList = [{ addr: a.mr.addr, length: 23, lkey: a.mr.lkey }];
    const written = await a.qp.send({ opcode: "RDMA_WRITE", sgList, remoteAddr: b.mr.addr, rkey: b.mr.rkey });
    assert.equal(written.status, "SUCCESS");
    assert.equal(b.memory.bytes.toString("latin1", 0, 23), "through OpenSM's tables");
    assert.match(await print("H3", "ibnetdiscover"), /"H4 MT25204 vhca"/);
    assert.notEqual((await tools.run(BASE, "H4", "sminfo")).status, 0, "the program belongs into the VM");
  } finally {
    for (const { context, memory, mr, cq, pd, qp } of [a, b]) {
      for (const object of [qp, mr, memory, cq, pd]) object.destroy();
      context.close();
    }
    for (const name of ["H2", "H4"]) await domain.removeHca(name);
  }
  assert.match(await print("H4", "smpquery", "-D", "nodedesc", "0"), /host four/, "a phantom again");
});

const clients = async (): Promise<number> => (await domain.describe()).engine["ibsim.clients"] ?? 0;

async function untilClients(count: number): Promise<void> {
  for (let i = 0; i < 200; i++, await sleep(50)) if ((await clients()) === count) return;
  assert.fail(`expected ${count} clients, there are ${await clients()}`);
}

test("fifteen programs at a time; killed ones free their places", { skip }, async () => {
  const before = await clients();
  const servers = Array.from({ length: 15 }, (_, i) => tools.start(BASE, `H${2 + (i % 3)}`, "ibping", ["-S"]));
  await untilClients(before + 15);
  assert.match(await print("H4", "smpquery", "nodeinfo", "1"), /Switch|Channel Adapter/);
  for (const server of servers) await server.end("SIGKILL");
  await untilClients(before);
});

test("the engine gives way and looks again while a program is at work, and sleeps when none is", { skip }, async () => {
  const yields = async (): Promise<number> => (await domain.describe()).engine.yields ?? 0;
  const before = await yields();
  await print("H3", "ibnetdiscover");
  const after = await yields();
  assert.ok(after > before, `${after - before} yields`);
  // OpenSM asks for nothing now, for ten seconds at a time; it may do so just now.
  const still = async (): Promise<boolean> => {
    const from = await yields();
    await sleep(100);
    return (await yields()) === from;
  };
  for (let trial = 0; trial < 20; trial++) if (await still()) return;
  assert.fail("it never rests");
});

test("a killed OpenSM is no subnet manager any more, and another one takes over", { skip }, async () => {
  const first = tools.startOpensm(BASE, "H2", ["-p", "1"]);
  await logSays(first.log, /Entering STANDBY state|SUBNET UP/);
  const capabilities = (): Promise<string> => print("H3", "smpquery", "-D", "portinfo", "0,1,8,2");
  assert.match(await capabilities(), /IsSM/);
  const before = await clients();
  await first.end("SIGKILL");
  await untilClients(before - 1);
  assert.doesNotMatch(await capabilities(), /IsSM/);
});

test("M_Key: OpenSM protects the subnet with it, and nobody reads it without", { skip }, async () => {
  const base = `${BASE}-key`;
  const guarded = new DomainHandle({ log: silentLog, sm: "none", topology: parseNetlist(NETLIST, "test") });
  try {
    await guarded.serveIbsim(base);
    const settings = join(tools.folder, "mkey.conf");
    writeFileSync(settings, "m_key 0x1234\nm_key_protection_level 2\nm_key_lease_period 60\n");
    const { log, end } = tools.startOpensm(base, "H1", ["-F", settings]);
    await logSays(log, /SUBNET UP/);
    assert.doesNotMatch(readFileSync(log, "utf8"), /ERR/);
    assert.notEqual((await tools.run(base, "H2", "smpquery", ["-t", "100", "nodeinfo", "1"])).status, 0);
    assert.match(await tools.print(base, "H2", "smpquery", ["-y", "0x1234", "nodeinfo", "1"]), /NumPorts:\.+1/);
    await end();
  } finally {
    await guarded.stop();
  }
});
