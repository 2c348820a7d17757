import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTopology } from "./parse.ts";

const read = (text: string) => parseTopology(text, "fabric.net");

/** As ibnetdiscover prints it. */
const DISCOVERED = `#
# Topology file: generated on Tue Nov 24 17:00:00 2026
#
# Initiated from node 0002c90300000010 port 0002c90300000011

vendid=0x8f1
devid=0x5a06
sysimgguid=0x5442ba00003000
switchguid=0x5442ba00003080(5442ba00003080)
Switch\t24 "S-005442ba00003080"\t\t# "leaf one" base port 0 lid 6 lmc 0
[22]\t"H-0002c90300000010"[1](2c90300000011) \t\t# "left HCA-1" lid 4 4xSDR
[10]\t"S-0002c90400000015"[1]\t\t# "spine" lid 3 4xEDR
[8]\t"H-0002c90300000010"[2](2c90300000099) \t\t# "left HCA-1" lid 14 1xDDR

vendid=0x2c9
switchguid=0x2c90400000015(2c90400000015)
Switch\t36 "S-0002c90400000015"\t\t# "spine" enhanced port 0 lid 3 lmc 0
[1]\t"S-005442ba00003080"[10]\t\t# "leaf one" lid 6 4xEDR

caguid=0x2c90300000010
Ca\t2 "H-0002c90300000010"\t\t# "left HCA-1"
[1](2c90300000011) \t"S-005442ba00003080"[22]\t\t# lid 4 lmc 0 "leaf one" lid 6 4xSDR
[2](2c90300000099) \t"S-005442ba00003080"[8]\t\t# lid 14 lmc 0 "leaf one" lid 6 1xDDR
`;

test("what ibnetdiscover prints: nodes, GUIDs, descriptions, each cable once, as fast as it is", () => {
  const { nodes, links } = read(DISCOVERED);
  assert.deepEqual(
    nodes.map(({ kind, name, portCount, guid, description }) => [kind, name, portCount, guid, description]),
    [
      ["switch", "S-005442ba00003080", 24, 0x5442ba00003080n, "leaf one"],
      ["switch", "S-0002c90400000015", 36, 0x2c90400000015n, "spine"],
      ["host", "H-0002c90300000010", 2, 0x2c90300000010n, "left HCA-1"],
    ],
  );
  assert.deepEqual(
    [...nodes[2]!.portGuids!],
    [
      [1, 0x2c90300000011n],
      [2, 0x2c90300000099n],
    ],
  );
  assert.deepEqual(
    links.map(({ ends: [a, b], width, speed, line }) => [a.port, b.node, b.port, width, speed, line]),
    [
      [22, "H-0002c90300000010", 1, "4X", "SDR", 11],
      [10, "S-0002c90400000015", 1, "4X", "EDR", 12],
      [8, "H-0002c90300000010", 2, "1X", "DDR", 13],
    ],
  );
});

test("vendor, device, system image GUID and the kind of port 0 are taken over; the device stays for what follows, as in ibsim", () => {
  const identities = read(DISCOVERED).nodes.map(({ identity }) => identity);
  assert.deepEqual(identities, [
    { vendorId: 0x8f1, deviceId: 0x5a06, systemImageGuid: 0x5442ba00003000n, enhancedPort0: false },
    { vendorId: 0x2c9, deviceId: 0x5a06, enhancedPort0: true },
    { deviceId: 0x5a06 },
  ]);
});

test("ibsim's netlists: names of any kind, no GUIDs, cables listed at one end or at both", () => {
  const { nodes, links } = read(
    '# a comment\nSwitch 8 "Sw 1"\n[1] "Hca1"[1]\n[2] "Hca2"\n\nHca 2 "Hca1" # the first\n[1] "Sw 1"[1]\nHca 1 "Hca2"\n',
  );
  assert.deepEqual(
    nodes.map(({ name, guid, description }) => [name, guid, description]),
    [
      ["Sw 1", undefined, undefined],
      ["Hca1", undefined, "the first"],
      ["Hca2", undefined, undefined],
    ],
  );
  assert.deepEqual(
    links.map(({ ends: [a, b] }) => [a.port, b.node, b.port]),
    [
      [1, "Hca1", 1],
      [2, "Hca2", 1],
    ],
  );
});

test("what makes no sense, and what ibsim would take and vhca does not, is said with its line", () => {
  const start = 'Switch 8 "s"\n';
  for (const [text, message] of [
    [`${start}Switch 8 "s"\n`, /fabric.net:2: node "s" is in line 1 already/],
    [`${start}Switch "t"\n`, /fabric.net:2: expected a node such as: Switch 36 "name".* got: Switch "t"/],
    [`${start}[1] s[1]\n`, /fabric.net:2: expected a cable such as: \[1\] "name"\[2\], got: \[1\] s\[1\]/],
    [`[1] "s"[1]\n${start}`, /fabric.net:1: a port without a node/],
    [`${start}[1] "s"[2]\n[1] "s"[3]\n`, /fabric.net:3: port 1 of "s" is in line 2 already/],
    [
      `${start}[1] "h"[1]\nCa 1 "h"\n[1] "s"[2]\n`,
      /fabric.net:2: "s"\[1\] leads to "h"\[1\], but in line 4 that leads to "s"\[2\]/,
    ],
    [`${start}[9] "h"[1]\nCa 1 "h"\n`, /fabric.net:2: switch s has ports 1 to 8, got 9/],
    [`${start}[1] "h"[1]\n`, /fabric.net:2: a cable leads to h, but there is no such node/],
    [`${start}Rt 2 "r"\n`, /fabric.net:2: routers are not there/],
    [`${start}include "x"\n`, /fabric.net:2: other files are not read/],
    [`${start}do Link "a"[1] "b"[1]\n`, /fabric.net:2: commands of ibsim's console/],
    [`module="m"\n${start}`, /fabric.net:1: modules are not read/],
    [`${start}@[1] "alias"\n`, /fabric.net:2: port aliases are not read/],
    [`switchguid+=0x1\n${start}`, /fabric.net:1: relative GUIDs are not read/],
    [`switchguid=0x0\n${start}`, /fabric.net:2: switch s: expected a GUID of 64 bits that is not 0/],
  ] as const) {
    assert.throws(() => read(text), message, text);
  }
});
