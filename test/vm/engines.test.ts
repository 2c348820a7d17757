// Two VMs whose HCAs are on different engine threads: unmodified programs see two switches and no other difference.

import assert from "node:assert/strict";
import { test } from "node:test";
import { run, serverAndClient, startSession } from "./session.ts";

test("two VMs on two engines", async (t) => {
  const session = await startSession(t, { nodes: 2, engines: 2 });
  if (session === undefined) return;

  await t.test("one subnet with two switches", async () => {
    const out = await run(session, "n1", "ibnetdiscover; sminfo; ibtracert $(cat /sys/class/infiniband/mthca0/ports/1/lid) 1");
    assert.equal(out.match(/^Switch/gm)?.length, 2, out);
    assert.equal(out.match(/^Ca/gm)?.length, 2, out);
    assert.match(out, /SMINFO_MASTER/);
  });

  await t.test("osmtest validates all that the subnet administration says", async () => {
    assert.match(await run(session, "n1", "cd /tmp && osmtest -f c && osmtest -f a"), /"All Validations" PASS/);
  });

  await t.test("IP over InfiniBand", async () => {
    assert.match(await run(session, "n1", "ping -c 3 -i 0.2 n2-ib"), / 0% packet loss/);
  });

  for (const [program, wanted] of [
    ["ibv_rc_pingpong -n 200 -c", /200 iters/],
    ["ibv_uc_pingpong -n 200 -c", /200 iters/],
    ["ibv_ud_pingpong -n 200", /200 iters/],
    ["ib_write_bw -n 200 -s 100000", /100000/],
    ["ib_read_bw -n 200 -s 100000", /100000/],
    ["ib_send_bw -n 200 -e", /65536/],
    ["ib_atomic_lat -n 200", /#bytes/],
  ] as const) {
    await t.test(program, async () => {
      assert.match(await serverAndClient(session, program, `${program} n1`), wanted);
    });
  }

  await t.test("rping: the connection manager, its data verified", async () => {
    const out = await serverAndClient(session, "rping -s -C 20 -v", "rping -c -a n1-ib -C 20 -V -v");
    assert.match(out, /ping data/);
  });

  await t.test("perfquery: every port on the way has counted the same of a service level, in both engines", async () => {
    await serverAndClient(session, "ib_write_bw -n 200 -s 100000 -S 3", "ib_write_bw -n 200 -s 100000 -S 3 n1");
    const { nodes } = (await session.describe()).fabric;
    const lidOf = (name: string): number => Math.max(...nodes.find((node) => node.name === name)!.ports.map(({ lid }) => lid));
    const to = (name: string, peer: string): string =>
      `${lidOf(name)} ${nodes.find((node) => node.name === name)!.ports.find((port) => port.peer?.name === peer)!.number}`;
    const sent = [to("n2", "s2"), to("s2", "s1"), to("s1", "n1")].map((port) => `perfquery --xmtsl ${port}`);
    const received = [to("s2", "n2"), to("s1", "s2"), to("n1", "s1")].map((port) => `perfquery --rcvsl ${port}`);
    const out = await run(session, "n1", [...sent, ...received].join(" && "));
    const counts = [...out.matchAll(/DataSL3:\.+(\d+)/g)].map(([, count]) => Number(count));
    assert.ok(counts[0]! >= (200 * 100_000) / 4, out);
    assert.deepEqual(counts, new Array(6).fill(counts[0]), out);
  });

  await t.test("everything that is for the other VM went as packets", async () => {
    const { hcas } = await session.describe();
    for (const { name, counters } of hcas) assert.ok((counters.packetsSent ?? 0) > 500, name);
  });
});
