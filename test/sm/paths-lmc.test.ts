// Path records where ports have several LIDs (LMC). IBA vol 1, 15.2.5.16 and 7.11.1.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LidTable } from "../../src/sm/lids.ts";
import { PathComponent as C } from "../../src/spec/mad/components.ts";
import { Method } from "../../src/spec/mad/numbers.ts";
import { PathRecord } from "../../src/spec/mad/sa-records.ts";
import { AT, ask, askTable, bit, gidOf, path, running } from "./administrator-kit.ts";

/** Four switches in a ring, a host on each, two LIDs for each host: two ways to the host across. */
function ring() {
  const { subnet } = running({ switches: 4, shape: "loop", hosts: 4 }, { lmc: 1 });
  const between =
    (more: (mad: DataView) => void = () => {}) =>
    (mad: DataView) => {
      PathRecord.sgid.set(mad, AT, gidOf(subnet, 0));
      PathRecord.dgid.set(mad, AT, gidOf(subnet, 2));
      more(mad);
    };
  const lidsOf = (record: DataView, at = 0): [number, number] => [
    PathRecord.slid.get(record, at),
    PathRecord.dlid.get(record, at),
  ];
  const [s, d] = [subnet.port(0).lid, subnet.port(2).lid];
  return { subnet, between, lidsOf, s, d };
}

test("a table of paths has one for each LID, by different ways, each the way back of another", () => {
  const { subnet, between, lidsOf, s, d } = ring();
  assert.deepEqual([s % 2, subnet.port(0).lmc], [0, 1]);
  const { records } = askTable(subnet, 0, path(bit(C.SGID, C.DGID), between(), Method.GET_TABLE));
  const expected = [
    [s, d],
    [s + 1, d + 1],
  ];
  assert.deepEqual(
    records.map((record) => lidsOf(record)),
    expected,
  );
  const { linear } = subnet.switches[0]!.switch;
  assert.notEqual(linear.portOf(d), linear.portOf(d + 1));
  assert.equal(subnet.port(0).resolve(d + 1), subnet.port(2).index);
});

test("a Get has one path; NumbPath bounds a table; LIDs that are given are kept to", () => {
  const { subnet, between, lidsOf, s, d } = ring();
  const get = (query: Parameters<typeof ask>[2]): number[] => {
    const answer = ask(subnet, 0, query);
    return lidsOf(answer.view, answer.madAt + AT);
  };
  assert.deepEqual(get(path(bit(C.SGID, C.DGID), between())), [s, d]);
  for (const [numbPath, paths] of [
    [1, 1],
    [0, 2],
  ] as const) {
    const wish = between((mad) => PathRecord.numbPath.set(mad, AT, numbPath));
    assert.equal(askTable(subnet, 0, path(bit(C.SGID, C.DGID, C.NUMB_PATH), wish, Method.GET_TABLE)).records.length, paths);
    assert.deepEqual(get(path(bit(C.SGID, C.DGID, C.NUMB_PATH), wish)), [s, d]);
  }
  const toOdd = between((mad) => PathRecord.dlid.set(mad, AT, d + 1));
  const { records } = askTable(subnet, 0, path(bit(C.SGID, C.DGID, C.DLID), toOdd, Method.GET_TABLE));
  const expected = [
    [s, d + 1],
    [s + 1, d + 1],
  ];
  assert.deepEqual(
    records.map((record) => lidsOf(record)),
    expected,
  );
});

test("as many ports as the check of a topology lets through have LIDs, whatever order they come in", () => {
  for (const lmc of [3, 7]) {
    for (const isSwitchesFirst of [true, false]) {
      const count = 2 ** lmc;
      const hosts = Math.floor(49_152 / count) - 1;
      const lids = new LidTable();
      const assign = (guids: number, from: number, each: number): number[] =>
        Array.from({ length: guids }, (_, i) => lids.assign(BigInt(from + i), 0, each, () => true));
      const switchesOf = (): number[] => assign(count - 1, 1 << 20, 1);
      const first = isSwitchesFirst ? switchesOf() : [];
      const all = [...first, ...assign(hosts, 1, count), ...(isSwitchesFirst ? [] : switchesOf())];
      assert.ok(
        all.every((lid) => lid > 0),
        `LMC ${lmc}`,
      );
      assert.equal(
        lids.assign(1n << 40n, 0, 1, () => true),
        0,
        "and that is all",
      );
    }
  }
});
