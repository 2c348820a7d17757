// OpenSM in a guest as the manager of a fat tree of phantom hosts with two VMs among them, and beside the built-in subnet manager.
// VHCA_TEST_TREE=16 makes it 1,024 hosts: 8 to 12 s for each engine in an emulated guest, minutes where others use the cores too.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Session } from "../../src/cli/session.ts";
import { exchange, run, serverAndClient, startSession } from "./session.ts";

const K = Number(process.env.VHCA_TEST_TREE ?? 8);
const HOSTS = K ** 3 / 4;
const LINKS = 3 * HOSTS;

async function execLong({ lab }: Session, command: string): Promise<string> {
  const { status, stdout, stderr } = await lab.node("n1").exec(command, { timeoutMs: 900_000 });
  assert.equal(status, 0, `${command}\n${stdout}\n${stderr}`);
  return stdout;
}

/** Starts OpenSM on n1 and waits until its log has `until`; what it has logged. -d2: OpenSM keeps its log to itself otherwise. */
function startOpensm(session: Session, options: string, until: string): Promise<string> {
  const wait = `until grep -q '${until}' /tmp/osm.log; do pgrep -x opensm >/dev/null || exit 1; sleep 0.2; done; cat /tmp/osm.log`;
  return execLong(session, `rm -f /tmp/osm.log; opensm -B -d2 -f /tmp/osm.log ${options} >/dev/null; ${wait}`);
}

const BUILT_IN_IS_MASTER = /sm lid 1 .*priority 5 state 3 SMINFO_MASTER/;

async function stopOpensm(session: Session): Promise<void> {
  await run(session, "n1", "pkill -x opensm; while pgrep -x opensm >/dev/null; do sleep 0.1; done");
}

/**
 * What OpenSM complains about. Not when it answers a question twice because the one who asked was impatient, and the kernel refuses
 * to send the second answer while the first is under way (on a busy machine).
 */
function complaints(log: string): string[] {
  return log
    .split("\n")
    .filter((line) => / 0x01 -> |ERR /.test(line) && !/ERR 5430: .*Class 0x3, Method 0x(81|92)|ERR 4C04/.test(line));
}

test(`OpenSM in a guest manages a fat tree of ${HOSTS} hosts, two of them VMs`, async (t) => {
  const session = await startSession(t, { nodes: 2, sm: "none", topology: exchange(`fat-tree:${K}`, "n2", `n${HOSTS}`) });
  if (session === undefined) return;
  const { fabric } = session.domain;

  for (const engine of ["minhop", "updn", "ftree"]) {
    await t.test(`-R ${engine}: the subnet is up, without an error, and carries traffic`, async (t) => {
      const startMs = performance.now();
      const log = await startOpensm(session, `-R ${engine}`, "SUBNET UP");
      t.diagnostic(`SUBNET UP after ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
      assert.deepEqual(complaints(log), []);
      assert.match(log, new RegExp(`${engine} tables configured on all switches`));
      const { items } = await fabric.links(0, LINKS);
      assert.deepEqual([items.length, items.filter(({ a, b }) => a.state !== "ACTIVE" || b.state !== "ACTIVE")], [LINKS, []]);
      const { hops, problem } = await fabric.path("n1", "n2");
      assert.deepEqual([hops.length, problem], [7, undefined], "three levels up and down");
      assert.match(await run(session, "n2", "sminfo"), /SMINFO_MASTER/);
      assert.match(await serverAndClient(session, "ibv_rc_pingpong -c -n 200", "ibv_rc_pingpong -c -n 200 n1"), /200 iters/);
      await run(session, "n2", "until ping -c 1 -W 1 n1-ib >/dev/null; do sleep 0.2; done");
      assert.match(await run(session, "n2", "ping -c 3 -i 0.2 n1-ib"), / 0% packet loss/);
      await stopOpensm(session);
    });
  }
});

test("OpenSM beside the built-in subnet manager, which yields to nobody, stands by, whatever its priority", async (t) => {
  const session = await startSession(t, { nodes: 2 });
  if (session === undefined) return;
  const log = await startOpensm(session, "-p 15", "Entering STANDBY state");
  assert.deepEqual(complaints(log), []);
  assert.match(await run(session, "n2", "sminfo"), BUILT_IN_IS_MASTER);
});

test("OpenSM beside one that yields: the better one is the master, and the built-in one again when OpenSM is gone", async (t) => {
  const session = await startSession(t, { nodes: 2, manager: { yields: true } });
  if (session === undefined) return;
  await startOpensm(session, "-p 4", "Entering STANDBY state");
  assert.match(await run(session, "n2", "sminfo"), BUILT_IN_IS_MASTER);
  await stopOpensm(session);
  const log = await startOpensm(session, "-p 6", "SUBNET UP");
  assert.deepEqual(complaints(log), []);
  assert.match(await run(session, "n2", "sminfo"), /sm lid [23] .*priority 6 state 3 SMINFO_MASTER/);
  assert.match(await run(session, "n2", "sminfo 1"), /priority 5 state 2 SMINFO_STANDBY/);
  const pings = "until ping -c 1 -W 1 n1-ib >/dev/null; do sleep 0.2; done; ping -c 3 -i 0.2 n1-ib";
  assert.match(await run(session, "n2", pings), / 0% packet loss/);
  await run(session, "n1", "pkill -9 -x opensm");
  await run(session, "n2", "until sminfo 1 | grep 'state 3 SMINFO_MASTER'; do sleep 0.5; done");
  assert.match(await run(session, "n2", "until sminfo | grep 'sm lid 1 '; do sleep 0.2; done"), BUILT_IN_IS_MASTER);
  assert.match(await run(session, "n2", `ip neigh flush dev ib0; ${pings}`), / 0% packet loss/);
});
