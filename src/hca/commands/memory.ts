// Memory regions: SW2HW_MPT, HW2SW_MPT, QUERY_MPT. Docs "infinihost" 4.5, P-25, P-29.

import { Command, CommandStatus } from "../../spec/hca/commands.ts";
import { Mpt, MTT_BYTES } from "../../spec/hca/contexts.ts";
import { ICM_PAGES_MAX } from "../../transport/icm.ts";
import { LOG_REGION_PAGE_MAX, type MemoryRegion } from "../../transport/memory.ts";
import type { CommandCall } from "../command-call.ts";
import type { Hca } from "../hca.ts";
import type { CommandTable } from "./handler.ts";

const ICM_BYTES_MAX = ICM_PAGES_MAX * 4096;
/** No region reaches around the end of the address space. Rounding to 53 bits only matters within 2 KiB of it, where nothing is mapped. */
const ADDRESSES_END = 2 ** 64;
/** Up to here the distance of an address from the start of its region is exact, which translation needs. */
const TRANSLATED_BYTES_MAX = 2 ** 53;
/** Opcode modifier of HW2SW_MPT: the entry is not wanted back. */
const NO_OUTPUT = 1;

function sw2hwMpt(hca: Hca, call: CommandCall): number {
  const table = hca.adapter.regions;
  const index = call.modifier;
  if (index >= table.size) return CommandStatus.BAD_INDEX;
  if (!call.readInput(Mpt.byteLength)) return CommandStatus.BAD_PARAM;
  const view = call.input.view;
  const key = Mpt.key.get(view, 0);
  if ((key & (table.size - 1)) >>> 0 !== index) return CommandStatus.BAD_INDEX;
  if (table.at(index) !== undefined) return CommandStatus.BAD_RES_STATE;
  if (table.count >= hca.quota.regions) return CommandStatus.EXCEED_LIM;
  if (Mpt.region.get(view, 0) !== 1) return CommandStatus.BAD_PARAM;
  const logPageBytes = 12 + Mpt.logPageSize.get(view, 0);
  const mttAddress = Mpt.mttAddress.hi.get(view, 0) * 2 ** 32 + Mpt.mttAddress.lo.get(view, 0);
  const isPhysical = Mpt.physical.get(view, 0) === 1;
  if (!isPhysical && (logPageBytes > LOG_REGION_PAGE_MAX || mttAddress % MTT_BYTES !== 0 || mttAddress >= ICM_BYTES_MAX)) {
    return CommandStatus.BAD_PARAM;
  }
  const lengthHi = Mpt.length.hi.get(view, 0);
  const lengthLo = Mpt.length.lo.get(view, 0);
  const bytes = lengthHi * 2 ** 32 + lengthLo;
  const start = Mpt.start.hi.get(view, 0) * 2 ** 32 + Mpt.start.lo.get(view, 0);
  if (start + bytes > ADDRESSES_END || (!isPhysical && bytes > TRANSLATED_BYTES_MAX)) return CommandStatus.BAD_PARAM;
  if (!isPhysical && table.registeredBytes + bytes > hca.quota.registeredBytes) return CommandStatus.EXCEED_LIM;
  const region = {
    key,
    access: view.getInt32(0, false),
    pd: Mpt.pd.get(view, 0),
    startHi: Mpt.start.hi.get(view, 0),
    startLo: Mpt.start.lo.get(view, 0),
    isPhysical,
    logPageBytes: isPhysical ? 12 : logPageBytes,
    mttAddress: isPhysical ? 0 : mttAddress,
  };
  table.set(index, region, lengthHi, lengthLo);
  return CommandStatus.OK;
}

function hw2swMpt(hca: Hca, call: CommandCall): number {
  const table = hca.adapter.regions;
  if (call.modifier >= table.size) return CommandStatus.BAD_INDEX;
  const region = table.at(call.modifier);
  if (region === undefined) return CommandStatus.BAD_RES_STATE;
  table.remove(call.modifier);
  if (call.opcodeModifier === NO_OUTPUT) return CommandStatus.OK;
  describeRegion(region, call.startOutput(Mpt.byteLength));
  // Where the driver gave no mailbox the entry is simply lost (P-25).
  call.writeOutput(Mpt.byteLength);
  return CommandStatus.OK;
}

function queryMpt(hca: Hca, call: CommandCall): number {
  const region = hca.adapter.regions.at(call.modifier);
  if (region === undefined) return CommandStatus.BAD_INDEX;
  describeRegion(region, call.startOutput(Mpt.byteLength));
  return call.writeOutput(Mpt.byteLength) ? CommandStatus.OK : CommandStatus.BAD_PARAM;
}

function describeRegion(region: MemoryRegion, out: DataView): void {
  out.setInt32(0, region.access);
  Mpt.region.set(out, 0, 1);
  Mpt.physical.set(out, 0, region.isPhysical ? 1 : 0);
  Mpt.logPageSize.set(out, 0, region.logPageBytes - 12);
  Mpt.key.set(out, 0, region.key);
  Mpt.pd.set(out, 0, region.pd);
  Mpt.start.hi.set(out, 0, region.startHi);
  Mpt.start.lo.set(out, 0, region.startLo);
  // "Everything" is kept as 2^64 and was given as all ones.
  const length = BigInt(region.length);
  Mpt.length.setBig(out, 0, length > 0xffffffffffffffffn ? 0xffffffffffffffffn : length);
  Mpt.mttAddress.setBig(out, 0, BigInt(region.mttAddress));
}

export const memoryCommands: CommandTable = [
  [Command.SW2HW_MPT, sw2hwMpt],
  [Command.HW2SW_MPT, hw2swMpt],
  [Command.QUERY_MPT, queryMpt],
];
