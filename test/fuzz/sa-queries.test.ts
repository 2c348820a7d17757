// Queries of the subnet administration against its own whole tables: whatever components of whatever record are given, the answer has exactly the
// records that agree in them. IBA vol 1, 15.4.4 (Get), 15.4.6 (GetTable). Every kind of record, in subnets with and without partitions, service
// levels, further GUIDs, subscriptions and services.

import assert from "node:assert/strict";
import type { AnyField } from "../../src/base/layout.ts";
import type { Random } from "../../src/base/random.ts";
import type { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import { bytesOf } from "../../src/mad/mad.ts";
import * as components from "../../src/spec/mad/components.ts";
import { MadHeader, SaHeader } from "../../src/spec/mad/headers.ts";
import { Method, SaAttribute, SaStatus } from "../../src/spec/mad/numbers.ts";
import { GuidInfoRecord, InformInfo, ServiceRecord } from "../../src/spec/mad/sa-records.ts";
import { AT, ask, askTable, bit, hexOf, request, running } from "../sm/administrator-kit.ts";
import { fuzz } from "./kit.ts";

const HOSTS = 4;
const QUERIES = 40;
const SM_KEY = 1n;

const TABLES: readonly (readonly [attribute: number, components: readonly components.Component[]])[] = [
  [SaAttribute.NODE_RECORD, components.NODE_RECORD_COMPONENTS],
  [SaAttribute.PORT_INFO_RECORD, components.PORT_INFO_RECORD_COMPONENTS],
  [SaAttribute.SWITCH_INFO_RECORD, components.SWITCH_INFO_RECORD_COMPONENTS],
  [SaAttribute.SM_INFO_RECORD, components.SM_INFO_RECORD_COMPONENTS],
  [SaAttribute.LINEAR_FORWARDING_RECORD, components.LINEAR_FORWARDING_RECORD_COMPONENTS],
  [SaAttribute.MULTICAST_FORWARDING_RECORD, components.MULTICAST_FORWARDING_RECORD_COMPONENTS],
  [SaAttribute.LINK_RECORD, components.LINK_RECORD_COMPONENTS],
  [SaAttribute.SERVICE_RECORD, components.SERVICE_RECORD_COMPONENTS],
  [SaAttribute.INFORM_INFO_RECORD, components.INFORM_INFO_RECORD_COMPONENTS],
  [SaAttribute.GUID_INFO_RECORD, components.GUID_INFO_RECORD_COMPONENTS],
  [SaAttribute.P_KEY_TABLE_RECORD, components.P_KEY_TABLE_RECORD_COMPONENTS],
  [SaAttribute.SL_TO_VL_RECORD, components.SL_TO_VL_RECORD_COMPONENTS],
  [SaAttribute.VL_ARBITRATION_RECORD, components.VL_ARBITRATION_RECORD_COMPONENTS],
];

/** Components that are numbers of ports: of a switch, while a host's port is known by its LID. */
const PORT_NUMBERS: ReadonlyMap<number, readonly number[]> = new Map([
  [SaAttribute.SL_TO_VL_RECORD, [1, 2]],
  [SaAttribute.VL_ARBITRATION_RECORD, [1]],
]);

function world(random: Random): SimulatedSubnet {
  const members = (): string[] => Array.from({ length: HOSTS }, (_, n) => `host ${n}`).filter(() => random.chance(0.5));
  const partition = (pkey: number) => ({
    name: "p",
    pkey,
    full: members(),
    limited: members(),
    isIpoib: random.chance(0.5),
    sl: 1,
  });
  const { subnet } = running(
    { hosts: HOSTS, switches: 2, portsPerSwitch: 8 },
    {
      partitions: random.chance(0.5) ? [partition(0x11), partition(0x22)] : [],
      qos: random.chance(0.5) ? { slToVl: new Array(16).fill(1), high: [[1, 9]], low: [], highLimit: 0, levels: [] } : undefined,
      lmc: random.below(2),
    },
  );
  for (let host = 0; host < HOSTS; host++) furnish(subnet, host, random);
  return subnet;
}

/** A service, a subscription, and a further GUID or two. */
function furnish(subnet: SimulatedSubnet, host: number, random: Random): void {
  const set = (attribute: number, mask: bigint, fill: (mad: DataView) => void): void => {
    ask(subnet, host, request(Method.SET, attribute, mask, fill));
  };
  set(SaAttribute.SERVICE_RECORD, bit(0, 1, 2, 4), (mad) => {
    ServiceRecord.id.setBig(mad, AT, BigInt(random.below(3)));
    ServiceRecord.lease.set(mad, AT, 0xffffffff);
    ServiceRecord.pkey.set(mad, AT, 0xffff);
    ServiceRecord.name.set(mad, AT, Buffer.from(`s${random.below(2)}`));
  });
  set(SaAttribute.INFORM_INFO, 0n, (mad) => {
    InformInfo.lidRangeBegin.set(mad, AT, 0xffff);
    InformInfo.isGeneric.set(mad, AT, 1);
    InformInfo.subscribe.set(mad, AT, 1);
    InformInfo.trapNumber.set(mad, AT, 64 + random.below(3));
  });
  set(SaAttribute.GUID_INFO_RECORD, bit(0, 1, 5, 6), (mad) => {
    GuidInfoRecord.lid.set(mad, AT, subnet.port(host).lid);
    GuidInfoRecord.block.set(mad, AT, random.below(4));
  });
}

const textOfField = (field: AnyField, view: DataView, at: number): string =>
  field.kind === "half64"
    ? String(field.getBig(view, at))
    : field.kind === "bytes"
      ? hexOf(field.get(view, at))
      : String(field.get(view, at));

fuzz(
  "sa/queries",
  (random, budget) => {
    const subnet = world(random);
    const hostLids = new Set(Array.from({ length: HOSTS }, (_, host) => subnet.port(host).lid));
    for (let i = 0; i < QUERIES; i++) {
      budget.step();
      const [attribute, fields] = random.pick(TABLES);
      const isForTrusted = attribute === SaAttribute.P_KEY_TABLE_RECORD;
      const smKey = isForTrusted || random.chance(0.7) ? SM_KEY : 0n;
      const host = random.below(HOSTS);
      const all = askTable(
        subnet,
        host,
        request(Method.GET_TABLE, attribute, 0n, () => {}, smKey),
      ).records;
      if (all.length === 0) continue;
      const like = random.pick(all);
      // a record that is there, now and then with a byte changed; of few components, so that others agree
      const wanted = new DataView(bytesOf(like).slice().buffer);
      if (random.chance(0.2)) bytesOf(wanted)[random.below(wanted.byteLength)]! ^= 1 << random.below(8);
      const given = fields.map((_, n) => n).filter(() => random.chance(random.pick([0.05, 0.3, 1])));
      const fill = (mad: DataView): void => {
        bytesOf(mad).set(bytesOf(wanted).subarray(0, 200), AT);
      };
      const expected = all.filter((record) =>
        given.every((n) => {
          const component = fields[n];
          if (component === undefined) return true;
          if (PORT_NUMBERS.get(attribute)?.includes(n) && hostLids.has(record.getUint16(0))) return true;
          return textOfField(component.field, record, component.at) === textOfField(component.field, wanted, component.at);
        }),
      );
      const mask = given.reduce((bits, n) => bits | (1n << BigInt(n)), 0n);
      const table = askTable(subnet, host, request(Method.GET_TABLE, attribute, mask, fill, smKey)).records;
      const textOf = (records: readonly DataView[]): string[] => records.map((record) => hexOf(bytesOf(record)));
      assert.deepEqual(textOf(table), textOf(expected), `attribute ${attribute}, components ${given}`);
      const { view, madAt } = ask(subnet, host, request(Method.GET, attribute, mask, fill, smKey));
      const status = expected.length === 0 ? SaStatus.NO_RECORDS : expected.length > 1 ? SaStatus.TOO_MANY_RECORDS : 0;
      assert.equal(MadHeader.status.get(view, madAt), status);
      if (status === 0) {
        const stride = SaHeader.attributeOffset.get(view, madAt) * 8;
        const bytes = new Uint8Array(view.buffer, view.byteOffset + madAt + AT, stride);
        assert.equal(hexOf(bytes), textOf(expected)[0]);
      }
      budget.note(`${attribute} ${Math.min(expected.length, 3)} ${given.length > 3}`);
    }
  },
  { share: 0.5 },
);
