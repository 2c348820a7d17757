// Records of the tables that ports have: P_Keys, GUIDs, SLtoVL, VL arbitration, as the manager wants them. IBA vol 1, 15.2.5.4, 15.2.5.9,
// 15.2.5.11, 15.2.5.18.

import { bytesOf } from "../../mad/mad.ts";
import {
  GUID_INFO_RECORD_COMPONENTS,
  P_KEY_TABLE_RECORD_COMPONENTS,
  SL_TO_VL_RECORD_COMPONENTS,
  VL_ARBITRATION_RECORD_COMPONENTS,
} from "../../spec/mad/components.ts";
import { GUID_BLOCK, P_KEY_BLOCK, SaAttribute } from "../../spec/mad/numbers.ts";
import { GuidInfoRecord, PKeyTableRecord, SlToVlRecord, VlArbitrationRecord } from "../../spec/mad/sa-records.ts";
import { PortInfo } from "../../spec/mad/sm-attributes.ts";
import type { Partitions } from "../partitions.ts";
import type { ServiceLevels } from "../service-levels.ts";
import type { Subnet } from "../subnet.ts";
import type { AliasTable } from "./guids.ts";
import { newRecord, type RecordTable } from "./query.ts";
import { lidOf, portsOf } from "./records-kit.ts";
import type { Asker } from "./request.ts";

/** Half a table each: low priority, then high (14.2.5.9). */
const VL_ARBITRATION_BLOCKS = 4;

/** Where the contents come from. */
export interface PortTableSources {
  readonly subnet: Subnet;
  readonly partitions: Partitions;
  readonly aliases: AliasTable;
  readonly levels: ServiceLevels;
}

function* guidRecords(
  { subnet, partitions, aliases }: PortTableSources,
  asker: Asker,
  lid: number | undefined,
): Generator<DataView> {
  for (const port of portsOf(subnet, partitions, asker, lid)) {
    if (!port.isEndPort) continue;
    const blocks = Math.ceil(PortInfo.guidCap.get(port.info, 0) / GUID_BLOCK);
    for (let block = 0; block < blocks; block++) {
      const record = newRecord(GuidInfoRecord.byteLength);
      GuidInfoRecord.lid.set(record, 0, port.lid);
      GuidInfoRecord.block.set(record, 0, block);
      GuidInfoRecord.guids.set(record, 0, aliases.block(port.guid, block));
      yield record;
    }
  }
}

function* pkeyRecords({ subnet, partitions }: PortTableSources, asker: Asker, lid: number | undefined): Generator<DataView> {
  for (const port of portsOf(subnet, partitions, asker, lid)) {
    const keys = port.isEndPort ? partitions.keysOf(port) : partitions.enforcedKeys(port);
    for (let block = 0; block * P_KEY_BLOCK < keys.length; block++) {
      const record = newRecord(PKeyTableRecord.byteLength);
      PKeyTableRecord.lid.set(record, 0, lidOf(port));
      PKeyTableRecord.block.set(record, 0, block);
      PKeyTableRecord.port.set(record, 0, port.number);
      keys.slice(block * P_KEY_BLOCK, (block + 1) * P_KEY_BLOCK).forEach((key, i) => {
        record.setUint16(PKeyTableRecord.table.offset + 2 * i, key);
      });
      yield record;
    }
  }
}

function* slToVlRecords(
  { subnet, partitions, levels }: PortTableSources,
  asker: Asker,
  lid: number | undefined,
): Generator<DataView> {
  for (const port of portsOf(subnet, partitions, asker, lid)) {
    const { isSwitch } = port.node;
    const inputs = isSwitch ? port.node.ports.length : 1;
    for (let input = 0; input < inputs; input++) {
      const record = newRecord(SlToVlRecord.byteLength);
      SlToVlRecord.lid.set(record, 0, lidOf(port));
      SlToVlRecord.inputPort.set(record, 0, input);
      SlToVlRecord.outputPort.set(record, 0, isSwitch ? port.number : 0);
      SlToVlRecord.table.set(record, 0, levels.slToVl(port));
      yield record;
    }
  }
}

function* vlArbitrationRecords(sources: PortTableSources, asker: Asker, lid: number | undefined): Generator<DataView> {
  const { subnet, partitions, levels } = sources;
  for (const port of portsOf(subnet, partitions, asker, lid)) {
    // each has four blocks; those that it has no room for are empty, as OpenSM shows them
    const tables = new Map(levels.vlArbitration(port));
    for (let block = 1; block <= VL_ARBITRATION_BLOCKS; block++) {
      const record = newRecord(VlArbitrationRecord.byteLength);
      VlArbitrationRecord.lid.set(record, 0, lidOf(port));
      VlArbitrationRecord.port.set(record, 0, port.number);
      VlArbitrationRecord.block.set(record, 0, block);
      bytesOf(record).set(tables.get(block) ?? [], VlArbitrationRecord.table.offset);
      yield record;
    }
  }
}

/**
 * A host's port is known by its LID; the numbers of ports in a request for tables of lanes mean those of switches (14.2.5.8, 14.2.5.9), and OpenSM
 * takes whatever they are. @param bits of the components that are numbers of ports
 */
const ignoresPortsOfHosts =
  ({ subnet }: PortTableSources, bits: readonly number[]): NonNullable<RecordTable["matches"]> =>
  (bit, _wanted, _at, record) =>
    bits.includes(bit) && subnet.byLid.get(record.getUint16(0))?.node.isSwitch === false ? true : undefined;

type Rows = (sources: PortTableSources, asker: Asker, lid: number | undefined) => Iterable<DataView>;

export function portTables(sources: PortTableSources): RecordTable[] {
  const table = (attribute: number, bytes: number, components: RecordTable["components"], rows: Rows): RecordTable => ({
    attribute,
    bytes,
    components,
    records: (asker, lid) => rows(sources, asker, lid),
  });
  return [
    table(SaAttribute.GUID_INFO_RECORD, GuidInfoRecord.byteLength, GUID_INFO_RECORD_COMPONENTS, guidRecords),
    {
      ...table(SaAttribute.P_KEY_TABLE_RECORD, PKeyTableRecord.byteLength, P_KEY_TABLE_RECORD_COMPONENTS, pkeyRecords),
      isForTrusted: true,
    },
    {
      ...table(SaAttribute.SL_TO_VL_RECORD, SlToVlRecord.byteLength, SL_TO_VL_RECORD_COMPONENTS, slToVlRecords),
      matches: ignoresPortsOfHosts(sources, [1, 2]),
    },
    {
      ...table(
        SaAttribute.VL_ARBITRATION_RECORD,
        VlArbitrationRecord.byteLength,
        VL_ARBITRATION_RECORD_COMPONENTS,
        vlArbitrationRecords,
      ),
      matches: ignoresPortsOfHosts(sources, [1]),
    },
  ];
}
