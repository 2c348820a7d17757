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
    { vendorId: 0x2c9, deviceId: 0x5a06, systemImageGuid: 0x2c90400000015n, enhancedPort0: true },
    { vendorId: 0, deviceId: 0x5a06, systemImageGuid: 0x2c90300000010n },
  ]);
});

test("ibsim's netlists: names of any kind, GUIDs and rates by default as there, cables listed at one end or at both", () => {
  const { nodes, links } = read(
    '# a comment\nSwitch 8 "Sw 1"\n[1] "Hca1"[1]\n[2] "Hca2"\n\nHca 2 "Hca1" # the first\n[1] "Sw 1"[1]\nHca 1 "Hca2"\n',
  );
  assert.deepEqual(
    nodes.map(({ name, guid, description }) => [name, guid, description]),
    [
      ["Sw 1", 0x200000n, undefined],
      ["Hca1", 0x100000n, "the first"],
      ["Hca2", 0x100003n, undefined],
    ],
  );
  assert.deepEqual(
    links.map(({ ends: [a, b], width, speed }) => [a.port, b.node, b.port, width, speed]),
    [
      [1, "Hca1", 1, "4X", "SDR"],
      [2, "Hca2", 1, "4X", "SDR"],
    ],
  );
});

test("what makes no sense, and what cannot be carried out, is said with its line", () => {
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
    [`${start}include "x"\n`, /fabric.net:2: "x" is not read: this netlist has no folder; put the files together/],
    [`${start}include x\n`, /fabric.net:2: expected a name in quotes/],
    [`${start}do Link "s"[1] "b"[1]\n`, /fabric.net:2: there is no node "b" yet/],
    [`${start}do Link "s"[1] "s"[9]\n`, /fabric.net:2: "s" has ports 1 to 8, got 9/],
    [`${start}do Link "s"[1] "s"\n`, /fabric.net:2: expected a port: "s"\[1\]/],
    [`${start}do Link "s"[1] "s"[2]\ndo Link "s"[2] "s"[3]\n`, /fabric.net:3: "s"\[2\] has a cable already/],
    [`${start}[1] "t"[1]\ndo Unlink "s"[1]\n`, /fabric.net:3: there is no cable yet that a command has plugged in/],
    [`${start}do ReLink "s"[1]\n`, /fabric.net:2: no cable has been unplugged there/],
    [`${start}do Error "s"[1] 101\n`, /fabric.net:2: expected a part from 0 to 100/],
    [`${start}do Error "s"[1] 10 17\n`, /fabric.net:2: a port loses packets, whatever attribute/],
    [`${start}do Quit\n`, /fabric.net:2: expected a command for the fabric \(Link, .*got: Quit/],
    [`module="${"m".repeat(21)}"\n${start}`, /fabric.net:1: module "m+": expected at most 20 characters/],
    [`Switch 8 "a#b"\n`, /fabric.net:1: node "a#b": # and @ join names/],
    [`${start}@[1] "x"\n@[2] "x"\n`, /fabric.net:3: alias "@x" is that of "s"\[1\] already/],
    [`${start}[1] "@x"\n@[2] "x"\n`, /fabric.net:2: no port has the alias "@x"; an alias comes before what uses it/],
    [`switchguid+=0x1\n${start}`, /fabric.net:1: expected switchguid=GUID, or switchguid\+NUMBER .* got: switchguid\+=/],
    [`width=32\n${start}`, /fabric.net:1: width=: expected a mask from 1 to 31, got 32/],
    [`${start}[1] "s"[2] w=0\n`, /fabric.net:2: w=: expected a mask from 1 to 31, got 0/],
    [`${start}[1] "s"[2] w=1\n[2] "s"[1] w=2\n`, /fabric.net:2: "s"\[1\] and "s"\[2\]: widths 1 and 2 have nothing in common/],
    [`${start}[1] "s"[2] s=1\n[2] "s"[1] s=2\n`, /fabric.net:2: .* speeds 1 and 2 have nothing in common/],
    [`switchguid=0x0\n${start}`, /fabric.net:2: switch s: expected a GUID of 64 bits that is not 0/],
  ] as const) {
    assert.throws(() => read(text), message, text);
  }
});

const ends = ({ links }: ReturnType<typeof read>): string[] =>
  links.map(({ ends: [a, b] }) => `${a.node}:${a.port} ${b.node}:${b.port}`);

test("modules prefix what they have; aliases are ports by another name, within a module and from outside", () => {
  const topology = read(`module="r1"
Switch 8 "leaf"
[1] "h"[1]
@[8] "up" w=3
Ca 1 "h"
[1] "leaf"[1]

module="r2"
Switch 8 "leaf" # "second"
@[7] "up"
[1] "r1#h2"[1]
[8] "r1@up"
module=""
Switch 8 "top"
[1] "r2@up"
[2] "r1#leaf"[2]
module="r1"
Ca 1 "h2"
[1] "r2#leaf"[1]
`);
  assert.deepEqual(
    topology.nodes.map(({ name, description }) => [name, description]),
    [
      ["r1#leaf", undefined],
      ["r1#h", undefined],
      ["r2#leaf", "second"],
      ["top", undefined],
      ["r1#h2", undefined],
    ],
  );
  assert.deepEqual(ends(topology).sort(), [
    "r1#leaf:1 r1#h:1",
    "r2#leaf:1 r1#h2:1",
    "r2#leaf:8 r1#leaf:8",
    "top:1 r2#leaf:7",
    "top:2 r1#leaf:2",
  ]);
});

test("GUIDs: the last one and a number, or the next ones; numbers as C reads them", () => {
  const { nodes } = read(
    'switchguid=0x100\nSwitch 2 "a"\nSwitch 2 "b"\nswitchguid+020\nSwitch 2 "c"\nswitchguid=768\nSwitch 2 "d"\ncaguid+0x10\nHca 2 "e"\nCa 1 "f"\n',
  );
  assert.deepEqual(
    nodes.map(({ guid }) => guid),
    [0x100n, 0x101n, 0x110n, 0x300n, 0x100010n, 0x100013n],
  );
});

test("rates: masks of both ends, of ports and for all that follow, and as ibnetdiscover prints them", () => {
  const { links } = read(`width=10
speed=3
extspeed=1
Switch 8 "s" # spine core base port 0 lid 3
[1] "t"[1]
[2] "t"[2] w=2 s=0 e=0
[3] "t"[3] # "t" lid 4 12xFDR10
[4] "t"[4] # "t" lid 4 4xHDR
[5] "t"[5] # "t" lid 4 4xXDR
Switch 8 "t"
[1] "s"[1] e=15
[2] "s"[2] s=7
[3] "s"[3] # lid 3 12xQDR
[4] "s"[4] # lid 3 4xNDR
[5] "s"[5] # lid 3
`);
  assert.deepEqual(
    links.map(({ width, speed }) => `${width} ${speed}`),
    ["12X FDR", "4X QDR", "12X FDR", "4X HDR", "4X FDR"],
  );
});

test("files that a netlist includes: state goes on, errors say the file and who reads it, and there are bounds", () => {
  const files: Record<string, string> = {
    leaf: 'Switch 8 "leaf"\n@[8] "up"\n[1] "h"[1]\n\nCa 1 "h"\n[1] "leaf"[1]\n',
    bad: 'include "worse"\n',
    worse: 'Switch 2 "w"\n[1] w[2]\n',
    twice: 'Switch 8 "twice"\n[9] "twice"[1]\n',
    loop: 'include "loop"\ninclude "loop"\n',
    commands: '# a comment\nLink "top"[4] "r2#leaf"[4]\nLink "top"[5] "r2#leaf"[5]\n',
  };
  const readFiles = (text: string) =>
    parseTopology(text, "main", (name) => files[name] ?? assert.fail(new Error("no such file")));
  const topology = readFiles(
    'module="r1"\ninclude "leaf"\nmodule="r2"\ninclude "leaf"\nmodule=""\nSwitch 8 "top" # the top\n[1] "r1@up"\n[2] "r2@up"\n\ndo !commands\n',
  );
  assert.deepEqual(ends(topology), [
    "r1#leaf:1 r1#h:1",
    "r2#leaf:1 r2#h:1",
    "top:1 r1#leaf:8",
    "top:2 r2#leaf:8",
    "top:4 r2#leaf:4",
    "top:5 r2#leaf:5",
  ]);
  assert.deepEqual([topology.nodes[2]!.source, topology.nodes[2]!.line, topology.nodes[4]!.source], ["leaf", 1, undefined]);
  for (const [text, message] of [
    ['\ninclude "bad"\n', /^Error: worse:2: expected a cable such as: .*; read from bad:1; read from main:2$/],
    ['include "twice"\n', /^Error: twice:2: switch twice has ports 1 to 8, got 9/],
    ['include "leaf"\ninclude "leaf"\n', /^Error: leaf:1: node "leaf" is in line 1 already; .*read from main:2$/],
    ['include "none"\n', /^Error: main:1: "none" cannot be read: no such file/],
    ['include "loop"\n', /^Error: loop:1: expected at most 9 files that include each other, one in the other/],
    ['include "leaf"\n[2] "x"[1]\n', /^Error: main:2: a port without a node/],
  ] as const) {
    assert.throws(() => readFiles(text), message, text);
  }
  files.loop = 'include "empty"\n'.repeat(1024);
  files.empty = "";
  assert.throws(() => readFiles('include "loop"\n'), /loop:1023: the files are too large, or too many/);
});

test("commands: cables in and out, GUIDs, loss; what only shows or waits does nothing", () => {
  const topology = read(`Switch 8 "s"
[1] "h"[1]

Hca 2 "h"
[1] "s"[1] # lid 1 lmc 0 "s" lid 1 4xQDR

do link "s"[2] "s"[3]
do Link "s"[4] "h"[2]
do unlink "s"[3]
do Relink "s"
do Unlink "h"
do Clear "s"[1]
do Guid "h" 0x77
do Guid "s" 0x88
do Guid "h"[2] 0x99
do Error "s"[2] 10
do Error "h" 50
do Dump
do Wait 3
do Start
do
`);
  assert.deepEqual(ends(topology), ["s:1 h:1", "s:3 s:2"]);
  assert.deepEqual(
    topology.links.map(({ loss }) => loss),
    [0.5, 0.09999999999999998],
  );
  assert.deepEqual(
    topology.nodes.map(({ guid }) => guid),
    [0x88n, 0x77n],
  );
  assert.deepEqual([...topology.nodes[1]!.portGuids!], [[2, 0x99n]]);
});
