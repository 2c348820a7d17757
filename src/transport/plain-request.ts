// The commonest requests, carried out in one go: RC sends and RDMA writes of one segment (or inline data) and at most one slice, to a
// peer that is ready for them. Each check here is one that the general way makes, too (requester.ts, connected.ts); a request that is
// out of the ordinary or wrong in any respect is left to that, as if nothing had been tried. IBA vol 1, 9.7; docs "infinihost" 5.2.

import { copyBytes } from "../base/bytes.ts";
import { add24 } from "../base/seq24.ts";
import { Access, PathMigration } from "../spec/hca/contexts.ts";
import {
  DATA_SEGMENT_BYTES,
  INLINE_LENGTH_MASK,
  INVALID_LKEY,
  REMOTE_ADDRESS_BYTES,
  SendOpcode,
  WQE_NEXT_BYTES,
  WQE_OPCODE_MASK,
  WQE_SIZE_MASK,
  WQE_UNIT_BYTES,
} from "../spec/hca/queues.ts";
import { Operation } from "../spec/ib/bth-opcode.ts";
import { mtuBytes, packetsOf, QpState, Service } from "../spec/ib/numbers.ts";
import { completeReceive, completeSend, countTraffic, SOLICITED } from "./completion.ts";
import { AdapterCounter } from "./counters.ts";
import type { Cursor, RegionTable } from "./memory.ts";
import type { QueuePair } from "./queue-pair.ts";
import { newParty } from "./scratch.ts";
import { SLICE_BYTES, WQE_COST_BYTES } from "./status.ts";

/** Where the data segment of a write begins in its WQE. */
const WRITE_DATA_AT = WQE_NEXT_BYTES + REMOTE_ADDRESS_BYTES;
/** Where the second segment of a receive WQE would begin. */
const RECEIVE_END_AT = WQE_NEXT_BYTES + DATA_SEGMENT_BYTES;
const LENGTH_MASK = 0x7fffffff;
const WORD_BYTES = 4;

/** One end of the message in hand: an address in a region of `table`, and where the bytes there are. */
class Side {
  table: RegionTable;
  hi = 0;
  lo = 0;
  readonly cursor: Cursor;

  constructor() {
    const { table, cursor } = newParty();
    this.table = table;
    this.cursor = cursor;
  }

  /** Finds the first bytes of [hi:lo, + length), which must be allowed. */
  begin(table: RegionTable, key: number, pd: number, access: number, hi: number, lo: number, length: number): boolean {
    this.table = table;
    this.hi = hi;
    this.lo = lo;
    return table.locate(key, pd, access, hi, lo, length, 0, length, this.cursor);
  }

  /** Moves on by `piece` bytes of what has been found, to byte `done` of the message; finds more of the `left` bytes if that was all. */
  advance(piece: number, done: number, left: number): boolean {
    const { cursor } = this;
    cursor.run -= piece;
    cursor.at += piece;
    if (cursor.run > 0) return true;
    const { table } = this;
    if (!table.follow(cursor, left) && !table.translate(cursor.region, this.hi, this.lo, done, left, cursor)) return false;
    if (cursor.run > left) cursor.run = left;
    return true;
  }
}

/** Scratch: an engine does one thing at a time. */
const source = new Side();
const target = new Side();

/**
 * Carries out plain requests from the head of the send queue.
 * @param limit about how much work to do, in bytes
 * @returns work done; 0 if the WQE at the head is none of them
 */
export function runPlainRequests(qp: QueuePair, limit: number): number {
  const { peer } = qp;
  if (peer === undefined || !areBothReady(qp, peer)) return 0;
  const { compiled } = qp.adapter.network;
  if (compiled === undefined) return runHere(qp, peer, limit);
  const work = compiled.run(qp, peer, limit) || runHere(qp, peer, limit);
  if (work > 0) compiled.noteHot(qp);
  return work;
}

function runHere(qp: QueuePair, peer: QueuePair, limit: number): number {
  const { network } = qp.adapter;
  const { epoch } = network;
  const mtu = mtuBytes(qp.attributes.mtuCode);
  const mostBytes = Math.min(SLICE_BYTES, qp.attributes.maxMessageBytes);
  let work = 0;
  let sends = 0;
  let messages = 0;
  let bytes = 0;
  let words = 0;
  let packets = 0;
  // A completion queue that fails takes its queue pairs along: the epoch tells.
  while (work < limit && qp.sqHead !== qp.sqPosted && network.epoch === epoch) {
    const length = carryOut(qp, peer, mostBytes);
    if (length === 0) break;
    if (qp.wqeOpcode === SendOpcode.SEND) sends++;
    messages++;
    bytes += length;
    words += (length + WORD_BYTES - 1) >>> 2;
    packets += packetsOf(length, mtu);
    work += WQE_COST_BYTES + length;
  }
  if (messages === 0) return 0;
  counts.messages = messages;
  counts.sends = sends;
  counts.bytes = bytes;
  counts.words = words;
  counts.packets = packets;
  account(qp, peer);
  return work;
}

/** Scratch: what has been done, for `account`. */
export const counts = { messages: 0, sends: 0, bytes: 0, words: 0, packets: 0 };

/** Writes down in both queue pairs and in the counters what `counts` says has gone from one to the other. */
export function account(qp: QueuePair, peer: QueuePair): void {
  const { messages, sends, packets } = counts;
  qp.nextPsn = add24(qp.nextPsn, packets);
  peer.expectedPsn = qp.nextPsn;
  peer.messageCount = add24(peer.messageCount, messages);
  qp.retriesLeft = qp.attributes.retryCount;
  qp.rnrRetriesLeft = qp.attributes.rnrRetry;
  const { counters } = qp.adapter;
  counters[AdapterCounter.rdmaWrites]! += messages - sends;
  counters[AdapterCounter.sends]! += sends;
  counters[AdapterCounter.bytes]! += counts.bytes;
  countTraffic(qp.port, peer.port, qp.attributes.rlid, counts.words * WORD_BYTES, packets, qp.attributes.sl);
}

/** True if the last message went from `qp` to `peer` and the next one may, too. */
export function areBothReady(qp: QueuePair, peer: QueuePair): boolean {
  if (qp.service !== Service.RC || qp.state !== QpState.RTS || peer.state !== QpState.RTS) return false;
  if (qp.peerNetworkEpoch !== qp.adapter.network.epoch || qp.peerWireEpoch !== qp.port.wire.epoch) return false;
  if (peer.expectedPsn !== qp.nextPsn || peer.isReceiving || (qp.migration | peer.migration) === PathMigration.REARM)
    return false;
  const { mtuCode } = qp.attributes;
  return mtuCode === peer.attributes.mtuCode && mtuBytes(mtuCode) > 0;
}

/** Carries out the WQE at the head if it is plain. Returns the bytes of its message; 0 if nothing was done. */
function carryOut(qp: QueuePair, peer: QueuePair, mostBytes: number): number {
  const { wqes } = qp;
  if (!wqes.locate(qp.sendOffset(qp.sqHead - 1), WQE_NEXT_BYTES)) return 0;
  const opcode = wqes.memory.view.getInt32(wqes.at, false) & WQE_OPCODE_MASK;
  const wqeBytes = (wqes.memory.view.getInt32(wqes.at + 4, false) & WQE_SIZE_MASK) * WQE_UNIT_BYTES;
  const isWrite = opcode === SendOpcode.RDMA_WRITE;
  if (!isWrite && opcode !== SendOpcode.SEND) return 0;
  const offset = qp.sendOffset(qp.sqHead);
  if (wqeBytes > 1 << qp.setup.logSqStride || !wqes.locate(offset, wqeBytes)) return 0;
  const { at } = wqes;
  const { view } = wqes.memory;
  const length = findSource(qp, at + (isWrite ? WRITE_DATA_AT : WQE_NEXT_BYTES), at + wqeBytes, mostBytes);
  if (length === 0 || !(isWrite ? findRemote(qp, peer, view, at + WQE_NEXT_BYTES, length) : findReceive(peer, length))) return 0;
  if (!target.cursor.isWritable || !move(length)) return 0;
  qp.wqeOffset = offset;
  qp.wqeOpcode = opcode;
  qp.wqeControl = view.getInt32(at + 8, false);
  if (!isWrite) {
    peer.rqHead = (peer.rqHead + 1) & 0xffff;
    completeReceive(peer, 0, 0, 0, length, Operation.SEND_ONLY, (qp.wqeControl & SOLICITED) !== 0);
  }
  completeSend(qp, 0);
  return length;
}

/** Finds what the only segment, from `at` to `end` of the WQE, names or holds; returns how many bytes, 0 if it is not plain. */
function findSource(qp: QueuePair, at: number, end: number, mostBytes: number): number {
  if (at + DATA_SEGMENT_BYTES > end) return 0;
  const { memory } = qp.wqes;
  const { view } = memory;
  const head = view.getInt32(at, false);
  if (head < 0) {
    const length = head & INLINE_LENGTH_MASK;
    if (at + WORD_BYTES + length > end || length > mostBytes) return 0;
    source.cursor.memory = memory;
    source.cursor.at = at + WORD_BYTES;
    source.cursor.run = length;
    return length;
  }
  if (head === 0 || head > mostBytes || at + DATA_SEGMENT_BYTES !== end) return 0;
  const lkey = view.getInt32(at + 4, false);
  const hi = view.getInt32(at + 8, false);
  const lo = view.getInt32(at + 12, false);
  return source.begin(qp.adapter.regions, lkey, qp.pd, Access.LOCAL_READ, hi, lo, head) ? head : 0;
}

/** Finds the remote range that the segment at `at` of a write's WQE names. */
function findRemote(qp: QueuePair, peer: QueuePair, view: DataView, at: number, length: number): boolean {
  if (!qp.attributes.sendsWrites || !peer.attributes.allowsRemoteWrite) return false;
  const hi = view.getInt32(at, false);
  const lo = view.getInt32(at + 4, false);
  const rkey = view.getInt32(at + 8, false);
  return target.begin(peer.adapter.regions, rkey, peer.pd, Access.REMOTE_WRITE, hi, lo, length);
}

/** Finds the memory that the peer's next receive WQE names in its only segment. */
function findReceive(peer: QueuePair, length: number): boolean {
  const { srq, rqRecord, rqBase, logRqSize, logRqStride } = peer.setup;
  if (srq !== undefined) return false;
  const available = (rqRecord.counter(peer.rqHead) - peer.rqHead) & 0xffff;
  const offset = rqBase + ((peer.rqHead & ((1 << logRqSize) - 1)) << logRqStride);
  const stride = 1 << logRqStride;
  if (available === 0 || available > 1 << logRqSize || stride < RECEIVE_END_AT || !peer.wqes.locate(offset, stride)) return false;
  const { at } = peer.wqes;
  const { view } = peer.wqes.memory;
  if (stride > RECEIVE_END_AT && !endsAt(view, at + RECEIVE_END_AT)) return false;
  const room = view.getInt32(at + WQE_NEXT_BYTES, false) & LENGTH_MASK;
  const lkey = view.getInt32(at + WQE_NEXT_BYTES + 4, false);
  const hi = view.getInt32(at + WQE_NEXT_BYTES + 8, false);
  const lo = view.getInt32(at + WQE_NEXT_BYTES + 12, false);
  const { regions } = peer.adapter;
  if (room < length || !regions.isAllowed(lkey, peer.pd, Access.LOCAL_WRITE, hi, lo, room)) return false;
  peer.receiveOffset = offset;
  return target.begin(regions, lkey, peer.pd, Access.LOCAL_WRITE, hi, lo, length);
}

/** True if a receive WQE's list ends at `at` (5.2.4). */
const endsAt = (view: DataView, at: number): boolean =>
  (view.getInt32(at, false) & LENGTH_MASK) === 0 && view.getInt32(at + 4, false) === INVALID_LKEY;

/** Copies the message, piece by piece. False if some of it has no memory: the general way then finds that out again. */
function move(length: number): boolean {
  const from = source.cursor;
  const to = target.cursor;
  for (let done = 0; ; ) {
    const piece = from.run < to.run ? from.run : to.run;
    copyBytes(from.memory, from.at, to.memory, to.at, piece);
    done += piece;
    if (done >= length) return true;
    if (!source.advance(piece, done, length - done)) return false;
    if (!target.advance(piece, done, length - done) || !to.isWritable) return false;
  }
}
