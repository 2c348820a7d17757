// The subnet as the tools of infiniband-diags, OpenSM's tester and ibdiagnet see it from two VMs at opposite ends of a fat tree of three levels:
// everything is there, and nobody complains.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Session } from "../../src/cli/session.ts";
import { EXTRA_PACKAGES, exchange, run, serverAndClient, startSession } from "./session.ts";

const SWITCHES = 20;
const HOSTS = 16;
const NODES = SWITCHES + HOSTS;
const CABLES = 48;
/** Ports of switches, port 0 not among them, and of hosts. */
const PORTS = 2 * CABLES;

/** VHCA_TEST_LONG=1: everything, however long it takes. */
const isLong = process.env.VHCA_TEST_LONG === "1";

const count = (text: string, pattern: RegExp): number => text.match(new RegExp(pattern, "gm"))?.length ?? 0;

/** A command that succeeds and says nothing on standard error; its output. */
async function clean({ lab }: Session, command: string, node = "n1"): Promise<string> {
  const result = await lab.node(node).exec(command, { timeoutMs: 180_000 });
  assert.deepEqual([result.status, result.stderr], [0, ""], `${command}\n${result.stdout}\n${result.stderr}`);
  return result.stdout;
}

async function lidOf(session: Session, node: string): Promise<number> {
  return Number(await run(session, node, "cat /sys/class/infiniband/mthca0/ports/1/lid"));
}

test("a fat tree as diagnostic tools see it from a guest", async (t) => {
  const session = await startSession(t, { nodes: 2, topology: exchange("fat-tree:4", "n2", "n16"), packages: EXTRA_PACKAGES });
  if (session === undefined) return;
  const [n1, n2] = [await lidOf(session, "n1"), await lidOf(session, "n2")];

  await t.test("ibnetdiscover, iblinkinfo, ibqueryerrors and their kin: every node, every cable, no errors", async () => {
    const net = await clean(session, "ibnetdiscover");
    assert.deepEqual([count(net, /^Switch/), count(net, /^Ca/), count(net, /^\[/)], [SWITCHES, HOSTS, PORTS]);
    assert.match(net, /"n2 MT25204 vhca" lid \d+ 4xDDR/);
    for (const [command, lines] of [
      ["ibhosts", HOSTS],
      ["ibswitches", SWITCHES],
      ["ibnodes", NODES],
      ["ibrouters", 0],
    ] as const) {
      assert.equal(count(await clean(session, command), /^./), lines, command);
    }
    const links = await clean(session, "iblinkinfo");
    assert.deepEqual([count(links, /4X +5\.0 Gbps Active\/ +LinkUp/), count(links, /Down|Init|Could be/)], [PORTS, 0]);
    const errors = await clean(session, "ibqueryerrors");
    assert.match(errors, /36 nodes checked, 0 bad nodes found\n## +\d+ ports checked, 0 ports have errors/);
    await clean(session, "ibidsverify");
  });

  await t.test("sminfo, saquery: the manager, and whole tables in segments", async () => {
    assert.match(await clean(session, "sminfo"), /sm lid 1 .* priority 5 state 3 SMINFO_MASTER/);
    assert.match(await clean(session, "saquery -s"), /IsSM ports\n.*\n.*EndPortLid\.+1\n/);
    for (const [table, records] of [
      ["NR", NODES],
      ["PIR", PORTS + SWITCHES],
      ["LR", PORTS],
      ["SWIR", SWITCHES],
      ["PR", NODES * NODES],
      ["SMIR", 1],
      ["SR", 0],
      ["IIR", 0],
      // LIDs up to 63 are one block
      ["LFTR", SWITCHES],
      // eight GUIDs are a block: the VMs' ports have four, all others one
      ["GIR", NODES + 2 * 3],
    ] as const) {
      assert.equal(count(await clean(session, `saquery ${table}`), /^\w+ ?Record dump:$/), records, table);
    }
    const members = await clean(session, "saquery -m --smkey 1");
    assert.ok(count(members, /NodeDescription.*n[12] MT25204/) >= 4, members);
    assert.match(await clean(session, `saquery --src-to-dst ${n1}:${n2}`), /rate\.+0x86/);
  });

  await t.test("ibtracert, ibroute, dump_lfts, dump_mfts: ways through three levels", async () => {
    for (const [from, to] of [
      [n1, n2],
      [n2, n1],
    ] as const) {
      const way = await clean(session, `ibtracert ${from} ${to}`);
      const levels = [...way.matchAll(/switch port .*"(edge|agg|core)/g)].map(([, level]) => level);
      assert.deepEqual(levels, ["edge", "agg", "core", "agg", "edge"], way);
    }
    assert.match(await clean(session, "ibroute 1"), new RegExp(`^${NODES} valid lids dumped`, "m"));
    assert.equal(count(await clean(session, "dump_lfts"), new RegExp(`^${NODES} valid lids dumped`)), SWITCHES);
    // the broadcast group crosses the core, and every other group is where its members are
    assert.ok(count(await clean(session, "dump_mfts"), /^0xc000 /) >= 5);
  });

  await t.test("smpquery, ibportstate, ibaddr: attributes of switches and hosts, by LID, route and both", async () => {
    const asked = ["NI", "ND", "PI", "PKeys", "SL2VL", "VLArb", "GI"].flatMap((what) =>
      [`${what} ${n2} 1`, `${what} 1 1`, `-D ${what} 0`, `-D ${what} 0,1 1`].map((where) => `smpquery ${where}`),
    );
    await clean(session, `${asked.join(" && ")} && smpquery SI 1`);
    assert.match(await clean(session, `smpquery NI ${n2}`), /Channel Adapter(.*\n)*DevId:\.+0x6274/);
    assert.match(await clean(session, "smpquery -c NI 1 0,1"), /NodeType:\.+Switch/);
    const state = await clean(session, "ibportstate 1 1");
    assert.equal(count(state, /LinkState:\.+Active/), 2, "the port and its peer");
    assert.match(await clean(session, `ibaddr ${n2}`), /^GID fe80::2:c902:0:\w+ LID start 0x/);
    assert.match(await clean(session, "ibstat && ibstatus"), /4: ACTIVE/);
  });

  await t.test("ibping and perfquery: what was answered is in the counters", async () => {
    const serving = session.lab.node("n2").exec("ibping -S", { timeoutMs: 30_000 });
    serving.catch(() => {});
    await clean(session, `perfquery -x -R ${n2} 1`);
    const pings = "for i in $(seq 20); do ibping -f -c 100 $1 | grep '100 received' && exit 0; done; exit 1";
    assert.match(await clean(session, `set -- ${n2}; ${pings}`), /0% packet loss/);
    const counters = await clean(session, `perfquery -x ${n2} 1`);
    const received = Number(/PortUnicastRcvPkts:\.+(\d+)/.exec(counters)?.[1]);
    assert.ok(received >= 100 && received < 4000, counters);
    const options = ["", "-a", "-l", "-x -a", "-c", "-X", "-S", "-D", "-E", "--rcvsl", "--xmtsl"].map(
      (each) => `perfquery ${each} 1 1`,
    );
    await clean(session, options.join(" && "));
    await run(session, "n2", "pkill ibping", 0);
    await serving;
  });

  await t.test("osmtest: inventory, events, multicast", async () => {
    // Validating everything, 12,000 MADs here, takes an emulated guest a minute; otherwise engines.test.ts does that, where the subnet is small, and services.
    const flows = ["c", ...(isLong ? ["a", "s"] : []), "e", "t", "m -M 1"];
    for (const flow of flows) {
      const { status, stdout } = await session.lab
        .node("n1")
        .exec(`cd /tmp && osmtest -i osmtest.dat -f ${flow}`, { timeoutMs: 180_000 });
      assert.deepEqual([status, /PASS\s*$/.test(stdout)], [0, true], `osmtest -f ${flow}\n${stdout.slice(-3000)}`);
    }
  });

  await t.test("ibdiagnet: no errors and no warnings", async () => {
    // It waits 100 ms for an answer, and an emulated guest on a busy machine may not get its processor for so long.
    await run(
      session,
      "n1",
      "sed -i 's/transaction_timeout 100/transaction_timeout 3000/' /usr/lib/*/ibdiagnet1.5.7/ibdebug.tcl",
    );
    const out = await clean(session, "cd /tmp && ibdiagnet -lw 4x -ls 5 | tr '\\r' '\\n' | grep -av Discovering");
    const complaints = out.split("\n").filter((line) => /^-[EWF]-/.test(line));
    assert.deepEqual(complaints, ["-W- Topology file is not specified."], out);
    assert.equal(count(out, / (Check|Report) +0 +0 *$/), 8, out);
    assert.match(out, /PKey:0x7fff Hosts:16 full:16 limited:0/);
  });

  await t.test("across the tree: perftest, rping, IP", async () => {
    for (const program of ["ib_write_bw", "ib_write_lat", "ib_send_bw", "ib_send_lat", "ib_read_bw", "ib_read_lat"]) {
      assert.match(await serverAndClient(session, `${program} -n 200`, `${program} -n 200 n1`), /\b200\b/);
    }
    assert.match(await serverAndClient(session, "rping -s -v -C 5", "rping -c -v -C 5 -a n1-ib"), /rdma-ping-4/);
    assert.match(await run(session, "n2", "ping -c 3 -i 0.2 n1-ib"), / 0% packet loss/);
  });

  await t.test("after all this no port has counted an error", async () => {
    assert.match(await clean(session, "ibqueryerrors"), / 0 ports have errors/);
  });
});
