import assert from "node:assert/strict";
import { test } from "node:test";
import { PortInfo } from "../../spec/mad/sm-attributes.ts";
import { Fabric } from "../fabric.ts";
import { buildTopology } from "./build.ts";
import { parseTopology } from "./parse.ts";

const read = (text: string) => parseTopology(text, "lab.yaml");

test("switches, hosts, ranges and cables, with and without ports", () => {
  const { nodes, links } = read(`
switches:
  leaf: { ports: 6 }
  spine: { guid: 0xfedcba9876543210, description: top of the rack }
  bare:
hosts:
  n1: { switch: leaf }
  "m[9-11]": { switch: leaf, speed: SDR }
  fat: { ports: 2 }
  lonely:
links:
  - [leaf:1, spine]
  - { ends: [fat, spine:8], width: 1X, loss: 0.25, corruption: 0.5%, delay: 5us }
  - [fat, spine]
`);
  assert.deepEqual(
    nodes.map(({ kind, name, portCount, line }) => [kind, name, portCount, line]),
    [
      ["switch", "leaf", 6, 3],
      ["switch", "spine", 36, 4],
      ["switch", "bare", 36, 5],
      ["host", "n1", 1, 7],
      ["host", "m9", 1, 8],
      ["host", "m10", 1, 8],
      ["host", "m11", 1, 8],
      ["host", "fat", 2, 9],
      ["host", "lonely", 1, 10],
    ],
  );
  assert.equal(nodes[1]!.guid, 0xfedcba9876543210n);
  assert.equal(nodes[1]!.description, "top of the rack");
  assert.deepEqual(
    links.map(({ ends }) => ends.map(({ node, port }) => `${node}:${port}`).join(" ")),
    ["n1:1 leaf:2", "m9:1 leaf:3", "m10:1 leaf:4", "m11:1 leaf:5", "leaf:1 spine:1", "fat:1 spine:8", "fat:2 spine:2"],
  );
  assert.deepEqual([links[1]!.speed, links[5]!.width, links[5]!.line], ["SDR", "1X", 13]);
  assert.deepEqual([links[5]!.loss, links[5]!.corruption, links[5]!.delayNs], [0.25, 0.005, 5000]);
});

test("what is built: phantoms up at once, cables no faster than they are, some of them lossy", () => {
  const fabric = new Fabric();
  const text = "switches: {s: {ports: 4}}\nhosts: {a: {switch: s, width: 1X, speed: SDR}, b: {switch: s, loss: 1}, c: {}}";
  const { hosts } = buildTopology(fabric, read(text));
  const [a, b, c] = ["a", "b", "c"].map((name) => hosts.get(name)!.ports[1]!);
  const rateOf = (port: typeof a) => [PortInfo.linkWidthActive.get(port!.info, 0), PortInfo.linkSpeedActive.get(port!.info, 0)];
  assert.deepEqual(
    [rateOf(a), rateOf(b)],
    [
      [1, 1],
      [2, 2],
    ],
  );
  assert.deepEqual([a!.isLinkUp, b!.isLinkUp, c!.isLinkUp], [true, true, false]);
  assert.deepEqual(b!.link!.faults, { loss: 1, corruption: 0, delayNs: 0 });
  assert.equal(a!.link!.faults, undefined);
});

test("each mistake is named with its line, what was expected and what was found", () => {
  for (const [text, message] of [
    ["", /lab.yaml:1: expected switches:, hosts:, links:, partitions:, qos: and lanes:/],
    ["hello", /expected switches:, hosts:, links:, partitions:, qos: and lanes:/],
    ["{}", /there is no node in it/],
    ["switches:\n  s1: {ports: 4\n", /lab.yaml:\d: this is not YAML: /],
    ["switches:\n  s1:\n  s1:\n", /lab.yaml:\d: this is not YAML: Map keys must be unique/],
    ["switches:\n  s1:\n    port: 4\n", /lab.yaml:3: switches.s1: Unrecognized key: "port"; did you mean ports\?$/],
    ["switches:\n  s1:\n    guid: 4\n    ports: four\n", /lab.yaml:4: switches.s1.ports: expected a whole number, got "four"/],
    ["switches:\n  s1:\n    ports: 999\n", /lab.yaml:2: switch s1: expected 1 to 254 ports, got 999/],
    ["switches:\n  'a b':\n", /lab.yaml:2: .*expected a name of letters/],
    ["switches: {s: }\nhosts:\n  n: {switch: t}\n", /lab.yaml:3: a cable leads to t, but there is no such node/],
    ["switches: {s: {ports: 1}}\nhosts:\n  n: {switch: s}\n  m: {switch: s}\n", /lab.yaml:4: s has no free port: all 1 have/],
    ["switches: {s: }\nlinks:\n  - [s:1]\n", /lab.yaml:3: links.0.*expected \[NODE:PORT/],
    ["switches: {s: }\nlinks:\n  - [s:1, s:x]\n", /lab.yaml:3: expected NODE or NODE:PORT as the end of a cable, got "s:x"/],
    [
      "switches: {s: }\nlinks:\n  - [s:1, s:2]\n  - [s:3, s:2]\n",
      /lab.yaml:4: port 2 of s has two cables \(the first one is in line 3/,
    ],
    ["hosts:\n  n: {switch: s, speed: XDR}\n", /lab.yaml:2: hosts.n.speed: .*"SDR"\|"DDR"/],
    [
      "hosts:\n  n: {latency: 3}\n",
      /lab.yaml:2: hosts.n: Unrecognized key: "latency"; expected ports, switch, guid, description, width, speed, loss, corruption, delay$/,
    ],
    ["switch: {s: }\n", /lab.yaml:1: Unrecognized key: "switch"; did you mean switches\?$/],
    [
      "switches: {spine: }\nhosts:\n  n: {switch: spin}\n",
      /a cable leads to spin, but there is no such node; did you mean spine\?$/,
    ],
    ["hosts:\n  n: {delay: 3}\n", /hosts.n.delay: expected a duration such as 250ns, 5us or 1.5ms, got 3/],
    ["switches: {s: }\nhosts:\n  n: {switch: s, loss: 101%}\n", /lab.yaml:3: loss: expected a part of 1, from 0 to 1, got 1.01/],
    ["hosts:\n  'n[3-1]':\n", /lab.yaml:2: n\[3-1\]: expected a range of 1 to 49151 nodes/],
    ["hosts:\n  'n[1-2]': {guid: 5}\n", /lab.yaml:2: hosts n\[1-2\]: a range cannot have one GUID/],
    ["hosts:\n  'n[1-40000]':\n  'm[1-40000]':\n", /lab.yaml:3: m\[1-40000\]: expected at most 49151 nodes in all/],
    ["hosts: {n: }\npartitions:\n  p: {full: [n]}\n", /lab.yaml:3: partition p: expected a P_Key: pkey: 0x11/],
    ["hosts: {n: }\npartitions:\n  p: {pkey: 0x8001}\n", /lab.yaml:3: partitions.p.pkey: expected a P_Key of 0x1 to 0x7fff/],
    [
      "hosts: {n: }\npartitions:\n  p: {pkey: 1, full: [m]}\n",
      /lab.yaml:3: partition p: there is no host m; expected one of hosts:/,
    ],
    ["hosts: {n: }\npartitions:\n  p: {pkey: 1}\n  q: {pkey: 1}\n", /lab.yaml:4: partition q: P_Key 0x1 is that of p/],
    ["hosts: {n: }\npartitions:\n  p: {pkey: 1, sl: 16}\n", /lab.yaml:3: partitions.p.sl: expected a service level, 0 to 15/],
    ["hosts: {n: }\nlanes: 3\n", /lab.yaml:2: lanes: expected true, or \{ buffer: 8KiB, head-of-queue: 100us \}, got 3/],
    ["hosts: {n: }\nlanes: { buffer: 1KiB }\n", /lab.yaml:2: .*expected bytes of a buffer, 4352 to 131072, such as 8192 or 8KiB/],
    ["hosts: {n: }\nqos:\n  vl: [8]\n", /lab.yaml:3: qos.vl.0: expected a virtual lane, 0 to 7/],
    ["hosts: {n: }\nqos:\n  low: {9: 1}\n", /expected a virtual lane, 0 to 7/],
    ["hosts: {n: }\nqos:\n  levels: [{sl: 1, service: x}]\n", /expected a service ID such as/],
    [`hosts: &a {n: }\nx: ${"[".repeat(20_000)}`, /lab.yaml:\d: /],
  ] as const) {
    assert.throws(() => read(text), message, text.slice(0, 80));
  }
});

test("partitions and service levels", () => {
  const { partitions, qos } = read(`
hosts: { n1: , "m[1-3]": }
partitions:
  blue: { pkey: 0x11, full: [n1], limited: ["m[2-3]"], ipoib: true, sl: 4 }
  default: { limited: all }
qos:
  vl: [0, 1, 2]
  high: { 1: 64 }
  low: { 0: 4, 2: 8 }
  high-limit: 9
  levels: [{ sl: 2, service: [0x1000000000000, 0x1ffffffffffff] }, { sl: 3, class: 5 }]
`);
  assert.deepEqual(partitions, [
    { name: "blue", pkey: 0x11, full: ["n1"], limited: ["m2", "m3"], isIpoib: true, sl: 4 },
    { name: "default", pkey: 0x7fff, full: [], limited: "all", isIpoib: true, sl: 0 },
  ]);
  assert.deepEqual(qos, {
    slToVl: [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0],
    high: [[1, 64]],
    low: [
      [0, 4],
      [2, 8],
    ],
    highLimit: 9,
    levels: [
      { sl: 2, serviceIds: [0x1000000000000n, 0x1ffffffffffffn] },
      { sl: 3, qosClass: 5 },
    ],
  });
  const plain = read("hosts: {n: }");
  assert.deepEqual([plain.partitions, plain.qos, plain.lanes], [undefined, undefined, undefined]);
});

test("lanes", () => {
  const lanes = (text: string) => read(`hosts: {n: }\nlanes: ${text}\n`).lanes;
  assert.deepEqual(lanes("true"), {});
  assert.equal(lanes("false"), undefined);
  assert.deepEqual(lanes("{ buffer: 8KiB }"), { bufferBytes: 8192 });
  assert.deepEqual(lanes("{ buffer: 5000 }"), { bufferBytes: 5000 });
  assert.deepEqual(
    ["1ns", "4096ns", "100us", "1s", "60s"].map((text) => lanes(`{ head-of-queue: ${text} }`)?.headOfQueueLife),
    [0, 0, 5, 18, 20],
  );
});
