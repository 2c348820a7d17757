// Records that are read straight off the subnet: nodes, ports, switches, links, forwarding tables, the manager itself.
// IBA vol 1, 15.2.5.

import { bytesOf } from "../../mad/mad.ts";
import {
  LINEAR_FORWARDING_RECORD_COMPONENTS,
  LINK_RECORD_COMPONENTS,
  MULTICAST_FORWARDING_RECORD_COMPONENTS,
  NODE_RECORD_COMPONENTS,
  PORT_INFO_RECORD_CAPMASK,
  PORT_INFO_RECORD_COMPONENTS,
  SM_INFO_RECORD_COMPONENTS,
  SWITCH_INFO_RECORD_COMPONENTS,
} from "../../spec/mad/components.ts";
import { CAPMASK_MATCH, SaAttribute } from "../../spec/mad/numbers.ts";
import {
  LinearForwardingRecord,
  LinkRecord,
  MulticastForwardingRecord,
  NODE_RECORD_INFO_AT,
  NodeRecord,
  PORT_INFO_RECORD_INFO_AT,
  PortInfoRecord,
  SM_INFO_RECORD_INFO_AT,
  SmInfoRecord,
  SWITCH_INFO_RECORD_INFO_AT,
  SwitchInfoRecord,
} from "../../spec/mad/sa-records.ts";
import { NodeInfo, PortInfo, SmInfo } from "../../spec/mad/sm-attributes.ts";
import type { Partitions } from "../partitions.ts";
import type { Subnet, SubnetNode } from "../subnet.ts";
import { newRecord, type RecordTable } from "./query.ts";
import { isVisible, lidOf, portsOf } from "./records-kit.ts";
import type { Asker } from "./request.ts";

function* nodeRecords(subnet: Subnet, partitions: Partitions, asker: Asker): Generator<DataView> {
  for (const port of subnet.byGuid.values()) {
    if (port.lid === 0 || !isVisible(partitions, asker, port)) continue;
    const record = newRecord(NodeRecord.byteLength);
    NodeRecord.lid.set(record, 0, port.lid);
    bytesOf(record).set(bytesOf(port.node.info), NODE_RECORD_INFO_AT);
    NodeInfo.portGuid.setBig(record, NODE_RECORD_INFO_AT, port.guid);
    NodeInfo.localPort.set(record, NODE_RECORD_INFO_AT, port.number);
    NodeRecord.description.set(record, 0, port.node.description);
    yield record;
  }
}

function* portInfoRecords(subnet: Subnet, partitions: Partitions, asker: Asker, lid: number | undefined): Generator<DataView> {
  for (const port of portsOf(subnet, partitions, asker, lid)) {
    const record = newRecord(PortInfoRecord.byteLength);
    PortInfoRecord.lid.set(record, 0, lidOf(port));
    PortInfoRecord.port.set(record, 0, port.number);
    bytesOf(record).set(bytesOf(port.info), PORT_INFO_RECORD_INFO_AT);
    PortInfo.localPort.set(record, PORT_INFO_RECORD_INFO_AT, port.number);
    // a M_Key is for those who are trusted (15.2.5.3)
    if (!asker.isTrusted) PortInfo.mkey.setBig(record, PORT_INFO_RECORD_INFO_AT, 0n);
    yield record;
  }
}

function* linkRecords(subnet: Subnet, partitions: Partitions, asker: Asker): Generator<DataView> {
  for (const node of subnet.nodes.values()) {
    for (const port of node.ports) {
      if (port?.peer === undefined || lidOf(port) === 0 || lidOf(port.peer) === 0) continue;
      if (!isVisible(partitions, asker, port) || !isVisible(partitions, asker, port.peer)) continue;
      const record = newRecord(LinkRecord.byteLength);
      LinkRecord.fromLid.set(record, 0, lidOf(port));
      LinkRecord.fromPort.set(record, 0, port.number);
      LinkRecord.toPort.set(record, 0, port.peer.number);
      LinkRecord.toLid.set(record, 0, lidOf(port.peer));
      yield record;
    }
  }
}

/** Switches that have a LID, with it. */
function* switchesOf(subnet: Subnet): Generator<[SubnetNode, number]> {
  for (const node of subnet.nodes.values()) {
    const lid = node.ports[0]?.lid ?? 0;
    if (node.switch !== undefined && lid !== 0) yield [node, lid];
  }
}

function* switchInfoRecords(subnet: Subnet): Generator<DataView> {
  for (const [node, lid] of switchesOf(subnet)) {
    const record = newRecord(SwitchInfoRecord.byteLength);
    SwitchInfoRecord.lid.set(record, 0, lid);
    if (node.switch !== undefined) bytesOf(record).set(bytesOf(node.switch.info), SWITCH_INFO_RECORD_INFO_AT);
    yield record;
  }
}

function* linearRecords(subnet: Subnet): Generator<DataView> {
  for (const [node, lid] of switchesOf(subnet)) {
    const table = node.switch?.linear;
    for (let block = 0; table !== undefined && block < table.blockCount; block++) {
      const record = newRecord(LinearForwardingRecord.byteLength);
      LinearForwardingRecord.lid.set(record, 0, lid);
      LinearForwardingRecord.block.set(record, 0, block);
      LinearForwardingRecord.data.set(record, 0, table.block(block));
      yield record;
    }
  }
}

function* multicastRecords(subnet: Subnet): Generator<DataView> {
  for (const [node, lid] of switchesOf(subnet)) {
    for (const [key, data] of node.switch?.multicastSent ?? []) {
      if (data.every((byte) => byte === 0)) continue;
      const record = newRecord(MulticastForwardingRecord.byteLength);
      MulticastForwardingRecord.lid.set(record, 0, lid);
      MulticastForwardingRecord.block.set(record, 0, key >> 4);
      MulticastForwardingRecord.position.set(record, 0, key & 0xf);
      MulticastForwardingRecord.data.set(record, 0, data);
      yield record;
    }
  }
}

function capmaskMatches(bit: number, wanted: DataView, at: number, record: DataView, modifier: number): boolean | undefined {
  if (bit !== PORT_INFO_RECORD_CAPMASK || (modifier & CAPMASK_MATCH) === 0) return undefined;
  const mask = PortInfo.capabilityMask.get(wanted, at + PORT_INFO_RECORD_INFO_AT);
  return (PortInfo.capabilityMask.get(record, PORT_INFO_RECORD_INFO_AT) & mask) === (mask | 0);
}

/** The tables by attribute. `smInfo` gives the manager's LID and its SMInfo. */
export function subnetTables(
  subnet: Subnet,
  partitions: Partitions,
  smInfo: () => { lid: number; info: DataView },
): RecordTable[] {
  return [
    {
      attribute: SaAttribute.NODE_RECORD,
      bytes: NodeRecord.byteLength,
      components: NODE_RECORD_COMPONENTS,
      records: (asker) => nodeRecords(subnet, partitions, asker),
    },
    {
      attribute: SaAttribute.PORT_INFO_RECORD,
      bytes: PortInfoRecord.byteLength,
      components: PORT_INFO_RECORD_COMPONENTS,
      records: (asker, lid) => portInfoRecords(subnet, partitions, asker, lid),
      matches: capmaskMatches,
    },
    {
      attribute: SaAttribute.SWITCH_INFO_RECORD,
      bytes: SwitchInfoRecord.byteLength,
      components: SWITCH_INFO_RECORD_COMPONENTS,
      records: () => switchInfoRecords(subnet),
    },
    {
      attribute: SaAttribute.LINEAR_FORWARDING_RECORD,
      bytes: LinearForwardingRecord.byteLength,
      components: LINEAR_FORWARDING_RECORD_COMPONENTS,
      records: () => linearRecords(subnet),
    },
    {
      attribute: SaAttribute.MULTICAST_FORWARDING_RECORD,
      bytes: MulticastForwardingRecord.byteLength,
      components: MULTICAST_FORWARDING_RECORD_COMPONENTS,
      records: () => multicastRecords(subnet),
    },
    {
      attribute: SaAttribute.LINK_RECORD,
      bytes: LinkRecord.byteLength,
      components: LINK_RECORD_COMPONENTS,
      records: (asker) => linkRecords(subnet, partitions, asker),
    },
    {
      attribute: SaAttribute.SM_INFO_RECORD,
      bytes: SmInfoRecord.byteLength,
      components: SM_INFO_RECORD_COMPONENTS,
      *records({ isTrusted }) {
        const { lid, info } = smInfo();
        const record = newRecord(SmInfoRecord.byteLength);
        SmInfoRecord.lid.set(record, 0, lid);
        bytesOf(record).set(bytesOf(info).subarray(0, SmInfo.byteLength), SM_INFO_RECORD_INFO_AT);
        if (!isTrusted) SmInfo.smKey.setBig(record, SM_INFO_RECORD_INFO_AT, 0n);
        yield record;
      },
    },
  ];
}
