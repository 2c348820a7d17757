// GUIDInfoRecord: further GUIDs of ports, set through the subnet administration. IBA vol 1, 15.2.5.18. A port sets its own, one who is trusted
// anybody's; where it names none, the administration gives one. No GUID is anybody else's. They last until the port leaves.

import { bytesOf } from "../../mad/mad.ts";
import { GUID_INFO_GUIDS_BIT } from "../../spec/mad/components.ts";
import { GUID_BLOCK, MadStatus, SaStatus, SmAttribute } from "../../spec/mad/numbers.ts";
import { GuidInfoRecord } from "../../spec/mad/sa-records.ts";
import { PortInfo } from "../../spec/mad/sm-attributes.ts";
import type { TableBlock, TablePlan } from "../port-tables.ts";
import type { Subnet, SubnetPort } from "../subnet.ts";
import { newRecord } from "./query.ts";
import { has, type SaAnswer, type SaRequest, type SaService } from "./request.ts";

/** GUIDs that are given here: locally administered, so no maker's. */
const FIRST_GIVEN = 0x0200_0000_0000_0001n;
const GUID_BYTES = 8;

export class AliasTable implements SaService, TablePlan {
  readonly #subnet: Subnet;
  readonly #onChange: (port: SubnetPort, nowNs: number) => void;
  /** By port GUID: the GUIDs of its table, 0n where there is none. Index 0 stays 0n. */
  readonly #byPort: Map<bigint, bigint[]> = new Map();
  #nextGiven = FIRST_GIVEN;

  /** @param onChange a port's table has changed and is to be written */
  constructor(subnet: Subnet, onChange: (port: SubnetPort, nowNs: number) => void) {
    this.#subnet = subnet;
    this.#onChange = onChange;
  }

  set(request: SaRequest): SaAnswer {
    return this.#change(request, (port, index, wanted) => this.#give(port, index, wanted));
  }

  delete(request: SaRequest): SaAnswer {
    return this.#change(request, (port, index) => {
      this.#clear(port, index);
      return true;
    });
  }

  /** Block `block` of a port's GUIDs, 64 bytes, the port's own first. */
  block(guid: bigint, block: number): Uint8Array {
    const guids = this.#byPort.get(guid) ?? [];
    const view = new DataView(new ArrayBuffer(GUID_BLOCK * GUID_BYTES));
    for (let i = 0; i < GUID_BLOCK; i++) view.setBigUint64(i * GUID_BYTES, guids[block * GUID_BLOCK + i] ?? 0n);
    if (block === 0) view.setBigUint64(0, guid);
    return bytesOf(view);
  }

  *blocksOf(port: SubnetPort): Generator<TableBlock> {
    const guids = port.node.isSwitch ? undefined : this.#byPort.get(port.guid);
    if (guids === undefined) return;
    for (let block = 0; block * GUID_BLOCK < guids.length; block++) {
      yield { attribute: SmAttribute.GUID_INFO, modifier: block, data: this.block(port.guid, block) };
    }
  }

  /** The port is gone from the subnet. */
  removePort(guid: bigint): void {
    for (const alias of this.#byPort.get(guid) ?? []) this.#subnet.aliases.delete(alias);
    this.#byPort.delete(guid);
  }

  /**
   * Does `one` with every entry that the request names. The answer holds the block as it is then, and its component mask the entries for which
   * it was done.
   */
  #change(request: SaRequest, one: (port: SubnetPort, index: number, wanted: bigint) => boolean): SaAnswer {
    const { view, at, isTrusted, nowNs } = request;
    if (!has(request, 0) || !has(request, 1)) return { status: SaStatus.REQ_INSUFFICIENT_COMPONENTS };
    const port = this.#subnet.byLid.get(GuidInfoRecord.lid.get(view, at));
    const first = GuidInfoRecord.block.get(view, at) * GUID_BLOCK;
    if (port === undefined || port.node.isSwitch || first >= PortInfo.guidCap.get(port.info, 0))
      return { status: SaStatus.NO_RECORDS };
    if (port !== request.port && !isTrusted) return { status: SaStatus.REQ_DENIED };
    // the port's own GUID is not to be changed
    if (first === 0 && has(request, GUID_INFO_GUIDS_BIT)) return { status: SaStatus.REQ_INVALID };
    let done = request.maskLo & ((1 << GUID_INFO_GUIDS_BIT) - 1);
    for (let i = 0; i < GUID_BLOCK && first + i < PortInfo.guidCap.get(port.info, 0); i++) {
      const bit = GUID_INFO_GUIDS_BIT + i;
      if (!has(request, bit)) continue;
      const wanted = view.getBigUint64(at + GuidInfoRecord.guids.offset + i * GUID_BYTES);
      if (one(port, first + i, wanted)) done |= 1 << bit;
    }
    this.#onChange(port, nowNs);
    return { status: MadStatus.OK, record: this.#recordOf(port, first / GUID_BLOCK), maskLo: done };
  }

  /** Entry `index` becomes `wanted`, or a GUID of ours if that is 0n and there is none yet; false if it belongs to somebody. */
  #give(port: SubnetPort, index: number, wanted: bigint): boolean {
    const guids = this.#byPort.get(port.guid) ?? [];
    const before = guids[index] ?? 0n;
    if (wanted === before || (wanted === 0n && before !== 0n)) return before !== 0n || this.#give(port, index, this.#newGuid());
    const guid = wanted === 0n ? this.#newGuid() : wanted;
    if (this.#subnet.findPort(guid) !== undefined || this.#subnet.aliases.has(guid)) return false;
    this.#clear(port, index);
    while (guids.length <= index) guids.push(0n);
    guids[index] = guid;
    this.#byPort.set(port.guid, guids);
    this.#subnet.aliases.set(guid, port.guid);
    return true;
  }

  #clear(port: SubnetPort, index: number): void {
    const guids = this.#byPort.get(port.guid);
    const before = guids?.[index] ?? 0n;
    if (guids === undefined || before === 0n) return;
    this.#subnet.aliases.delete(before);
    guids[index] = 0n;
  }

  #newGuid(): bigint {
    while (this.#subnet.findPort(this.#nextGiven) !== undefined) this.#nextGiven++;
    return this.#nextGiven++;
  }

  #recordOf(port: SubnetPort, block: number): DataView {
    const record = newRecord(GuidInfoRecord.byteLength);
    GuidInfoRecord.lid.set(record, 0, port.lid);
    GuidInfoRecord.block.set(record, 0, block);
    GuidInfoRecord.guids.set(record, 0, this.block(port.guid, block));
    return record;
  }
}
