// The commonest requests, compiled: RC sends and RDMA writes of one segment (or inline data), to a peer that is ready for them. Long ones
// go slice by slice; until the last one nobody knows of them, and whoever carries them out instead begins anew. The same as plain-request.ts, step by step; whatever is out of the ordinary or wrong in any respect is left alone, as if nothing
// had been tried. IBA vol 1, 9.7; docs "infinihost" 5.2.

import {
  BYTES,
  DATA_WORDS,
  DONE,
  FLAG_ALLOWS_REMOTE_WRITE,
  FLAG_HAS_SRQ,
  FLAG_SENDS_WRITES,
  FLAG_SIGNAL_ALL,
  FLAGS,
  IS_STUCK,
  LOG_MTU,
  LOG_RQ_SIZE,
  LOG_RQ_STRIDE,
  LOG_SQ_SIZE,
  LOG_SQ_STRIDE,
  MESSAGES,
  MOST_BYTES,
  NOT_PLAIN,
  PACKETS,
  PEER,
  QP_NUMBER,
  RECEIVE_CQ,
  RQ_BASE,
  RQ_HEAD,
  RQ_PAGE,
  RQ_RECORD,
  SEND_COMPLETIONS,
  SEND_CQ,
  SENDS,
  SQ_BASE,
  SQ_HEAD,
  SQ_PAGE,
  SQ_POSTED,
  SQ_RECORD,
  WQE_BASE_HI,
  WQE_COST,
  WQE_LKEY,
} from "../layout.ts";
import { complete, nextEntry, noteSolicited } from "./completion.ts";
import { big, find, findInRing, PAGE_BYTES, PAGE_MASK, record } from "./memory.ts";
import { beginWalk, copy, copyPages, WALK_BYTES } from "./walk.ts";

const LOCAL_READ: u32 = 1 << 10;
const LOCAL_WRITE: u32 = 1 << 11;
const REMOTE_WRITE: u32 = 1 << 13;
const OPCODE_MASK: u32 = 0x1f;
const RDMA_WRITE: u32 = 8;
const SEND: u32 = 10;
const SIZE_MASK: u32 = 0x3f;
const LOG_UNIT: u32 = 4;
const NEXT_BYTES: u32 = 16;
const SEGMENT_BYTES: u32 = 16;
const INLINE: u32 = 0x80000000;
const INLINE_LENGTH_MASK: u32 = 0x3ff;
const LENGTH_MASK: u32 = 0x7fffffff;
const INVALID_LKEY: u32 = 0x100;
const SIGNALED: u32 = 8;
const SOLICITED: u32 = 2;
const IS_SEND: u32 = 0x8000;
const BTH_SEND_ONLY: u32 = 4;
const COUNTER_MASK: u32 = 0xffff;
/** What is moved at once. */
const SLICE_BYTES: u32 = 64 * 1024;
const LOOKS_OF_WORK: i32 = 64;

/** Scratch: the walks through the pages of the message at either end. */
const sources = memory.data(WALK_BYTES, 8);
const targets = memory.data(WALK_BYTES, 8);

// The message in hand.
let at: u32 = 0;
let end: u32 = 0;
let length: u32 = 0;
/** How much of it has been moved before, and how much is to be moved now. */
let done: u32 = 0;
let piece: u32 = 0;
/** Where it is in the window, if it lies in one page on that side; 0 if `sources` or `targets` walks there. */
let source: u32 = 0;
let target: u32 = 0;
let receiveOffset: u32 = 0;

/**
 * Looks at queue pairs in turn, and carries their requests out.
 * @param list words: where in the window they are
 * @param looks how often to look at one; a look that finds something takes as long as many in vain
 * @param limit about how much work to do, in bytes
 * @returns work done; what is not plain ends it
 */
export function spin(list: u32, count: u32, looks: i32, limit: i32): i32 {
  const last = list + (count << 2);
  const turn = count === 1 ? limit : <i32>SLICE_BYTES;
  let work: i32 = 0;
  for (; looks > 0 && work < limit; looks -= <i32>count) {
    for (let entry = list; entry < last; entry += 4) {
      const moved = run(load<u32>(entry), turn);
      if (moved === 0) continue;
      if (moved === NOT_PLAIN) {
        store<u32>(load<u32>(entry), 1, IS_STUCK);
        return work;
      }
      work += moved;
      looks -= LOOKS_OF_WORK;
    }
  }
  return work;
}

/**
 * Carries out plain requests from the head of a send queue.
 * @param limit about how much work to do, in bytes
 * @returns work done, 0 if nothing is posted; `NOT_PLAIN` if the WQE at the head is none of them and nothing was done
 */
export function run(qp: u32, limit: i32): i32 {
  let work: i32 = 0;
  while (work < limit) {
    const head = load<u32>(qp, SQ_HEAD);
    if (head === load<u32>(qp, SQ_POSTED)) {
      const posted = record(load<u32>(qp, SQ_RECORD)) & COUNTER_MASK;
      if (posted === head) return work;
      // More than the ring holds is the driver's mistake.
      if (((posted - head) & COUNTER_MASK) > (<u32>1) << load<u32>(qp, LOG_SQ_SIZE)) return work > 0 ? work : NOT_PLAIN;
      store<u32>(qp, posted, SQ_POSTED);
    }
    if (!carryOut(qp, load<u32>(qp, PEER), head)) return work > 0 ? work : NOT_PLAIN;
    work += WQE_COST + <i32>piece;
  }
  return work;
}

/** Carries out WQE number `head` if it is plain. */
function carryOut(qp: u32, peer: u32, head: u32): bool {
  if (peer === 0) return false;
  const lkey = load<u32>(qp, WQE_LKEY);
  const hi = load<u32>(qp, WQE_BASE_HI);
  // Opcode and size are in the slot before (5.2.2).
  const link = findInRing(qp + SQ_PAGE, qp, lkey, LOCAL_READ, hi, sendOffset(qp, head - 1), NEXT_BYTES);
  if (link === 0) return false;
  const opcode = big(link) & OPCODE_MASK;
  const bytes = (big(link + 4) & SIZE_MASK) << LOG_UNIT;
  const isWrite = opcode === RDMA_WRITE;
  if (!isWrite && opcode !== SEND) return false;
  if (bytes < NEXT_BYTES || bytes > (<u32>1) << load<u32>(qp, LOG_SQ_STRIDE)) return false;
  const offset = sendOffset(qp, head);
  at = findInRing(qp + SQ_PAGE, qp, lkey, LOCAL_READ, hi, offset, bytes);
  if (at === 0) return false;
  end = at + bytes;
  done = load<u32>(qp, DONE);
  const control = big(at + 8);
  if (isWrite) return findWrite(qp, peer) && finish(qp, peer, head, opcode, offset, control);
  return findSend(qp, peer) && finish(qp, peer, head, opcode, offset, control);
}

/** Finds both ends of a write. */
function findWrite(qp: u32, peer: u32): bool {
  if ((load<u32>(qp, FLAGS) & FLAG_SENDS_WRITES) === 0 || (load<u32>(peer, FLAGS) & FLAG_ALLOWS_REMOTE_WRITE) === 0) return false;
  const remote = at + NEXT_BYTES;
  if (!findSource(qp, remote + SEGMENT_BYTES)) return false;
  return findTarget(peer, big(remote + 8), REMOTE_WRITE, big(remote), big(remote + 4), length);
}

/** Finds both ends of a send; its target is what the peer's next receive WQE names in its only segment. */
function findSend(qp: u32, peer: u32): bool {
  if (!findSource(qp, at + NEXT_BYTES) || (load<u32>(peer, FLAGS) & FLAG_HAS_SRQ) !== 0) return false;
  const rqRecord = load<u32>(peer, RQ_RECORD);
  if (rqRecord === 0) return false;
  const rqHead = load<u32>(peer, RQ_HEAD);
  const available = (record(rqRecord) - rqHead) & COUNTER_MASK;
  const slots: u32 = (<u32>1) << load<u32>(peer, LOG_RQ_SIZE);
  if (available === 0 || available > slots) return false;
  const stride: u32 = (<u32>1) << load<u32>(peer, LOG_RQ_STRIDE);
  if (stride < NEXT_BYTES + SEGMENT_BYTES) return false;
  receiveOffset = load<u32>(peer, RQ_BASE) + (rqHead & (slots - 1)) * stride;
  const hi = load<u32>(peer, WQE_BASE_HI);
  const wqe = findInRing(peer + RQ_PAGE, peer, load<u32>(peer, WQE_LKEY), LOCAL_READ, hi, receiveOffset, stride);
  if (wqe === 0) return false;
  const second = wqe + NEXT_BYTES + SEGMENT_BYTES;
  // The list ends with its first segment (5.2.4).
  if (stride > NEXT_BYTES + SEGMENT_BYTES && ((big(second) & LENGTH_MASK) !== 0 || big(second + 4) !== INVALID_LKEY))
    return false;
  const segment = wqe + NEXT_BYTES;
  const room = big(segment) & LENGTH_MASK;
  if (room < length) return false;
  return findTarget(peer, big(segment + 4), LOCAL_WRITE, big(segment + 8), big(segment + 12), room);
}

/** Finds what the only segment, at `segment`, names or holds. */
function findSource(qp: u32, segment: u32): bool {
  if (segment + SEGMENT_BYTES > end) return false;
  const head = big(segment);
  const most = load<u32>(qp, MOST_BYTES);
  if ((head & INLINE) !== 0) {
    length = head & INLINE_LENGTH_MASK;
    source = segment + 4;
    takePiece();
    return length !== 0 && length <= most && source + length <= end;
  }
  length = head;
  takePiece();
  if (head === 0 || head > most || segment + SEGMENT_BYTES !== end) return false;
  const key = big(segment + 4);
  const hi = big(segment + 8);
  const lo = big(segment + 12);
  if (head > PAGE_BYTES - (lo & PAGE_MASK)) {
    source = 0;
    return beginWalk(<u32>sources, qp, key, LOCAL_READ, hi, lo, head, done);
  }
  source = find(qp, key, LOCAL_READ, hi, lo, head);
  return source !== 0;
}

/** Decides how much of the message is moved now. The WQE may have changed since the last slice. */
function takePiece(): void {
  if (done >= length) done = 0;
  const left = length - done;
  piece = left < SLICE_BYTES ? left : SLICE_BYTES;
}

/** Finds `room` bytes for the message, which may be shorter. */
function findTarget(peer: u32, key: u32, access: u32, hi: u32, lo: u32, room: u32): bool {
  if (room > PAGE_BYTES - (lo & PAGE_MASK)) {
    target = 0;
    return beginWalk(<u32>targets, peer, key, access, hi, lo, room, done);
  }
  target = find(peer, key, access, hi, lo, room);
  return target !== 0;
}

/** Copies a slice, and completes the message at both ends if that was the last one; nothing if entries cannot be written. */
function finish(qp: u32, peer: u32, head: u32, opcode: u32, offset: u32, control: u32): bool {
  const isSend = opcode === SEND;
  const isSignaled = (control & SIGNALED) !== 0 || (load<u32>(qp, FLAGS) & FLAG_SIGNAL_ALL) !== 0;
  const sendCq = load<u32>(qp, SEND_CQ);
  const receiveCq = load<u32>(peer, RECEIVE_CQ);
  const received = isSend ? nextEntry(receiveCq, 0) : 0;
  if (isSend && received === 0) return false;
  const sent = isSignaled ? nextEntry(sendCq, u32(isSend && sendCq === receiveCq)) : 0;
  if (isSignaled && sent === 0) return false;
  if (!move()) return false;
  if (done + piece < length) {
    store<u32>(qp, done + piece, DONE);
    return true;
  }
  store<u32>(qp, 0, DONE);
  if (isSend) {
    complete(receiveCq, received, load<u32>(peer, QP_NUMBER), length, receiveOffset, BTH_SEND_ONLY);
    if ((control & SOLICITED) !== 0) noteSolicited(receiveCq);
    store<u32>(peer, (load<u32>(peer, RQ_HEAD) + 1) & COUNTER_MASK, RQ_HEAD);
    add(qp, SENDS, 1);
  }
  if (isSignaled) {
    complete(sendCq, sent, load<u32>(qp, QP_NUMBER), 0, offset, opcode | IS_SEND);
    add(qp, SEND_COMPLETIONS, 1);
  }
  store<u32>(qp, (head + 1) & COUNTER_MASK, SQ_HEAD);
  count(qp);
  return true;
}

/** False if there is no memory behind some of the slice: whoever carries the message out instead finds that out again. */
function move(): bool {
  if (source === 0 || target === 0) return copyPages(<u32>targets, <u32>sources, target, source, piece);
  copy(target, source, piece);
  return true;
}

function count(qp: u32): void {
  const logMtu = load<u32>(qp, LOG_MTU);
  add(qp, MESSAGES, 1);
  add(qp, BYTES, length);
  add(qp, DATA_WORDS, (length + 3) >> 2);
  add(qp, PACKETS, (length + ((<u32>1) << logMtu) - 1) >> logMtu);
}

function add(qp: u32, counter: u32, amount: u32): void {
  const place = qp + counter;
  store<u32>(place, load<u32>(place) + amount);
}

function sendOffset(qp: u32, counter: u32): u32 {
  const slots: u32 = (<u32>1) << load<u32>(qp, LOG_SQ_SIZE);
  return load<u32>(qp, SQ_BASE) + ((counter & (slots - 1)) << load<u32>(qp, LOG_SQ_STRIDE));
}
