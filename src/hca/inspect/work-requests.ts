// Work requests as they lie in guest memory, decoded for reading only. The guest may change them meanwhile: each value is read
// once, and nothing here is more than what it said at that moment. Docs "infinihost" 5.2, 6.1, 7.2.

import type { Memory } from "../../base/bytes.ts";
import { describeRecord, hex64 } from "../../base/inspect.ts";
import { hex, nameOf } from "../../base/names.ts";
import { Access } from "../../spec/hca/contexts.ts";
import {
  AddressVector,
  ATOMIC_SEGMENT_BYTES,
  AtomicSegment,
  DATA_SEGMENT_BYTES,
  INLINE_LENGTH_MASK,
  INVALID_LKEY,
  REMOTE_ADDRESS_BYTES,
  RemoteAddressSegment,
  SendOpcode,
  UD_SEGMENT_BYTES,
  UdSegment,
  WQE_NEXT_BYTES,
  WQE_UNIT_BYTES,
  WqeMlx,
  WqeNext,
} from "../../spec/hca/queues.ts";
import { Service } from "../../spec/ib/numbers.ts";
import { Cursor, NO_REGION, type RegionTable } from "../../transport/memory.ts";
import type { SegmentView, WqeView } from "./views.ts";

/** WQEs of one queue that are decoded for one answer. */
export const WQES_SHOWN = 8;
export const NOT_MAPPED = "not mapped";

/** Whose keys the segments name. */
export interface Owner {
  readonly regions: RegionTable;
  readonly none: Memory;
  readonly pd: number;
}

/** Bytes of a queue in guest memory: `memory` and `at` say where those that were located last are. */
export interface Window {
  readonly memory: Memory;
  readonly at: number;
  /** False if key or memory is bad. */
  locate(offset: number, length: number): boolean;
}

export const unreadable = (index: number, offset: number): WqeView => ({
  index,
  offset,
  sizeBytes: 0,
  opcode: undefined,
  flags: [],
  immediate: undefined,
  remote: undefined,
  atomic: undefined,
  datagram: undefined,
  management: undefined,
  inlineBytes: undefined,
  segments: [],
  problem: NOT_MAPPED,
});

/** Where a send WQE lies, and where the slot before it does: that one says what it is (5.2.2). */
export interface SendSlot {
  readonly index: number;
  readonly offset: number;
  readonly previousOffset: number;
  readonly strideBytes: number;
  readonly service: number;
}

export function describeSend(window: Window, slot: SendSlot, owner: Owner): WqeView {
  const { index, offset, strideBytes, service } = slot;
  const nothing = unreadable(index, offset);
  if (!window.locate(slot.previousOffset, WQE_NEXT_BYTES)) return nothing;
  const opcode = WqeNext.nextOpcode.get(window.memory.view, window.at);
  const sizeBytes = WqeNext.nextSize.get(window.memory.view, window.at) * WQE_UNIT_BYTES;
  const isFenced = WqeNext.nextFence.get(window.memory.view, window.at) === 1;
  const named = { ...nothing, opcode: nameOf(SendOpcode, opcode), sizeBytes };
  if (sizeBytes < WQE_NEXT_BYTES || sizeBytes > strideBytes)
    return { ...named, problem: `size ${sizeBytes} does not fit the slot` };
  if (!window.locate(offset, sizeBytes)) return named;
  const { view } = window.memory;
  const { at } = window;
  return {
    ...named,
    ...(service === Service.MLX
      ? { management: describeRecord(WqeMlx, view, at) }
      : { flags: flagsOf(view, at, isFenced), immediate: hex(WqeNext.immediate.get(view, at)) }),
    ...segmentsOf(view, at + WQE_NEXT_BYTES, at + sizeBytes, opcode, service, owner),
  };
}

function flagsOf(view: DataView, at: number, isFenced: boolean): string[] {
  const flags: [string, boolean][] = [
    ["signaled", WqeNext.signaled.get(view, at) === 1],
    ["solicited", WqeNext.solicited.get(view, at) === 1],
    ["fence", isFenced],
  ];
  return flags.flatMap(([name, isSet]) => (isSet ? [name] : []));
}

/** The segments behind the control segment; `problem` if they end too soon. */
function segmentsOf(view: DataView, start: number, end: number, opcode: number, service: number, owner: Owner): Partial<WqeView> {
  const out: { -readonly [K in keyof WqeView]?: WqeView[K] } = { problem: undefined };
  const short = { ...out, problem: "too short for its opcode" };
  let at = start;
  if (service === Service.UD) {
    if (at + UD_SEGMENT_BYTES > end) return short;
    const { destQpn, qkey } = describeRecord(UdSegment, view, at);
    out.datagram = { destQpn: destQpn ?? 0, qkey: hex(Number(qkey)), ...describeRecord(AddressVector, view, at) };
    at += UD_SEGMENT_BYTES;
  } else if (service !== Service.MLX && hasRemoteAddress(opcode)) {
    if (at + REMOTE_ADDRESS_BYTES > end) return short;
    const { hi, lo } = RemoteAddressSegment.address;
    out.remote = { address: hex64(hi.get(view, at), lo.get(view, at)), rkey: hex(RemoteAddressSegment.rkey.get(view, at), 8) };
    at += REMOTE_ADDRESS_BYTES;
    if (opcode === SendOpcode.ATOMIC_CS || opcode === SendOpcode.ATOMIC_FA) {
      if (at + ATOMIC_SEGMENT_BYTES > end) return short;
      const { swapAdd, compare } = describeRecord(AtomicSegment, view, at);
      out.atomic = { swapAdd: String(swapAdd), compare: String(compare) };
      at += ATOMIC_SEGMENT_BYTES;
    }
  }
  const access = opcode >= SendOpcode.RDMA_READ && opcode <= SendOpcode.ATOMIC_FA ? Access.LOCAL_WRITE : Access.LOCAL_READ;
  return { ...out, ...dataOf(view, at, end, owner, access) };
}

const hasRemoteAddress = (opcode: number): boolean =>
  opcode === SendOpcode.RDMA_WRITE ||
  opcode === SendOpcode.RDMA_WRITE_IMM ||
  (opcode >= SendOpcode.RDMA_READ && opcode <= SendOpcode.ATOMIC_FA);

/** Data segments up to `end`, or the bytes that lie in the WQE itself. */
function dataOf(
  view: DataView,
  start: number,
  end: number,
  owner: Owner,
  access: number,
): { segments: SegmentView[]; inlineBytes?: number } {
  const segments: SegmentView[] = [];
  for (let at = start; at + 4 <= end; at += DATA_SEGMENT_BYTES) {
    const head = view.getInt32(at);
    if (head < 0) return segments.length > 0 ? { segments } : { segments, inlineBytes: head & INLINE_LENGTH_MASK };
    if (at + DATA_SEGMENT_BYTES > end) break;
    segments.push(segmentView(view, at, head, owner, access));
  }
  return { segments };
}

/** A receive WQE: segments up to the end marker (5.2.4). */
export function describeReceive(
  window: Window,
  slot: { readonly index: number; readonly offset: number; readonly strideBytes: number },
  owner: Owner,
): WqeView {
  const { index, offset, strideBytes } = slot;
  const nothing = unreadable(index, offset);
  if (!window.locate(offset, strideBytes)) return nothing;
  const { view } = window.memory;
  const segments: SegmentView[] = [];
  const end = window.at + strideBytes;
  for (let at = window.at + WQE_NEXT_BYTES; at + DATA_SEGMENT_BYTES <= end; at += DATA_SEGMENT_BYTES) {
    const length = view.getInt32(at) & 0x7fffffff;
    if (length === 0 && view.getInt32(at + 4) === INVALID_LKEY) break;
    segments.push(segmentView(view, at, length, owner, Access.LOCAL_WRITE));
  }
  return { ...nothing, sizeBytes: strideBytes, segments, problem: undefined };
}

function segmentView(view: DataView, at: number, length: number, owner: Owner, access: number): SegmentView {
  const lkey = view.getInt32(at + 4);
  const hi = view.getInt32(at + 8);
  const lo = view.getInt32(at + 12);
  return {
    address: hex64(hi, lo),
    lkey: hex(lkey, 8),
    length,
    problem: length === 0 ? undefined : keyProblem(owner, access, lkey, hi, lo, length),
  };
}

/** Why a range cannot be reached by a key now, as the engine would find it; undefined if it can (at its first byte). */
function keyProblem(owner: Owner, access: number, key: number, hi: number, lo: number, length: number): string | undefined {
  const { regions, pd, none } = owner;
  const index = regions.find(key);
  const region = index === NO_REGION ? undefined : regions.at(index);
  if (region === undefined) return "no such key";
  if (region.pd !== pd) return `key of PD ${region.pd}`;
  if ((region.access & access) !== access) return "no access";
  if (!regions.allows(index, pd, access, hi, lo, length)) return "outside the region";
  return regions.translate(index, hi, lo, 0, 1, new Cursor(none)) ? undefined : NOT_MAPPED;
}
