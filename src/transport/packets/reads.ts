// Requests that are answered with data: reads and atomics. IBA vol 1, 9.4.4, 9.4.5, 9.7.5.1.

import { newMemory } from "../../base/bytes.ts";
import { add24 } from "../../base/seq24.ts";
import { Access } from "../../spec/hca/contexts.ts";
import { Operation } from "../../spec/ib/bth-opcode.ts";
import { mtuBytes, packetsOf } from "../../spec/ib/numbers.ts";
import { AdapterCounter } from "../counters.ts";
import type { QueuePair } from "../queue-pair.ts";
import { gatherBytes, ScatterList, scatterBytes } from "../scatter-list.ts";
import { newParty } from "../scratch.ts";
import { Arriving, type Connection } from "./connection.ts";
import { ATOMIC_ETH_BYTES, packet, RETH_BYTES } from "./packet.ts";
import { invalidRequest, remoteAccessError } from "./refusals.ts";
import { getTurn } from "./replies.ts";
import { readReth, reth } from "./reth.ts";

const ATOMIC_BYTES = 8;
const party = newParty();
const range = new ScatterList(1);
const word = newMemory(ATOMIC_BYTES);

export function receiveReadRequest(qp: QueuePair, c: Connection): void {
  if (packet.bodyBytes !== RETH_BYTES || c.arriving !== Arriving.NOTHING || !qp.attributes.allowsRemoteRead) {
    invalidRequest(qp, c);
    return;
  }
  if (!readReth(qp, Access.REMOTE_READ)) {
    remoteAccessError(qp, c, false);
    return;
  }
  if (!oweRead(qp, c)) return;
  qp.expectedPsn = add24(packet.psn, packetsOf(reth.length, mtuBytes(qp.attributes.mtuCode)));
  qp.messageCount = add24(qp.messageCount, 1);
}

/** Queues the answer to the read in hand. False if the peer has asked for too much at a time: it will ask again. */
export function oweRead(qp: QueuePair, c: Connection): boolean {
  const index = c.answers.push();
  if (index < 0) {
    qp.adapter.counters[AdapterCounter.droppedBusy]! += 1;
    return false;
  }
  const { answers } = c;
  answers.psn[index] = packet.psn;
  answers.packets[index] = packetsOf(reth.length, mtuBytes(qp.attributes.mtuCode));
  answers.isAtomic[index] = 0;
  answers.rkey[index] = reth.rkey;
  answers.hi[index] = reth.hi;
  answers.lo[index] = reth.lo;
  answers.bytes[index] = reth.length;
  getTurn(qp, c);
  return true;
}

/** Compare & swap and fetch & add on 8 aligned bytes in host byte order (9.4.5; docs "infinihost" 5.5.4). */
export function receiveAtomic(qp: QueuePair, c: Connection, operation: number): void {
  const { view } = packet.memory;
  const at = packet.bodyAt;
  const isSound = packet.bodyBytes === ATOMIC_ETH_BYTES && c.arriving === Arriving.NOTHING;
  if (!isSound || !qp.attributes.allowsRemoteAtomic || (view.getInt32(at + 4, false) & 7) !== 0) {
    invalidRequest(qp, c);
    return;
  }
  range.setRemote(view.getInt32(at + 8, false), view.getInt32(at, false), view.getInt32(at + 4, false), ATOMIC_BYTES);
  party.set(qp.adapter.regions, qp.pd, Access.REMOTE_ATOMIC);
  const isThere =
    range.isAllowed(qp.adapter.regions, qp.pd, Access.REMOTE_ATOMIC) && gatherBytes(range, party, word, 0, ATOMIC_BYTES);
  if (!isThere) {
    remoteAccessError(qp, c, false);
    return;
  }
  const lo = word.view.getInt32(0, true);
  const hi = word.view.getInt32(4, true);
  if (operation === Operation.FETCH_ADD) add(hi, lo, view, at + 12);
  else swap(hi, lo, view, at + 12);
  range.rewind();
  if (!scatterBytes(word, 0, range, party, ATOMIC_BYTES)) {
    remoteAccessError(qp, c, false);
    return;
  }
  c.results.keep(packet.psn, hi, lo);
  qp.messageCount = add24(qp.messageCount, 1);
  qp.expectedPsn = add24(packet.psn, 1);
  oweAtomic(qp, c, packet.psn, hi, lo);
}

/** The new value of a fetch & add, into `word`. */
function add(hi: number, lo: number, view: DataView, at: number): void {
  const sum = (lo >>> 0) + view.getUint32(at + 4, false);
  word.view.setInt32(0, sum | 0, true);
  word.view.setInt32(4, (hi + view.getInt32(at, false) + (sum >= 2 ** 32 ? 1 : 0)) | 0, true);
}

/** The new value of a compare & swap: the old one if it is not what the peer compares with. */
function swap(hi: number, lo: number, view: DataView, at: number): void {
  if (hi !== view.getInt32(at + 8, false) || lo !== view.getInt32(at + 12, false)) return;
  word.view.setInt32(0, view.getInt32(at + 4, false), true);
  word.view.setInt32(4, view.getInt32(at, false), true);
}

export function oweAtomic(qp: QueuePair, c: Connection, psn: number, hi: number, lo: number): void {
  const index = c.answers.push();
  if (index < 0) return;
  const { answers } = c;
  answers.psn[index] = psn;
  answers.packets[index] = 1;
  answers.isAtomic[index] = 1;
  answers.hi[index] = hi;
  answers.lo[index] = lo;
  getTurn(qp, c);
}
