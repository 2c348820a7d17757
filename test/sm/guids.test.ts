// Further GUIDs of ports, through the administration: GUIDInfoRecord. IBA vol 1, 15.2.5.18.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import type { MadPacket } from "../../src/mad/packet.ts";
import { PathComponent as P } from "../../src/spec/mad/components.ts";
import { SaHeader } from "../../src/spec/mad/headers.ts";
import { Method, SaAttribute, SaStatus } from "../../src/spec/mad/numbers.ts";
import { GuidInfoRecord, PathRecord } from "../../src/spec/mad/sa-records.ts";
import { AT, ask, askTable, bit, gidOf, path, request, running, statusOf } from "./administrator-kit.ts";

const MS = 1e6;
const GUID0 = 4;

interface Change {
  method?: number;
  block?: number;
  /** GUIDs by index in the block. */
  guids: Readonly<Record<number, bigint>>;
  forHost?: number;
  smKey?: bigint;
}

function change(subnet: SimulatedSubnet, host: number, { method, block, guids, forHost, smKey }: Change): MadPacket {
  const indexes = Object.keys(guids).map(Number);
  const fill = (mad: DataView): void => {
    GuidInfoRecord.lid.set(mad, AT, subnet.port(forHost ?? host).lid);
    GuidInfoRecord.block.set(mad, AT, block ?? 0);
    for (const i of indexes) mad.setBigUint64(AT + 8 + 8 * i, guids[i] ?? 0n);
  };
  const mask = bit(0, 1, ...indexes.map((i) => GUID0 + i));
  return ask(subnet, host, request(method ?? Method.SET, SaAttribute.GUID_INFO_RECORD, mask, fill, smKey));
}

const guidIn = ({ view, madAt }: MadPacket, index: number): bigint => view.getBigUint64(madAt + AT + 8 + 8 * index);
const granted = ({ view, madAt }: MadPacket): bigint => SaHeader.componentMask.getBig(view, madAt) >> BigInt(GUID0);

test("a host gives itself GUIDs: they are in its port's table at once, in the records, and lead to it", () => {
  const { subnet } = running();
  const set = change(subnet, 0, { guids: { 1: 0x51n, 3: 0x53n } });
  assert.equal(statusOf(set), 0);
  assert.deepEqual([granted(set), guidIn(set, 0), guidIn(set, 1), guidIn(set, 2)], [0b1010n, subnet.port(0).guid, 0x51n, 0n]);
  assert.deepEqual([subnet.port(0).guidAt(1), subnet.port(0).guidAt(2), subnet.port(0).guidAt(3)], [0x51n, 0n, 0x53n]);
  change(subnet, 0, { block: 3, guids: { 7: 0x99n } });
  assert.equal(subnet.port(0).guidAt(31), 0x99n);
  const records = askTable(
    subnet,
    1,
    request(Method.GET_TABLE, SaAttribute.GUID_INFO_RECORD, bit(0), (mad) => GuidInfoRecord.lid.set(mad, AT, subnet.port(0).lid)),
  ).records;
  assert.equal(records.length, 4);
  assert.deepEqual([records[0]!.getBigUint64(16), records[3]!.getBigUint64(64)], [0x51n, 0x99n]);
  const alias = gidOf(subnet, 0);
  new DataView(alias.buffer).setBigUint64(8, 0x53n);
  const found = ask(
    subnet,
    1,
    path(bit(P.SGID, P.DGID), (mad) => {
      PathRecord.sgid.set(mad, AT, gidOf(subnet, 1));
      PathRecord.dgid.set(mad, AT, alias);
    }),
  );
  assert.equal(statusOf(found), 0);
  assert.equal(PathRecord.dlid.get(found.view, found.madAt + AT), subnet.port(0).lid);
  assert.deepEqual([...PathRecord.dgid.get(found.view, found.madAt + AT)], [...alias], "by the name it was asked for");
});

test("zero asks for one; what is somebody's is refused, entry by entry; a replaced or deleted one is free", () => {
  const { subnet, manager } = running();
  const given = change(subnet, 0, { guids: { 1: 0n, 2: 0n } });
  assert.ok(guidIn(given, 1) !== 0n && guidIn(given, 2) !== 0n && guidIn(given, 1) !== guidIn(given, 2));
  assert.equal(guidIn(change(subnet, 0, { guids: { 1: 0n } }), 1), guidIn(given, 1), "asked again, the same");
  const taken = change(subnet, 1, { guids: { 1: guidIn(given, 1), 2: subnet.port(2).guid, 3: 0x77n } });
  assert.deepEqual([granted(taken), guidIn(taken, 1), guidIn(taken, 2), guidIn(taken, 3)], [0b1000n, 0n, 0n, 0x77n]);
  change(subnet, 0, { guids: { 1: 0x88n } });
  assert.equal(granted(change(subnet, 1, { guids: { 1: guidIn(given, 1) } })), 0b10n, "replaced, so free");
  const deleted = change(subnet, 0, { method: Method.DELETE, guids: { 1: 0n } });
  assert.deepEqual([statusOf(deleted), guidIn(deleted, 1), subnet.port(0).guidAt(1)], [0, 0n, 0n]);
  assert.equal(granted(change(subnet, 2, { guids: { 1: 0x88n } })), 0b10n);
  subnet.port(2).disable();
  subnet.runFor(MS);
  assert.ok(!manager.subnet.aliases.has(0x88n), "gone with its port");
});

test("not a port's own GUID, not another host's table, not beyond the table", () => {
  const { subnet } = running();
  assert.equal(statusOf(change(subnet, 0, { guids: { 0: 5n } })), SaStatus.REQ_INVALID);
  assert.equal(statusOf(change(subnet, 0, { guids: { 1: 5n }, forHost: 1 })), SaStatus.REQ_DENIED);
  assert.equal(statusOf(change(subnet, 0, { guids: { 1: 5n }, forHost: 1, smKey: 1n })), 0);
  assert.equal(subnet.port(1).guidAt(1), 5n);
  assert.equal(statusOf(change(subnet, 0, { block: 4, guids: { 1: 5n } })), SaStatus.NO_RECORDS);
  const without = request(Method.SET, SaAttribute.GUID_INFO_RECORD, bit(GUID0 + 1));
  assert.equal(statusOf(ask(subnet, 0, without)), SaStatus.REQ_INSUFFICIENT_COMPONENTS);
});
