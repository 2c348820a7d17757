// The packets of a requester: sends and writes, read requests, atomics. IBA vol 1, 9.3 (headers), 9.4 (operations), 9.7.2 (PSNs).

import { add24, diff24 } from "../../base/seq24.ts";
import { Access } from "../../spec/hca/contexts.ts";
import { SendOpcode, Syndrome } from "../../spec/hca/queues.ts";
import { bthOpcode, OpcodeTransport, Operation } from "../../spec/ib/bth-opcode.ts";
import { mtuBytes, Service } from "../../spec/ib/numbers.ts";
import { SOLICITED } from "../completion.ts";
import { AdapterCounter } from "../counters.ts";
import type { QueuePair } from "../queue-pair.ts";
import { gatherBytes } from "../scatter-list.ts";
import { newParty } from "../scratch.ts";
import type { Connection } from "./connection.ts";
import { ATOMIC_ETH_BYTES, beginPacket, IMMEDIATE_BYTES, LaneTag, padOf, RETH_BYTES } from "./packet.ts";
import { failAt } from "./retries.ts";

/** An acknowledgement is asked for at the end of a message, and in between as often as this. */
const ACK_EVERY = 16;
/** What became of an attempt to send a packet: `CLOSED` is a window that is full until an acknowledgement comes. */
export const Sent = { OK: 0, NO_ROOM: 1, FAULT: 2, CLOSED: 3 } as const;
const party = newParty();

export function sendPacket(qp: QueuePair, c: Connection, index: number): number {
  const opcode = c.messages.opcode(index);
  const outcome =
    opcode === SendOpcode.RDMA_READ
      ? sendReadRequest(qp, c, index)
      : c.messages.isAnswered(index)
        ? sendAtomic(qp, c, index)
        : sendData(qp, c, index);
  if (outcome !== Sent.OK) return outcome;
  const psn = add24(c.messages.psn(index), c.sent);
  const isAgain = diff24(psn, c.unsentPsn) < 0;
  qp.adapter.counters[isAgain ? AdapterCounter.packetsSentAgain : AdapterCounter.packetsSent]! += 1;
  c.sent = c.messages.isAnswered(index) ? c.messages.packets(index) : c.sent + 1;
  const end = add24(c.messages.psn(index), c.sent);
  if (diff24(end, c.unsentPsn) > 0) c.unsentPsn = end;
  return Sent.OK;
}

/** One packet of a send or write. */
function sendData(qp: QueuePair, c: Connection, index: number): number {
  const { messages, lane, sent } = c;
  const mtu = mtuBytes(qp.attributes.mtuCode);
  const isFirst = sent === 0;
  const isLast = sent === messages.packets(index) - 1;
  const total = messages.bytes(index);
  const payload = isLast ? total - sent * mtu : mtu;
  const opcode = messages.opcode(index);
  const isWrite = opcode === SendOpcode.RDMA_WRITE || opcode === SendOpcode.RDMA_WRITE_IMM;
  const hasImmediate = isLast && (opcode === SendOpcode.SEND_IMM || opcode === SendOpcode.RDMA_WRITE_IMM);
  if (lane === undefined) return loseData(qp, payload);
  const rest = (isWrite && isFirst ? RETH_BYTES : 0) + (hasImmediate ? IMMEDIATE_BYTES : 0) + payload;
  const operation = (isWrite ? Operation.WRITE_FIRST : Operation.SEND_FIRST) + placeOf(isFirst, isLast) + (hasImmediate ? 1 : 0);
  const transport = qp.service === Service.RC ? OpcodeTransport.RC : OpcodeTransport.UC;
  const psn = add24(messages.psn(index), sent);
  const isSolicited = isLast && (messages.control(index) & SOLICITED) !== 0;
  const wantsAck = qp.service === Service.RC && (isLast || (sent + 1) % ACK_EVERY === 0);
  let at = beginPacket(lane, qp, bthOpcode(transport, operation), psn, isSolicited, wantsAck, rest);
  if (at < 0) return Sent.NO_ROOM;
  const { view } = lane.memory;
  if (isWrite && isFirst) at = writeReth(view, at, qp, 0, total);
  if (hasImmediate) {
    view.setInt32(at, qp.wqeImmediate, false);
    at += IMMEDIATE_BYTES;
  }
  party.set(qp.adapter.regions, qp.pd, Access.LOCAL_READ);
  if (!gatherBytes(qp.sendList, party, lane.memory, at, payload)) {
    failAt(c, index, Syndrome.LOCAL_PROTECTION);
    return Sent.FAULT;
  }
  pad(view, at + payload, rest);
  lane.commit(LaneTag.DATA);
  return Sent.OK;
}

/** Where the opcodes of a message's packets lie behind that of its first: middle, last, only (IBA vol 1, table 38). */
const placeOf = (isFirst: boolean, isLast: boolean): number => (isFirst ? (isLast ? 4 : 0) : isLast ? 2 : 1);

/** Nothing reaches the peer at this time: the packet is lost at the port. */
function loseData(qp: QueuePair, payload: number): number {
  qp.adapter.counters[AdapterCounter.droppedUnreachable]! += 1;
  qp.sendList.skip(payload);
  return Sent.OK;
}

function pad(view: DataView, at: number, bytes: number): void {
  for (let i = padOf(bytes) - 1; i >= 0; i--) view.setUint8(at + i, 0);
}

/** RETH of the WQE in hand, from byte `done` of its remote range on. */
function writeReth(view: DataView, at: number, qp: QueuePair, done: number, bytes: number): number {
  const low = (qp.remoteLo >>> 0) + done;
  view.setInt32(at, low >= 2 ** 32 ? qp.remoteHi + 1 : qp.remoteHi, false);
  view.setInt32(at + 4, low | 0, false);
  view.setInt32(at + 8, qp.rkey, false);
  view.setInt32(at + 12, bytes, false);
  return at + RETH_BYTES;
}

/** Asks for what has not come yet of a read (9.7.5.1.2: again from the first response that is missing). */
function sendReadRequest(qp: QueuePair, c: Connection, index: number): number {
  const { messages, lane } = c;
  if (lane === undefined) return loseData(qp, 0);
  const done = c.answered * mtuBytes(qp.attributes.mtuCode);
  const opcode = bthOpcode(OpcodeTransport.RC, Operation.READ_REQUEST);
  const at = beginPacket(lane, qp, opcode, add24(messages.psn(index), c.answered), false, true, RETH_BYTES);
  if (at < 0) return Sent.NO_ROOM;
  writeReth(lane.memory.view, at, qp, done, messages.bytes(index) - done);
  lane.commit(LaneTag.DATA);
  return Sent.OK;
}

function sendAtomic(qp: QueuePair, c: Connection, index: number): number {
  const { messages, lane } = c;
  if (lane === undefined) return loseData(qp, 0);
  const isSwap = messages.opcode(index) === SendOpcode.ATOMIC_CS;
  const opcode = bthOpcode(OpcodeTransport.RC, isSwap ? Operation.COMPARE_SWAP : Operation.FETCH_ADD);
  const at = beginPacket(lane, qp, opcode, messages.psn(index), false, true, ATOMIC_ETH_BYTES);
  if (at < 0) return Sent.NO_ROOM;
  const { view } = lane.memory;
  view.setInt32(at, qp.remoteHi, false);
  view.setInt32(at + 4, qp.remoteLo, false);
  view.setInt32(at + 8, qp.rkey, false);
  view.setInt32(at + 12, qp.atomicSwapHi, false);
  view.setInt32(at + 16, qp.atomicSwapLo, false);
  view.setInt32(at + 20, qp.atomicCompareHi, false);
  view.setInt32(at + 24, qp.atomicCompareLo, false);
  lane.commit(LaneTag.DATA);
  return Sent.OK;
}
