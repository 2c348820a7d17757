// Sends and writes that arrive packet by packet. IBA vol 1, 9.4.1, 9.4.3, 9.7.4.1 (checks), 9.8.2 (UC).

import { add24 } from "../../base/seq24.ts";
import { Access } from "../../spec/hca/contexts.ts";
import { Syndrome } from "../../spec/hca/queues.ts";
import { bthOpcode, OpcodeTransport, Operation } from "../../spec/ib/bth-opcode.ts";
import { AethKind, mtuBytes, NakCode, Service } from "../../spec/ib/numbers.ts";
import { completeReceive } from "../completion.ts";
import { AdapterCounter } from "../counters.ts";
import type { QueuePair } from "../queue-pair.ts";
import { ScatterList, scatterBytes } from "../scatter-list.ts";
import { newParty } from "../scratch.ts";
import { Arriving, type Connection } from "./connection.ts";
import { IMMEDIATE_BYTES, packet, RETH_BYTES } from "./packet.ts";
import { failReceive, invalidRequest, remoteAccessError, tooLong } from "./refusals.ts";
import { ACK_SYNDROME, owe, SYNDROME_SHIFT } from "./replies.ts";
import { readReth, reth } from "./reth.ts";

/** Of an opcode, without the service. */
const OPERATION_MASK = 0x1f;
/** Opcodes of sends; those of writes lie as far apart. */
export const OPERATIONS_PER_KIND = Operation.WRITE_FIRST - Operation.SEND_FIRST;
/** Places of a packet in its message, as opcodes count them from the first. */
export const Place = { FIRST: 0, MIDDLE: 1, LAST: 2, LAST_IMM: 3, ONLY: 4, ONLY_IMM: 5 } as const;
const party = newParty();
const range = new ScatterList(1);

/** Payload of the packet in hand behind `headers` bytes of extended headers; -1 if its length is not that of its place (9.7.4.1.6). */
function payloadOf(qp: QueuePair, place: number, headers: number): number {
  const bytes = packet.bodyBytes - headers;
  const mtu = mtuBytes(qp.attributes.mtuCode);
  if (place === Place.FIRST || place === Place.MIDDLE) return bytes === mtu ? bytes : -1;
  if (place === Place.LAST || place === Place.LAST_IMM) return bytes > 0 && bytes <= mtu ? bytes : -1;
  return bytes >= 0 && bytes <= mtu ? bytes : -1;
}

const startsMessage = (place: number): boolean => place === Place.FIRST || place >= Place.ONLY;

const endsMessage = (place: number): boolean => place >= Place.LAST;

const hasImmediate = (place: number): boolean => place === Place.LAST_IMM || place === Place.ONLY_IMM;

export function receiveSend(qp: QueuePair, c: Connection, place: number): void {
  const headers = hasImmediate(place) ? IMMEDIATE_BYTES : 0;
  const payload = payloadOf(qp, place, headers);
  const isInOrder = startsMessage(place) === (c.arriving === Arriving.NOTHING) && c.arriving !== Arriving.WRITE;
  if (payload < 0 || !isInOrder) {
    invalidRequest(qp, c);
    return;
  }
  if (startsMessage(place)) {
    if (!takeReceive(qp, c) || !isReceiveAllowed(qp, c)) return;
    c.arriving = Arriving.SEND;
    c.arrived = 0;
  }
  if (c.arrived + payload > qp.receiveList.total) {
    tooLong(qp, c);
    return;
  }
  party.set(qp.adapter.regions, receivePd(qp), Access.LOCAL_WRITE);
  if (!scatterBytes(packet.memory, packet.bodyAt + headers, qp.receiveList, party, payload)) {
    failReceive(qp, c, Syndrome.LOCAL_PROTECTION, NakCode.REMOTE_OPERATIONAL);
    return;
  }
  c.arrived += payload;
  if (endsMessage(place)) finish(qp, c, hasImmediate(place) ? Operation.SEND_ONLY_IMM : Operation.SEND_ONLY);
  else accept(qp, c, 1);
}

const receivePd = (qp: QueuePair): number => (qp.setup.srq === undefined ? qp.pd : qp.setup.srq.pd);

/** Takes the receive WQE for the message that begins. False if that ends here: RNR, or an error of the WQE. */
function takeReceive(qp: QueuePair, c: Connection): boolean {
  // A UC message that lost its end has left its WQE.
  if (!qp.isReceiving) {
    const status = qp.takeReceive();
    if (status < 0) {
      notReady(qp, c);
      return false;
    }
    if (status > 0) {
      failReceive(qp, c, status, NakCode.REMOTE_OPERATIONAL);
      return false;
    }
  }
  return true;
}

/** Checks the memory of the receive WQE; a write with immediate data does not touch it. */
function isReceiveAllowed(qp: QueuePair, c: Connection): boolean {
  if (qp.receiveList.isAllowed(qp.adapter.regions, receivePd(qp), Access.LOCAL_WRITE)) return true;
  failReceive(qp, c, Syndrome.LOCAL_PROTECTION, NakCode.REMOTE_OPERATIONAL);
  return false;
}

/** RNR NAK: the requester tries again after the timer it names (9.7.5.2.8); UC loses the message. */
function notReady(qp: QueuePair, c: Connection): void {
  if (qp.service === Service.UC) {
    qp.adapter.counters[AdapterCounter.droppedNoReceive]! += 1;
    c.arriving = Arriving.NOTHING;
    qp.expectedPsn = add24(packet.psn, 1);
    return;
  }
  c.hasNaked = true;
  owe(qp, c, (AethKind.RNR_NAK << SYNDROME_SHIFT) | qp.attributes.minRnrTimer, packet.psn);
}

export function receiveWrite(qp: QueuePair, c: Connection, place: number): void {
  const reth = startsMessage(place) ? RETH_BYTES : 0;
  const headers = reth + (hasImmediate(place) ? IMMEDIATE_BYTES : 0);
  const payload = payloadOf(qp, place, headers);
  const isInOrder = startsMessage(place) === (c.arriving === Arriving.NOTHING) && c.arriving !== Arriving.SEND;
  if (payload < 0 || !isInOrder) {
    invalidRequest(qp, c);
    return;
  }
  if (startsMessage(place) && !beginWrite(qp, c)) return;
  const isEnd = endsMessage(place);
  const arrived = c.arrived + payload;
  if (arrived > c.length || isEnd !== (arrived === c.length)) {
    invalidRequest(qp, c);
    return;
  }
  if (hasImmediate(place) && !takeReceive(qp, c)) return;
  if (!writeRemote(qp, c, packet.bodyAt + headers, payload)) {
    remoteAccessError(qp, c, hasImmediate(place));
    return;
  }
  c.arrived = arrived;
  c.arriving = Arriving.WRITE;
  if (!isEnd) {
    accept(qp, c, 1);
    return;
  }
  if (hasImmediate(place)) {
    finish(qp, c, Operation.WRITE_ONLY_IMM);
    return;
  }
  c.arriving = Arriving.NOTHING;
  qp.messageCount = add24(qp.messageCount, 1);
  accept(qp, c, 1);
}

/** Reads the RETH of a write and checks what it asks for (9.7.4.1.5). False if that ends here. */
function beginWrite(qp: QueuePair, c: Connection): boolean {
  if (!qp.attributes.allowsRemoteWrite) {
    invalidRequest(qp, c);
    return false;
  }
  const isOnly = (packet.opcode & OPERATION_MASK) >= Operation.WRITE_ONLY;
  if (!readReth(qp, Access.REMOTE_WRITE)) {
    remoteAccessError(qp, c, isOnly && hasImmediate((packet.opcode & OPERATION_MASK) - Operation.WRITE_FIRST));
    return false;
  }
  c.rkey = reth.rkey;
  c.remoteHi = reth.hi;
  c.remoteLo = reth.lo;
  c.length = reth.length;
  c.arrived = 0;
  return true;
}

function writeRemote(qp: QueuePair, c: Connection, at: number, bytes: number): boolean {
  if (bytes === 0) return true;
  range.setRemote(c.rkey, c.remoteHi, c.remoteLo, c.length);
  range.skip(c.arrived);
  party.set(qp.adapter.regions, qp.pd, Access.REMOTE_WRITE);
  return scatterBytes(packet.memory, at, range, party, bytes);
}

/** The message is whole: its receive WQE completes. */
function finish(qp: QueuePair, c: Connection, operation: number): void {
  const isWrite = operation === Operation.WRITE_ONLY_IMM;
  const immediateAt = packet.bodyAt + (isWrite && (packet.opcode & OPERATION_MASK) >= Operation.WRITE_ONLY ? RETH_BYTES : 0);
  const immediate = operation === Operation.SEND_ONLY ? 0 : packet.memory.view.getInt32(immediateAt, false);
  const opcode = bthOpcode(qp.service === Service.UC ? OpcodeTransport.UC : OpcodeTransport.RC, operation);
  completeReceive(qp, 0, 0, immediate, c.arrived, opcode, packet.isSolicited);
  c.arriving = Arriving.NOTHING;
  qp.messageCount = add24(qp.messageCount, 1);
  accept(qp, c, 1);
}

/** The packet was executed: the next one is expected, and an ACK is owed if it asks for one. */
function accept(qp: QueuePair, c: Connection, packets: number): void {
  const psn = packet.psn;
  qp.expectedPsn = add24(psn, packets);
  if (packet.wantsAck && qp.service === Service.RC) owe(qp, c, ACK_SYNDROME, psn);
}
