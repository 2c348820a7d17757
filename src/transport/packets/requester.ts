// The requester of a connected queue pair whose peer is reached by packets: messages cut into packets, several of them under way. What
// comes back is in responses.ts, what is sent again in retries.ts. IBA vol 1, 9.7.2 (PSNs), 9.7.3 (requests), 9.8.2 (UC).
//
// Behind a read or an atomic nothing more is sent until its answer has come, so that fences hold and the data segments in hand are
// those the answer goes to.

import { add24, diff24 } from "../../base/seq24.ts";
import { SendOpcode, Syndrome } from "../../spec/hca/queues.ts";
import { mtuBytes, packetsOf, QpState, Service } from "../../spec/ib/numbers.ts";
import { AdapterCounter } from "../counters.ts";
import { type QueuePair, Waiting } from "../queue-pair.ts";
import { fetch, TURN_BYTES } from "../send-queue.ts";
import type { Connection } from "./connection.ts";
import { completeOldest, failAt, settle } from "./retries.ts";
import { laneOf } from "./route.ts";
import { Sent, sendPacket } from "./send-packet.ts";

/** Packets under way: at 2 KiB each half of what a ring holds, and enough for engines that wake each other up. */
const WINDOW = 256;
/** Work of a packet besides its payload, in the bytes that take as long. */
const PACKET_COST_BYTES = 512;

/**
 * True if the messages of `qp` take the short path again from now on: nobody wants them as packets any more, and none is under way. What is
 * acknowledged has been executed, so the peer expects the next PSN; of what may still be on its way to it, it has all.
 */
export function leavePackets(qp: QueuePair): boolean {
  const c = qp.connection!;
  laneOf(qp);
  if (!c.isLeaving || c.messages.count > 0) return false;
  // Nobody acknowledges the packets of UC. None may be overtaken.
  if (qp.service === Service.UC && qp.adapter.network.hasLoopbackPackets) return false;
  c.stopRequesting();
  qp.stopWaiting();
  return true;
}

/** Lets a queue pair whose peer is reached by packets send them. Returns work done, in bytes. */
export function runPackets(qp: QueuePair, nowNs: number): number {
  const c = qp.connection!;
  if (qp.waitsFor === Waiting.RNR) return 0;
  laneOf(qp);
  if (c.isLeaving && qp.service === Service.UC && c.messages.count === 0) return holdBack(qp, qp.adapter.network.hasLate);
  let work = 0;
  // Who waits for room is not to take what others have been promised, though an answer has given it a turn.
  while (work < TURN_BYTES && !qp.isHeldBack) {
    const { messages } = c;
    if (messages.cursor === messages.count && !takeMessage(qp, c)) break;
    if (c.syndrome !== 0 && messages.cursor === messages.count - 1) break;
    const bytes = Math.min(messages.bytes(messages.cursor), mtuBytes(qp.attributes.mtuCode));
    const outcome = sendNext(qp, c);
    if (outcome === Sent.OK) {
      work += PACKET_COST_BYTES + bytes;
      continue;
    }
    if (outcome === Sent.NO_ROOM) work += holdBack(qp, false);
    break;
  }
  if (work >= TURN_BYTES) qp.adapter.activate(qp);
  settle(qp, c, nowNs);
  return work;
}

/**
 * Others drain the ring, once this engine has done something else: `qp` tries again, and the turn of its HCA ends soon. A lane of the fabric says
 * when there is room, and so do long cables that are full.
 *
 * @param awaitsTime nothing changes before packets arrive that are under way
 */
function holdBack(qp: QueuePair, awaitsTime: boolean): number {
  if (awaitsTime || qp.connection!.lane?.makesSendersWait === true) {
    qp.adapter.holdBack(qp);
    return 0;
  }
  qp.adapter.activate(qp);
  return TURN_BYTES;
}

/** Fetches the next WQE and makes a message of it. False if there is none, or none may be sent now. */
function takeMessage(qp: QueuePair, c: Connection): boolean {
  const { messages } = c;
  const isDraining = qp.state === QpState.SQ_DRAINING;
  if (isDraining || c.isLeaving || c.syndrome !== 0 || messages.isFull) return false;
  if (messages.count > 0 && messages.isAnswered(messages.count - 1)) return false;
  if (c.fetched === qp.sqPosted && !qp.refreshPosted()) return false;
  const counter = c.fetched;
  c.fetched = (counter + 1) & 0xffff;
  const syndrome = fetch(qp, counter);
  const isNop = qp.wqeOpcode === SendOpcode.NOP;
  const bytes = syndrome === 0 && !isNop ? qp.sendList.total : 0;
  const packets = syndrome !== 0 || isNop ? 0 : packetsOf(bytes, mtuBytes(qp.attributes.mtuCode));
  messages.push(qp.wqeOffset, counter, qp.nextPsn, packets, qp.wqeOpcode, qp.wqeControl, bytes);
  c.syndrome = syndrome;
  c.inHand = syndrome === 0 ? counter : -1;
  c.sent = 0;
  c.answered = 0;
  c.hasAskedAgain = false;
  qp.nextPsn = add24(qp.nextPsn, packets);
  if (syndrome === 0 && !isNop) countMessage(qp, bytes);
  return true;
}

function countMessage(qp: QueuePair, bytes: number): void {
  const { counters } = qp.adapter;
  const { wqeOpcode } = qp;
  if (wqeOpcode === SendOpcode.RDMA_READ) counters[AdapterCounter.rdmaReads]! += 1;
  else if (wqeOpcode === SendOpcode.RDMA_WRITE || wqeOpcode === SendOpcode.RDMA_WRITE_IMM)
    counters[AdapterCounter.rdmaWrites]! += 1;
  else if (wqeOpcode === SendOpcode.SEND || wqeOpcode === SendOpcode.SEND_IMM) counters[AdapterCounter.sends]! += 1;
  else counters[AdapterCounter.atomics]! += 1;
  counters[AdapterCounter.bytes]! += bytes;
}

/** Sends the next packet of the message at the cursor. */
function sendNext(qp: QueuePair, c: Connection): number {
  const { messages } = c;
  const index = messages.cursor;
  const packets = messages.packets(index);
  if (packets > 0) {
    if (qp.service === Service.RC && diff24(add24(messages.psn(index), c.sent), c.unackedPsn) >= WINDOW) return Sent.CLOSED;
    if (c.inHand !== messages.counter(index) && !fetchAgain(qp, c, index)) return Sent.FAULT;
    const outcome = sendPacket(qp, c, index);
    if (outcome !== Sent.OK) return outcome;
  }
  if (c.sent < packets) return Sent.OK;
  messages.cursor++;
  c.sent = 0;
  if (qp.service !== Service.UC) return Sent.OK;
  // Nobody acknowledges: what has been sent is done.
  while (messages.count > 0 && messages.cursor > 0) completeOldest(qp, c);
  c.unackedPsn = c.unsentPsn;
  return Sent.OK;
}

/** Reads the WQE of a message anew, to send what was lost. It is still the driver's to keep; if it is another one now, that fails. */
function fetchAgain(qp: QueuePair, c: Connection, index: number): boolean {
  const { messages } = c;
  const syndrome = fetch(qp, messages.counter(index));
  const isSame = qp.wqeOpcode === messages.opcode(index) && qp.sendList.total === messages.bytes(index);
  if (syndrome !== 0 || !isSame) {
    failAt(c, index, syndrome === 0 ? Syndrome.LOCAL_QP_OPERATION : syndrome);
    return false;
  }
  c.inHand = messages.counter(index);
  qp.sendList.skip((messages.isAnswered(index) ? c.answered : c.sent) * mtuBytes(qp.attributes.mtuCode));
  return true;
}
