// Two stock VMs, unmodified programs from distribution packages, on our HCAs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Session } from "../../src/cli/session.ts";
import { run, serverAndClient, startSession } from "./session.ts";

async function messagesAndOperations(session: Session): Promise<{ messages: number; operations: number }> {
  const { hcas } = await session.describe();
  const sum = (of: (hca: (typeof hcas)[number]) => number): number => hcas.reduce((total, hca) => total + of(hca), 0);
  return {
    messages: sum((hca) => hca.messages.messagesIn ?? 0),
    operations: sum(({ counters: c }) => (c.sends ?? 0) + (c.rdmaWrites ?? 0) + (c.rdmaReads ?? 0) + (c.atomics ?? 0)),
  };
}

for (const kernel of ["6.12", "newest"] as const) {
  test(`two VMs, kernel ${kernel}`, async (t) => {
    const session = await startSession(t, { nodes: 2, kernel });
    if (session === undefined) return;

    await t.test("the device is an MT25204 with an active port", async () => {
      const info = await run(session, "n1", "ibv_devinfo -v; ibstat");
      for (const fact of ["mthca0", "1.2.0", "PORT_ACTIVE", "0x02c9", "25204", "State: Active", "Physical state: LinkUp"]) {
        assert.ok(info.includes(fact), `${fact} in\n${info}`);
      }
      assert.match(info, /max_sge:\s+27/);
      assert.match(info, /device_cap_flags:\s+0x00001c76/);
    });

    for (const kind of ["rc", "uc", "ud", "srq"]) {
      await t.test(`ibv_${kind}_pingpong, polled, with events`, async () => {
        for (const flags of kind === "rc" || kind === "srq" || kind === "uc" ? ["-c", "-e -c"] : ["", "-e"]) {
          const hasCheck = await session.lab.node("n1").exec(`ibv_${kind}_pingpong --help 2>&1 | grep -q -- --chk`);
          const wanted = hasCheck.status === 0 ? flags : flags.replace("-c", "");
          const out = await serverAndClient(
            session,
            `ibv_${kind}_pingpong ${wanted} -n 200`,
            `ibv_${kind}_pingpong ${wanted} -n 200 n1`,
          );
          assert.match(out, /200 iters/);
        }
      });
    }

    const perftest: [string, string[]][] = [
      ["ib_send_lat", ["RC", "UC", "UD"]],
      ["ib_send_bw", ["RC", "UC", "UD"]],
      ["ib_write_lat", ["RC", "UC"]],
      ["ib_write_bw", ["RC", "UC"]],
      ["ib_read_lat", ["RC"]],
      ["ib_read_bw", ["RC"]],
      ["ib_atomic_lat", ["RC"]],
      ["ib_atomic_bw", ["RC"]],
    ];
    for (const [program, transports] of perftest) {
      await t.test(`${program} over ${transports.join(", ")}`, async () => {
        for (const transport of transports) {
          const command = `${program} -c ${transport} -n 200`;
          assert.match(await serverAndClient(session, command, `${command} n1`), /\b200\b/);
        }
      });
    }

    await t.test("no message crosses the VMM on the data path", async () => {
      const before = await messagesAndOperations(session);
      await serverAndClient(session, "ib_write_lat -n 2000", "ib_write_lat -n 2000 n1");
      // the driver looks for a catastrophic error every 5 s; that must not be a message either
      await sleep(6000);
      const after = await messagesAndOperations(session);
      assert.ok(after.operations - before.operations >= 4000);
      assert.equal(after.messages - before.messages, 0);
    });

    await t.test("rdma_cm: rping, ucmatose", async () => {
      assert.match(await serverAndClient(session, "rping -s -v -C 5", "rping -c -v -C 5 -a n1-ib"), /rdma-ping-4/);
      await serverAndClient(session, "ucmatose -c 2", "ucmatose -c 2 -s n1-ib");
    });

    await t.test("IP over InfiniBand: ping, iperf3", async () => {
      assert.match(await run(session, "n2", "ping -c 3 -i 0.2 n1-ib"), / 0% packet loss/);
      await run(session, "n1", "iperf3 -s -D -B n1-ib");
      assert.match(await run(session, "n2", "iperf3 -c n1-ib -t 2"), /receiver/);
    });

    await t.test("management: perfquery, smpquery, saquery-free tools of the diags", async () => {
      assert.match(await run(session, "n1", "perfquery"), /PortXmitData/);
      assert.match(await run(session, "n1", "smpquery nodeinfo 1"), /Switch/);
      assert.match(await run(session, "n1", "ibnetdiscover"), /Switch.*\n(.*\n)*Ca/);
      assert.match(await run(session, "n1", "sminfo"), /SMINFO_MASTER/);
    });

    await t.test("the driver can be unloaded and loaded again", async () => {
      await run(
        session,
        "n1",
        "rmmod ib_ipoib rdma_ucm rdma_cm ib_mthca && modprobe ib_mthca && modprobe ib_ipoib && modprobe rdma_ucm",
      );
      const up = "for i in $(seq 50); do ibstat | grep -q 'State: Active' && exit 0; sleep 0.1; done; exit 1";
      await run(session, "n1", up);
      assert.match(await serverAndClient(session, "ibv_rc_pingpong -n 100", "ibv_rc_pingpong -n 100 n1"), /100 iters/);
    });

    await t.test("a killed VM takes nobody with it, and a new one takes its socket", async () => {
      const server = assert.rejects(session.lab.node("n1").exec("ib_write_bw --run_infinitely"), /n1 is gone/);
      const client = session.lab.node("n2").exec("ib_write_bw --run_infinitely n1");
      await new Promise((resolve) => setTimeout(resolve, 2000));
      await session.lab.node("n1").kill();
      const { status } = await client;
      assert.notEqual(status, 0, "the peer is told");
      await server;
      assert.match(await run(session, "n2", "ibstat"), /State: Active/);
      await session.lab.node("n1").restart();
      assert.match(await serverAndClient(session, "ibv_rc_pingpong -n 100", "ibv_rc_pingpong -n 100 n1"), /100 iters/);
    });
  });
}

test("four VMs at once", async (t) => {
  const session = await startSession(t, { nodes: 4 });
  if (session === undefined) return;
  const pairs = [
    ["n1", "n2"],
    ["n3", "n4"],
  ];
  await Promise.all(
    pairs.map(([a = "", b = ""]) =>
      serverAndClient(session, "ibv_rc_pingpong -e -n 100", `ibv_rc_pingpong -e -n 100 ${a}`, [a, b]),
    ),
  );
  for (const node of ["n2", "n3", "n4"]) assert.match(await run(session, node, "ping -c 2 -i 0.2 n1-ib"), / 0% packet loss/);
});

test("OpenSM in a guest manages the subnet", async (t) => {
  const session = await startSession(t, { nodes: 2, sm: "none" });
  if (session === undefined) return;
  assert.match(await run(session, "n1", "ibstat"), /State: Initializing/);
  await run(session, "n1", "opensm -B");
  const active = "for i in $(seq 100); do ibstat | grep -q 'State: Active' && exit 0; sleep 0.1; done; exit 1";
  await run(session, "n1", active);
  await run(session, "n2", active);
  assert.match(await run(session, "n2", "sminfo"), /SMINFO_MASTER/);
  assert.match(await run(session, "n2", "ibnetdiscover"), /Switch/);
  assert.match(await run(session, "n1", "smpquery portinfo 1 0 | head -5; perfquery"), /PortXmitData/);
  assert.match(await serverAndClient(session, "ibv_rc_pingpong -n 100", "ibv_rc_pingpong -n 100 n1"), /100 iters/);
});
