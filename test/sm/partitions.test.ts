// Partitions: P_Key tables of hosts and switches, what gets through, what the administration tells whom. IBA vol 1, 10.9.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import { newDirectedSmp, newRequest } from "../../src/mad/mad.ts";
import { gmpAddress } from "../../src/mad/packet.ts";
import type { PartitionOptions } from "../../src/sm/partitions.ts";
import { IPOIB_BROADCAST, ipoibBroadcast } from "../../src/sm/sa/mcmember.ts";
import { type SubnetManager, subnetManager } from "../../src/sm/subnet-manager.ts";
import { PortState } from "../../src/spec/ib/numbers.ts";
import { PortCounter } from "../../src/spec/ib/port-counters.ts";
import { McComponent as M, PathComponent as P } from "../../src/spec/mad/components.ts";
import { SMP_DATA_AT } from "../../src/spec/mad/headers.ts";
import { JoinState, Method, MgmtClass, SaAttribute, SaStatus, SmAttribute } from "../../src/spec/mad/numbers.ts";
import { LinkRecord, McMemberRecord, NODE_RECORD_INFO_AT, PathRecord, PKeyTableRecord } from "../../src/spec/mad/sa-records.ts";
import { NodeInfo, PortInfo } from "../../src/spec/mad/sm-attributes.ts";
import { AT, ask, askTable, bit, gidOf, path, request, running, S, statusOf } from "./administrator-kit.ts";

const MS = 1e6;
const nobody: readonly string[] = [];
const host = (...numbers: number[]): string[] => numbers.map((n) => `host ${n}`);

const partition = (options: Partial<PartitionOptions> & Pick<PartitionOptions, "pkey">): PartitionOptions => ({
  name: `p${options.pkey}`,
  full: nobody,
  limited: nobody,
  isIpoib: false,
  sl: 0,
  ...options,
});

/** Hosts 0 and 1 are full members of one partition, 2 and 3 limited ones; 4 is in none; nobody is a full member of the default one. */
const CLOSED: readonly PartitionOptions[] = [
  partition({ pkey: 0x7fff, full: nobody, limited: "all", isIpoib: true }),
  partition({ pkey: 0x11, full: host(0, 1), limited: host(2, 3), isIpoib: true, sl: 3 }),
];
const closed = (hosts = 5, switches = 1) => running({ hosts, switches }, { partitions: CLOSED });

const keysOf = (subnet: SimulatedSubnet, number: number): number[] => [...subnet.port(number).pkeys].filter((key) => key !== 0);

function pathBetween(subnet: SimulatedSubnet, a: number, b: number, pkey?: number): DataView | undefined {
  const mask = bit(P.SGID, P.DGID, P.NUMB_PATH) | (pkey === undefined ? 0n : bit(P.P_KEY));
  const answer = ask(
    subnet,
    a,
    path(mask, (mad) => {
      PathRecord.sgid.set(mad, AT, gidOf(subnet, a));
      PathRecord.dgid.set(mad, AT, gidOf(subnet, b));
      PathRecord.numbPath.set(mad, AT, 1);
      PathRecord.pkey.set(mad, AT, pkey ?? 0);
    }),
  );
  const status = statusOf(answer);
  if (status === SaStatus.NO_RECORDS) return undefined;
  assert.equal(status, 0);
  return new DataView(answer.view.buffer, answer.view.byteOffset + answer.madAt + AT, PathRecord.byteLength);
}

test("hosts and the switch's ports they hang on are told the same P_Keys, and the switch enforces them", () => {
  const { subnet } = closed();
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((n) => keysOf(subnet, n)),
    [[0x7fff, 0x8011], [0x7fff, 0x8011], [0x7fff, 0x11], [0x7fff, 0x11], [0x7fff]],
  );
  for (const { port } of subnet.hosts) {
    const edge = port.peer!;
    assert.deepEqual(
      [...edge.pkeys].filter((key) => key !== 0),
      [...port.pkeys].filter((key) => key !== 0),
    );
    assert.equal(PortInfo.partitionEnforcementIn.get(edge.info, 0), 1);
    assert.equal(PortInfo.partitionEnforcementOut.get(edge.info, 0), 1);
  }
  assert.deepEqual(
    [...subnet.switches[0]!.port0.pkeys].filter((key) => key !== 0),
    [0xffff, 0x8011],
    "the manager is in all",
  );
});

test("between switches nothing is enforced; without partitions no table is written", () => {
  const { subnet } = closed(4, 2);
  const trunk = subnet.switches[0]!.ports.find(({ peer }) => peer?.node.switch !== undefined)!;
  assert.equal(PortInfo.partitionEnforcementIn.get(trunk.info, 0), 0);
  const open = running({ hosts: 4 });
  const { sent } = open.manager.transactions.counts;
  const same = running({ hosts: 4 }, { partitions: [partition({ pkey: 5, full: "all" })] });
  assert.equal(
    same.manager.transactions.counts.sent - sent,
    2 * 4 + 4 + 1,
    "two blocks for a host, one for its switch, one for the manager",
  );
});

test("paths are within a partition: its P_Key and SL; limited members see full ones only", () => {
  const { subnet } = closed();
  const both = pathBetween(subnet, 0, 1)!;
  assert.deepEqual([PathRecord.pkey.get(both, 0), PathRecord.sl.get(both, 0)], [0x8011, 3]);
  assert.equal(PathRecord.pkey.get(pathBetween(subnet, 2, 0)!, 0), 0x11);
  assert.ok(pathBetween(subnet, 2, 0, 0x8011));
  assert.equal(pathBetween(subnet, 2, 3), undefined, "limited and limited");
  assert.equal(pathBetween(subnet, 0, 4), undefined, "a stranger");
  assert.equal(pathBetween(subnet, 0, 1, 0xffff), undefined, "limited members of the default partition");
  assert.equal(pathBetween(subnet, 0, 1, 0x8012), undefined);
  assert.equal(pathBetween(subnet, 0, 1, 0x8000), undefined, "no P_Key at all");
});

test("records tell a host of those it may talk to; the SM_Key shows all", () => {
  const { subnet } = closed();
  const hosts = (from: number, smKey = 0n): bigint[] =>
    askTable(
      subnet,
      from,
      request(Method.GET_TABLE, SaAttribute.NODE_RECORD, 0n, () => {}, smKey),
    )
      .records.filter((record) => NodeInfo.nodeType.get(record, NODE_RECORD_INFO_AT) === 1)
      .map((record) => NodeInfo.portGuid.getBig(record, NODE_RECORD_INFO_AT));
  const guids = (...numbers: number[]): bigint[] => numbers.map((n) => subnet.port(n).guid);
  assert.deepEqual(hosts(0), guids(0, 1, 2, 3));
  assert.deepEqual(hosts(2), guids(0, 1, 2));
  assert.deepEqual(hosts(4), guids(4));
  assert.deepEqual(hosts(4, 1n), guids(0, 1, 2, 3, 4));
  const links = askTable(subnet, 4, request(Method.GET_TABLE, SaAttribute.LINK_RECORD, 0n)).records;
  assert.deepEqual(new Set(links.flatMap((r) => [LinkRecord.fromLid.get(r, 0), LinkRecord.toLid.get(r, 0)])).size, 2);
  const tables = askTable(
    subnet,
    0,
    request(
      Method.GET_TABLE,
      SaAttribute.P_KEY_TABLE_RECORD,
      bit(0),
      (mad) => PKeyTableRecord.lid.set(mad, AT, subnet.port(2).lid),
      1n,
    ),
  ).records;
  assert.equal(tables.length, 1);
  assert.deepEqual([tables[0]!.getUint16(8), tables[0]!.getUint16(10), tables[0]!.getUint16(12)], [0x7fff, 0x11, 0]);
  const edges = askTable(
    subnet,
    0,
    request(Method.GET_TABLE, SaAttribute.P_KEY_TABLE_RECORD, bit(0), (mad) => PKeyTableRecord.lid.set(mad, AT, 1), 1n),
  ).records;
  const untrusted = ask(subnet, 0, request(Method.GET_TABLE, SaAttribute.P_KEY_TABLE_RECORD, 0n));
  assert.equal(statusOf(untrusted), SaStatus.REQ_INVALID);
  assert.equal(edges.length, 6, "the switch's port 0, and what it enforces at five others");
});

test("IPoIB has a broadcast group in each partition, for its members only", () => {
  const { subnet, manager } = closed();
  const mgid = ipoibBroadcast(0x11);
  assert.deepEqual([...mgid.slice(4, 6)], [0x80, 0x11]);
  const join = (from: number, group: Uint8Array, pkey?: number): number => {
    const mask = bit(M.MGID, M.PORT_GID, M.JOIN_STATE) | (pkey === undefined ? 0n : bit(M.P_KEY));
    return statusOf(
      ask(
        subnet,
        from,
        request(Method.SET, SaAttribute.MC_MEMBER_RECORD, mask, (mad) => {
          McMemberRecord.mgid.set(mad, AT, group);
          McMemberRecord.portGid.set(mad, AT, gidOf(subnet, from));
          McMemberRecord.joinState.set(mad, AT, JoinState.FULL);
          McMemberRecord.pkey.set(mad, AT, pkey ?? 0);
        }),
      ),
    );
  };
  assert.equal(manager.groups.find(mgid)?.sl, 3);
  assert.equal(join(0, mgid), 0);
  assert.equal(join(2, mgid, 0x11), 0, "a limited member is one too");
  assert.equal(join(4, mgid), SaStatus.REQ_INVALID);
  assert.equal(join(0, mgid, 0xffff), SaStatus.REQ_INVALID, "the P_Key of another partition");
  assert.equal(join(4, IPOIB_BROADCAST), 0);
});

test("a guest that writes itself P_Keys gets nowhere: not its packets, not its queue pairs", () => {
  const { subnet } = closed();
  const stranger = subnet.port(4);
  const smp = newDirectedSmp([], Method.SET, SmAttribute.P_KEY_TABLE);
  smp.setUint16(SMP_DATA_AT, 0xffff);
  smp.setUint16(SMP_DATA_AT + 2, 0x8011);
  const answer = new Uint8Array(256);
  assert.ok(stranger.processMad(new Uint8Array(smp.buffer), answer, { slid: stranger.lid, ignoreMkey: true }));
  assert.deepEqual(keysOf(subnet, 4), [0xffff, 0x8011], "its table says so");
  assert.deepEqual([...stranger.usablePkeys.slice(0, 2)], [0, 0], "and nothing of it is of use");
  assert.deepEqual([...subnet.port(2).usablePkeys.slice(0, 2)], [0x7fff, 0x11]);
  const send = (pkey: number, to: number): number => {
    const before = stranger.peer!.counters[PortCounter.rcvConstraintErrors] ?? 0;
    const mad = newRequest(MgmtClass.DEV_MGT, Method.SEND, 0x77);
    subnet.host(4).send({ ...gmpAddress(0, subnet.port(to).lid), pkey }, mad);
    subnet.runFor(0);
    return (stranger.peer!.counters[PortCounter.rcvConstraintErrors] ?? 0) - before;
  };
  assert.deepEqual([send(0x8011, 0), send(0xffff, 0), send(0x11, 0)], [1, 1, 1], "dropped where it comes in");
  assert.equal(send(0x7fff, 0), 0, "as a limited member it may send");
  assert.equal(subnet.host(0).received.length, 0);
  assert.equal(subnet.port(0).peer!.counters[PortCounter.xmitConstraintErrors], 1, "to full members only");
});

test("tables arrive over links that lose one packet in ten, and whoever refuses its table does not become active", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Random(seed);
    const endpoint = subnetManager({ random, partitions: CLOSED });
    const subnet = new SimulatedSubnet({ hosts: 5, switches: 2, impairment: () => random.chance(0.1), endpoint });
    subnet.enableAll();
    assert.ok(
      subnet.run(() => subnet.hosts.every(({ port }) => port.isActive), 60 * S),
      `seed ${seed}`,
    );
    for (const { port } of subnet.hosts) {
      assert.deepEqual([...port.pkeys.slice(0, 3)], [...port.peer!.pkeys.slice(0, 3)]);
      assert.equal(PortInfo.partitionEnforcementIn.get(port.peer!.info, 0), 1);
    }
  }
  const endpoint = subnetManager({ random: new Random(1), partitions: CLOSED });
  const subnet = new SimulatedSubnet({ hosts: 3, endpoint });
  const port = subnet.port(1);
  const original = port.processMad.bind(port);
  port.processMad = (smp, response, context) => {
    const isRefused = smp[17] === SmAttribute.P_KEY_TABLE && smp[3] === Method.SET;
    const isAnswered = original(smp, response, context);
    if (isRefused) response[5] = 0x1c;
    return isAnswered;
  };
  subnet.enableAll();
  subnet.runFor(35 * S);
  assert.ok(subnet.port(0).isActive && subnet.port(2).isActive);
  assert.ok(port.state < PortState.ACTIVE);
  const { sent } = (subnet.endpoint as SubnetManager).transactions.counts;
  assert.ok(sent < 300, `${sent} SMPs`);
});

test("members go by the place that a cable says, not by what a host calls itself", () => {
  const endpoint = subnetManager({
    random: new Random(1),
    partitions: CLOSED,
    hostBehind: (_guid, number) => (number === 5 ? "host 0" : "nobody"),
  });
  const subnet = new SimulatedSubnet({ hosts: 5, endpoint });
  subnet.enableAll();
  subnet.runFor(100 * MS);
  assert.deepEqual(
    [0, 4].map((n) => keysOf(subnet, n)),
    [[0x7fff], [0x7fff, 0x8011]],
  );
});
