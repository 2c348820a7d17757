// Commands that back the HCA's context memory with guest pages. Docs "infinihost" 2.8.3-2.8.5, 3.3, P-13, P-22.

import { PAGE_BYTES } from "../../base/address-space.ts";
import type { Field64 } from "../../base/layout.ts";
import { Command, CommandStatus, MAP_ENTRIES_MAX, MapEntry } from "../../spec/hca/commands.ts";
import type { CommandCall } from "../command-call.ts";
import type { Hca } from "../hca.ts";
import type { CommandTable } from "./handler.ts";

const SIZE_MASK = 0x3f;
/** Largest block of one entry: 2^20 pages, 4 GiB. */
const LOG_PAGES_MAX = 20;
/** Pages of one command, so that no command keeps other guests waiting for more than about a millisecond. */
const PAGES_MAX = 2 ** LOG_PAGES_MAX;

const wide = (hi: number, lo: number): number => hi * 2 ** 32 + lo;

function mapIcm(hca: Hca, call: CommandCall): number {
  const count = call.modifier;
  if (count === 0 || count > MAP_ENTRIES_MAX) return CommandStatus.BAD_PARAM;
  if (!call.readInput(count * MapEntry.byteLength)) return CommandStatus.BAD_PARAM;
  const view = call.input.view;
  const status = checkEntries(hca, view, count);
  if (status !== CommandStatus.OK) return status;
  for (let i = 0; i < count; i++) hca.adapter.icm.map(icmPageOf(view, i), pfnOf(view, i), 2 ** logPagesOf(view, i));
  return CommandStatus.OK;
}

/** All entries before the first is mapped: a refused command changes nothing. */
function checkEntries(hca: Hca, view: DataView, count: number): number {
  let pages = 0;
  for (let i = 0; i < count; i++) {
    const logPages = logPagesOf(view, i);
    if (logPages > LOG_PAGES_MAX) return CommandStatus.BAD_PARAM;
    if (!hca.adapter.icm.canMap(icmPageOf(view, i), pfnOf(view, i), 2 ** logPages)) return CommandStatus.EXCEED_LIM;
    pages += 2 ** logPages;
  }
  return pages > PAGES_MAX ? CommandStatus.EXCEED_LIM : CommandStatus.OK;
}

function pageOf(address: Field64, view: DataView, entry: number): number {
  const at = entry * MapEntry.byteLength;
  return Math.floor(wide(address.hi.get(view, at), address.lo.get(view, at)) / PAGE_BYTES);
}

const icmPageOf = (view: DataView, entry: number): number => pageOf(MapEntry.icmAddress, view, entry);
const pfnOf = (view: DataView, entry: number): number => pageOf(MapEntry.dmaAddress, view, entry);

/** The low bits of an entry's address hold the size of its block. */
const logPagesOf = (view: DataView, entry: number): number =>
  MapEntry.dmaAddress.lo.get(view, entry * MapEntry.byteLength) & SIZE_MASK;

function unmapIcm(hca: Hca, call: CommandCall): number {
  hca.adapter.icm.unmap(Math.floor(wide(call.inHi, call.inLo) / PAGE_BYTES), call.modifier);
  return CommandStatus.OK;
}

/** No auxiliary pages are wanted, so MAP_ICM_AUX is never sent. */
function setIcmSize(_hca: Hca, call: CommandCall): number {
  call.setResult(0, 0);
  return CommandStatus.OK;
}

const ok = (): number => CommandStatus.OK;

export const icmCommands: CommandTable = [
  [Command.SET_ICM_SIZE, setIcmSize],
  [Command.MAP_ICM, mapIcm],
  [Command.UNMAP_ICM, unmapIcm],
  [Command.MAP_ICM_AUX, ok],
  [Command.UNMAP_ICM_AUX, ok],
];
