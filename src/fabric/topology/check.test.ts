import assert from "node:assert/strict";
import { test } from "node:test";
import { checkLids, checkTopology } from "./check.ts";
import type { LinkEnd, Topology, TopologyLink, TopologyNode } from "./topology.ts";

const s1: TopologyNode = { kind: "switch", name: "s1", portCount: 4, line: 2 };
const n1: TopologyNode = { kind: "host", name: "n1", portCount: 1, line: 3 };
const topology = (nodes: readonly TopologyNode[], links: readonly TopologyLink[] = []): Topology => ({
  source: "lab.yaml",
  nodes,
  links,
});
const link = (a: LinkEnd, b: LinkEnd, rest: Partial<TopologyLink> = {}): TopologyLink => ({ ends: [a, b], line: 9, ...rest });
const end = (node: string, port: number): LinkEnd => ({ node, port });

test("a topology that can be built has nothing to complain about", () => {
  const n2: TopologyNode = { kind: "host", name: "n2", portCount: 2, guid: 5n };
  checkTopology(topology([s1, n1, n2], [link(end("n1", 1), end("s1", 4)), link(end("n2", 2), end("s1", 1), { loss: 0.5 })]));
});

test("each mistake is named with its line, what was expected and how to mend it", () => {
  const host = (name: string, guid: bigint, rest: Partial<TopologyNode> = {}): TopologyNode => ({ ...n1, name, guid, ...rest });
  for (const [wrong, message] of [
    [topology([]), /^Error: lab.yaml: there is no node in it/],
    [
      topology([s1, { ...s1, line: 7 }]),
      /^Error: lab.yaml:7: there are two nodes named s1 \(the first one is in line 2\); give one/,
    ],
    [topology([{ ...s1, portCount: 255 }]), /^Error: lab.yaml:2: switch s1: expected 1 to 254 ports, got 255/],
    [topology([{ ...n1, portCount: 255 }]), /host n1: expected 1 to 254 ports, got 255/],
    [topology([{ ...n1, portCount: 0.5 }]), /expected 1 to 254 ports, got 0.5/],
    [topology([host("n1", 2n ** 64n)]), /a GUID of 64 bits that is not 0, got 0x10000000000000000/],
    [topology([{ ...n1, description: "é".repeat(33) }]), /at most 64 bytes/],
    [topology([host("a", 7n), host("b", 7n)]), /node GUID 0x0000000000000007 of b is that of a too; every node needs one/],
    [topology([host("a", 7n), { ...s1, guid: 8n }]), /port GUID 0x0000000000000008 of s1 is that of a too/],
    [topology([host("a", 7n, { portGuids: new Map([[1, 10n]]) }), host("b", 9n)]), /port GUID .*a of b is that of a too/],
    [
      topology([s1, n1], [link(end("n1", 1), end("s2", 1))]),
      /^Error: lab.yaml:9: a cable leads to s2, but there is no such node/,
    ],
    [topology([s1, n1], [link(end("n1", 1), end("s1", 5))]), /switch s1 has ports 1 to 4, got 5/],
    [topology([s1, n1], [link(end("n1", 1), end("s1", 0))]), /switch s1 has ports 1 to 4, got 0/],
    [topology([s1], [link(end("s1", 1), end("s1", 1))]), /port 1 of s1 has two cables \(the first one is in line 9\)/],
    [topology([s1, n1], [link(end("n1", 1), end("s1", 1), { loss: 2 })]), /loss: expected a part of 1, from 0 to 1, got 2/],
    [topology(Array.from({ length: 49_152 }, (_, i) => ({ ...n1, name: `n${i}` }))), /at most 49151 .*got 49152/],
    [topology(Array.from({ length: 1100 }, (_, i) => ({ ...s1, name: `s${i}`, portCount: 254 }))), /at most 262144 ports/],
  ] as const) {
    assert.throws(() => checkTopology(wrong), message);
  }
});

test("LIDs for all, with LMC: as many as fit, and no more", () => {
  const topology = (hosts: number, switches: number): Topology => ({
    source: "big",
    nodes: [
      ...Array.from({ length: switches }, (_, i) => ({ kind: "switch" as const, name: `s${i}`, portCount: 1 })),
      ...Array.from({ length: hosts }, (_, i) => ({ kind: "host" as const, name: `h${i}`, portCount: 1 })),
    ],
    links: [],
  });
  checkLids(topology(49_150, 1), 0);
  assert.throws(
    () => checkLids(topology(49_151, 1), 0),
    /big: there are 49151 LIDs, too few for 49151 host ports with 2\^0 LIDs each/,
  );
  checkLids(topology(383, 127), 7);
  assert.throws(
    () => checkLids(topology(383, 128), 7),
    /too few for 383 host ports with 2\^7 LIDs each and 128 switches; use a smaller --lmc/,
  );
  assert.throws(() => checkLids(topology(384, 1), 7), /--lmc/);
});
