// Partitions of a topology file as two VMs meet them: P_Keys in the kernel's table, IPoIB within a partition, nothing between limited members.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTopology } from "../../src/fabric/topology/parse.ts";
import { run, startSession } from "./session.ts";

const LAB = `
switches: { s1: { ports: 8 }, s2: { ports: 8 } }
hosts: { n1: { switch: s1 }, n2: { switch: s2 } }
links: [[s1, s2]]
partitions:
  blue: { pkey: 0x11, full: [n1, n2], ipoib: true, sl: 1 }
  default: { limited: all }
qos: { vl: [0, 1], low: { 0: 4, 1: 8 } }
`;

test("two VMs in a partition of their own", async (t) => {
  const session = await startSession(t, { nodes: 2, topology: parseTopology(LAB, "lab.yaml") });
  if (session === undefined) return;
  const pkeys = await run(session, "n1", "cat /sys/class/infiniband/mthca0/ports/1/pkeys/[01]");
  assert.deepEqual(pkeys.trim().split(/\s+/), ["0x7fff", "0x8011"]);
  for (const [node, address] of [
    ["n1", "10.99.0.1"],
    ["n2", "10.99.0.2"],
  ] as const) {
    await run(session, node, "echo 0x8011 > /sys/class/net/ib0/create_child");
    await run(session, node, `ip addr add ${address}/24 dev ib0.8011; ip link set ib0.8011 up`);
  }
  await run(session, "n1", "for i in $(seq 20); do ping -c 1 -W 1 10.99.0.2 && exit 0; sleep 0.5; done; exit 1");
  await run(session, "n1", "ping -c 1 -W 2 10.87.0.2", 1);
  const groups = await run(session, "n2", "saquery -g");
  assert.match(groups, /ff12:401b:8011::ffff:ffff[\s\S]*pkey\.*0x8011[\s\S]*SL\.*0x1/);
  assert.match(await run(session, "n2", "saquery SL2VL"), /VL: 0\| 1\| 0\| 1\|/);
  // a switch is written to by the manager only
  await run(session, "n1", "ibportstate 1 1 disable 2>&1; ibportstate 1 1 query | grep -q LinkUp");
});
