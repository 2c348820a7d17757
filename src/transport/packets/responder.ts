// The responder of a connected queue pair: which request is the next, which has been executed before. IBA vol 1, 9.7.4 (checks), 9.7.5.1.5
// (duplicates), 9.8.2 (UC).

import { add24, diff24 } from "../../base/seq24.ts";
import { Access } from "../../spec/hca/contexts.ts";
import { Operation } from "../../spec/ib/bth-opcode.ts";
import { mtuBytes, NakCode, packetsOf, Service } from "../../spec/ib/numbers.ts";
import { AdapterCounter } from "../counters.ts";
import type { QueuePair } from "../queue-pair.ts";
import { OPERATIONS_PER_KIND, Place, receiveSend, receiveWrite } from "./arrivals.ts";
import { Arriving, type Connection } from "./connection.ts";
import { packet, RETH_BYTES } from "./packet.ts";
import { oweAtomic, oweRead, receiveAtomic, receiveReadRequest } from "./reads.ts";
import { dropUnreliable, invalidRequest } from "./refusals.ts";
import { ACK_SYNDROME, nakOf, owe } from "./replies.ts";
import { readReth, reth } from "./reth.ts";
import { connectionOf } from "./route.ts";

/** The packet in hand is a request for `qp`; its path has been checked. */
export function receiveRequest(qp: QueuePair, operation: number): void {
  qp.noteMessage();
  const c = connectionOf(qp);
  if (qp.service === Service.UC) {
    receiveUnreliable(qp, c, operation);
    return;
  }
  const ahead = diff24(packet.psn, qp.expectedPsn);
  if (ahead < 0) {
    repeat(qp, c, operation, -ahead);
    return;
  }
  if (ahead > 0) {
    qp.adapter.counters[AdapterCounter.droppedPsn]! += 1;
    if (!c.hasNaked) owe(qp, c, nakOf(NakCode.PSN_SEQUENCE), qp.expectedPsn);
    c.hasNaked = true;
    return;
  }
  c.hasNaked = false;
  execute(qp, c, operation);
}

/** UC takes up the sender's PSN with each new message; a gap in the middle loses the message (9.8.2.2). */
function receiveUnreliable(qp: QueuePair, c: Connection, operation: number): void {
  const place = operation % OPERATIONS_PER_KIND;
  const isStart = place === Place.FIRST || place === Place.ONLY || place === Place.ONLY_IMM;
  if (isStart) {
    if (c.arriving !== Arriving.NOTHING) interrupt(qp, c);
  } else if (c.arriving === Arriving.NOTHING || packet.psn !== qp.expectedPsn) {
    qp.adapter.counters[AdapterCounter.droppedPsn]! += 1;
    if (c.arriving !== Arriving.NOTHING) interrupt(qp, c);
    return;
  }
  qp.expectedPsn = packet.psn;
  execute(qp, c, operation);
}

/** A UC message has lost a packet: what came of it is dropped, and its receive WQE serves the next one (9.8.2.2). */
function interrupt(qp: QueuePair, c: Connection): void {
  qp.adapter.counters[AdapterCounter.droppedInterrupted]! += 1;
  c.arriving = Arriving.NOTHING;
  if (qp.isReceiving) qp.receiveList.rewind();
}

function execute(qp: QueuePair, c: Connection, operation: number): void {
  if (operation < Operation.WRITE_FIRST) receiveSend(qp, c, operation - Operation.SEND_FIRST);
  else if (operation <= Operation.WRITE_ONLY_IMM) receiveWrite(qp, c, operation - Operation.WRITE_FIRST);
  else if (qp.service === Service.UC) dropUnreliable(qp, c);
  else if (operation === Operation.READ_REQUEST) receiveReadRequest(qp, c);
  else if (operation === Operation.COMPARE_SWAP || operation === Operation.FETCH_ADD) receiveAtomic(qp, c, operation);
  else invalidRequest(qp, c);
}

/** A request that has been executed before: acknowledged, or answered, again (9.7.5.1.5). */
function repeat(qp: QueuePair, c: Connection, operation: number, behind: number): void {
  qp.adapter.counters[AdapterCounter.duplicates]! += 1;
  if (operation === Operation.READ_REQUEST) {
    repeatRead(qp, c, behind);
    return;
  }
  if (operation !== Operation.COMPARE_SWAP && operation !== Operation.FETCH_ADD) {
    // Not in place of a NAK that is still to go out.
    if (c.owesAck && c.ackSyndrome !== ACK_SYNDROME) return;
    owe(qp, c, ACK_SYNDROME, add24(qp.expectedPsn, -1));
    return;
  }
  const kept = c.results.find(packet.psn);
  if (kept >= 0) oweAtomic(qp, c, packet.psn, c.results.hi(kept), c.results.lo(kept));
}

function repeatRead(qp: QueuePair, c: Connection, behind: number): void {
  if (packet.bodyBytes < RETH_BYTES || c.answers.count > 0) return;
  // The range must be part of what has been asked for before.
  if (readReth(qp, Access.REMOTE_READ) && packetsOf(reth.length, mtuBytes(qp.attributes.mtuCode)) <= behind) oweRead(qp, c);
}
