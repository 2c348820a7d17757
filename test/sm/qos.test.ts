// Service levels and virtual lanes: tables in the ports, records of them, levels of paths. IBA vol 1, 14.2.5.8, 14.2.5.9, 15.2.5.16.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import { bytesOf, newDirectedSmp } from "../../src/mad/mad.ts";
import type { QosOptions } from "../../src/sm/service-levels.ts";
import { PathComponent as P } from "../../src/spec/mad/components.ts";
import { SMP_DATA_AT } from "../../src/spec/mad/headers.ts";
import { Method, SaAttribute, SmAttribute } from "../../src/spec/mad/numbers.ts";
import { PathRecord, SlToVlRecord, VlArbitrationRecord } from "../../src/spec/mad/sa-records.ts";
import { PortInfo } from "../../src/spec/mad/sm-attributes.ts";
import { AT, ask, askTable, bit, gidOf, hexOf, path, request, running, statusOf } from "./administrator-kit.ts";

const SERVICE = 0x1000000000001n;
const QOS: QosOptions = {
  slToVl: [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7],
  high: [[1, 64]],
  low: [
    [0, 4],
    [2, 8],
    [6, 9],
  ],
  highLimit: 5,
  levels: [
    { sl: 2, serviceIds: [SERVICE, SERVICE + 9n] },
    { sl: 3, qosClass: 7 },
  ],
};

/** HCAs have four lanes, switches eight: 4 and up begin again where a link has four. */
const FOUR_LANES = "0123012301230123";
const EIGHT_LANES = "0123456701234567";

test("tables in every port: as many lanes as the link has, turns of those that it has", () => {
  const { subnet } = running({ hosts: 3, switches: 2 }, { qos: QOS });
  for (const { port } of subnet.hosts) {
    assert.equal(hexOf(port.slToVlFrom(0)), FOUR_LANES);
    assert.equal(hexOf(port.peer!.slToVlFrom(2)), FOUR_LANES, "towards a host, from any port");
    assert.equal(hexOf(port.vlArbitrationBlock(1)).slice(0, 12), "000402080000", "VL 6 is none of theirs");
    assert.equal(hexOf(port.peer!.vlArbitrationBlock(3)).slice(0, 8), "01400000");
    assert.equal(PortInfo.vlHighLimit.get(port.info, 0), 5);
    assert.equal(PortInfo.operationalVls.get(port.info, 0), PortInfo.operationalVls.get(port.peer!.info, 0));
  }
  const trunk = subnet.switches[0]!.ports.find(({ peer }) => peer?.node.switch !== undefined)!;
  assert.equal(hexOf(trunk.slToVlFrom(1)), EIGHT_LANES);
  assert.equal(hexOf(trunk.vlArbitrationBlock(1)).slice(0, 12), "000402080609");
});

test("without settings nothing is written", () => {
  const plain = running({ hosts: 3 });
  assert.equal(hexOf(plain.subnet.port(0).slToVlFrom(0)), EIGHT_LANES);
  const { sent } = plain.manager.transactions.counts;
  const { manager } = running({ hosts: 3 }, { qos: QOS });
  assert.equal(manager.transactions.counts.sent - sent, 3 * 6, "three tables at either end of a cable");
});

test("records of the tables", () => {
  const { subnet } = running({ hosts: 2 }, { qos: QOS });
  const ofHost = (attribute: number, lid: number): DataView[] =>
    askTable(
      subnet,
      0,
      request(Method.GET_TABLE, attribute, bit(0), (mad) => mad.setUint16(AT, lid)),
    ).records;
  const lanes = ofHost(SaAttribute.SL_TO_VL_RECORD, subnet.port(1).lid);
  assert.deepEqual(
    lanes.map((r) => hexOf(SlToVlRecord.table.get(r, 0))),
    [FOUR_LANES],
  );
  const turns = ofHost(SaAttribute.VL_ARBITRATION_RECORD, subnet.port(1).lid);
  assert.deepEqual(
    turns.map((r) => [VlArbitrationRecord.block.get(r, 0), hexOf(VlArbitrationRecord.table.get(r, 0)).slice(0, 8)]),
    [
      [1, "00040208"],
      [2, "00000000"],
      [3, "01400000"],
      [4, "00000000"],
    ],
  );
  assert.equal(ofHost(SaAttribute.SL_TO_VL_RECORD, 1).length, 37 * 37, "of a switch, from each port to each");
});

test("whatever number of a host's port a request has, it means the port with the LID; at a switch it counts", () => {
  const { subnet } = running({ hosts: 2 }, { qos: QOS });
  const lid = subnet.port(1).lid;
  const count = (attribute: number, bits: readonly number[], bytes: readonly number[], of = lid): number => {
    const fill = (mad: DataView): void => {
      mad.setUint16(AT, of);
      for (const [i, byte] of bytes.entries()) mad.setUint8(AT + 2 + i, byte);
    };
    return askTable(subnet, 0, request(Method.GET_TABLE, attribute, bit(0, ...bits), fill)).records.length;
  };
  for (const port of [0, 1, 7]) {
    assert.equal(count(SaAttribute.SL_TO_VL_RECORD, [1, 2], [port, port]), 1);
    assert.equal(count(SaAttribute.VL_ARBITRATION_RECORD, [1, 2], [port, 3]), 1);
  }
  assert.equal(count(SaAttribute.VL_ARBITRATION_RECORD, [1, 2], [0, 5]), 0, "there is no such block");
  assert.equal(count(SaAttribute.SL_TO_VL_RECORD, [1, 2], [3, 4], 1), 1);
  assert.equal(count(SaAttribute.SL_TO_VL_RECORD, [1, 2], [3, 44], 1), 0);
  assert.equal(count(SaAttribute.VL_ARBITRATION_RECORD, [1], [4], 1), 4);
});

test("the level of a path is that of its service or of its QoS class", () => {
  const { subnet } = running({ hosts: 2 }, { qos: QOS });
  const slFor = (mask: bigint, fill: (mad: DataView) => void): number => {
    const answer = ask(
      subnet,
      0,
      path(mask | bit(P.SGID, P.DGID), (mad) => {
        PathRecord.sgid.set(mad, AT, gidOf(subnet, 0));
        PathRecord.dgid.set(mad, AT, gidOf(subnet, 1));
        fill(mad);
      }),
    );
    return statusOf(answer) === 0 ? PathRecord.sl.get(answer.view, answer.madAt + AT) : -1;
  };
  const service = (id: bigint) => slFor(bit(P.SERVICE_ID_HI, P.SERVICE_ID_LO), (mad) => PathRecord.serviceId.setBig(mad, AT, id));
  assert.deepEqual([service(SERVICE - 1n), service(SERVICE), service(SERVICE + 9n), service(SERVICE + 10n)], [0, 2, 2, 0]);
  assert.equal(
    slFor(bit(P.QOS_CLASS), (mad) => PathRecord.qosClass.set(mad, AT, 7)),
    3,
  );
  assert.equal(
    slFor(bit(P.SL), (mad) => PathRecord.sl.set(mad, AT, 3)),
    -1,
    "no path has a level that nobody gave it",
  );
});

/** A Set of SLtoVL at a switch, through its own agent. */
function setSlToVl(subnet: SimulatedSubnet, modifier: number): void {
  const smp = newDirectedSmp([1], Method.SET, SmAttribute.SL_TO_VL_MAPPING, modifier);
  bytesOf(smp).fill(0x11, SMP_DATA_AT, SMP_DATA_AT + 8);
  smp.setUint8(6, 1);
  subnet.host(0).send({ dlid: 0xffff, sl: 0, destQp: 0, srcQp: 0, pkey: 0xffff, qkey: 0 }, smp);
  subnet.runFor(0);
}

test("a switch takes a table for all ports at once", () => {
  const { subnet } = running({ hosts: 1 });
  const [sw] = subnet.switches;
  const written = (): number => sw!.ports.filter((port) => hexOf(port.slToVlFrom(7)) === "11".repeat(8)).length;
  setSlToVl(subnet, 0x0702);
  assert.equal(written(), 1);
  setSlToVl(subnet, 0x20003);
  assert.equal(written(), 2);
  setSlToVl(subnet, 0x20000 | 200);
  assert.equal(written(), 2, "there is no such port");
  setSlToVl(subnet, 0x30000);
  assert.equal(written(), 37);
});
