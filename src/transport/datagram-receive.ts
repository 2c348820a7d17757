// The receive side of datagrams, from UD peers and from the management path: is this QP to take it, where does it go, how does it
// complete. IBA vol 1, 9.6.1, 9.8.3; docs "infinihost" 5.5.2, 6.2.

import { newMemory } from "../base/bytes.ts";
import { Access } from "../spec/hca/contexts.ts";
import { Syndrome } from "../spec/hca/queues.ts";
import { UD_SEND_ONLY, UD_SEND_ONLY_IMM } from "../spec/ib/bth-opcode.ts";
import { Grh } from "../spec/ib/headers.ts";
import { isUnicastLid, Service } from "../spec/ib/numbers.ts";
import { completeReceive, completeReceiveError } from "./completion.ts";
import { AdapterCounter } from "./counters.ts";
import { type AdapterPort, pkeysMatch } from "./port.ts";
import type { QueuePair } from "./queue-pair.ts";
import { scatterBytes } from "./scatter-list.ts";
import { newParty } from "./scratch.ts";

/** Space for the GRH in front of every datagram received. */
export const GRH_BYTES = 40;
/** The datagram in hand; one at a time in an engine. Filled from a WQE or from a packet's headers. */
export const datagram = {
  dlid: 0,
  slid: 0,
  sl: 0,
  /** Inter-packet delay, for lanes that space packets (IBA vol 1, 9.11). */
  delay: 0,
  hasGrh: false,
  destQpn: 0,
  sourceQpn: 0,
  qkey: 0,
  pkey: 0,
  immediate: 0,
  opcode: UD_SEND_ONLY as number,
  isSolicited: false,
  /** Payload bytes. */
  length: 0,
};
export const grh = newMemory(GRH_BYTES);
/** Where the payload goes once `beginReceive` has prepared it. */
export const receivingParty = newParty();

/**
 * Checks that `target` takes the datagram, takes a receive WQE and writes the GRH space. 0 if the payload may follow; it then
 * goes to `target.receiveList` through `receivingParty`.
 */
export function beginReceive(port: AdapterPort, target: QueuePair): number {
  const counters = target.adapter.counters;
  if (!target.isDatagram || !target.canReceive || target.port !== port) {
    counters[AdapterCounter.droppedNoQp]! += 1;
    return Syndrome.BAD_RESPONSE;
  }
  // A GRH must name this port (9.6.1.2); multicast ones have found their members by it.
  if (datagram.hasGrh && isUnicastLid(datagram.dlid) && !port.ownsGid(grh.view, Grh.dgid.offset)) {
    counters[AdapterCounter.droppedGid]! += 1;
    return Syndrome.BAD_RESPONSE;
  }
  if (!checkKeys(port, target)) return Syndrome.BAD_RESPONSE;
  if (target.isReceiving) {
    counters[AdapterCounter.droppedBusy]! += 1;
    return Syndrome.BAD_RESPONSE;
  }
  const taken = target.takeReceive();
  if (taken < 0) {
    counters[AdapterCounter.droppedNoReceive]! += 1;
    return Syndrome.BAD_RESPONSE;
  }
  const pd = target.setup.srq === undefined ? target.pd : target.setup.srq.pd;
  receivingParty.set(target.adapter.regions, pd, Access.LOCAL_WRITE);
  if (taken > 0 || !target.receiveList.isAllowed(target.adapter.regions, pd, Access.LOCAL_WRITE)) {
    completeReceiveError(target, taken > 0 ? taken : Syndrome.LOCAL_PROTECTION);
    target.enterError();
    return Syndrome.BAD_RESPONSE;
  }
  if (target.receiveList.total < GRH_BYTES + datagram.length) {
    counters[AdapterCounter.droppedTooLong]! += 1;
    if (target.setup.srq !== undefined) completeReceiveError(target, Syndrome.LOCAL_LENGTH);
    target.returnReceive();
    return Syndrome.BAD_RESPONSE;
  }
  if (!datagram.hasGrh) target.receiveList.skip(GRH_BYTES);
  else if (!scatterBytes(grh, 0, target.receiveList, receivingParty, GRH_BYTES)) {
    endReceive(port, target, false);
    return Syndrome.BAD_RESPONSE;
  }
  return 0;
}

function checkKeys(port: AdapterPort, target: QueuePair): boolean {
  const counters = target.adapter.counters;
  const isSmi = target.number === port.smiQpn;
  if (!isSmi && !pkeysMatch(datagram.pkey, port.pkey(target.attributes.pkeyIndex)) && target.number !== port.gsiQpn) {
    counters[AdapterCounter.droppedPkey]! += 1;
    port.wire.countPkeyViolation();
    return false;
  }
  if (!isSmi && (target.attributes.qkey | 0) !== datagram.qkey) {
    counters[AdapterCounter.droppedQkey]! += 1;
    port.wire.countQkeyViolation();
    return false;
  }
  return true;
}

/** Completes the receive WQE that `beginReceive` took. */
export function endReceive(port: AdapterPort, target: QueuePair, isWhole: boolean): void {
  if (!isWhole) {
    completeReceiveError(target, Syndrome.LOCAL_PROTECTION);
    target.enterError();
    return;
  }
  target.noteMessage();
  const flags =
    (datagram.sl << 28) |
    (datagram.hasGrh ? 1 << 23 : 0) |
    ((isUnicastLid(datagram.dlid) ? datagram.dlid & ((1 << port.wire.lmc) - 1) : 0) << 16) |
    datagram.slid;
  const immediate = datagram.opcode === UD_SEND_ONLY_IMM ? datagram.immediate : receivedPkeyIndex(port, target) << 16;
  completeReceive(
    target,
    datagram.sourceQpn,
    flags,
    immediate,
    GRH_BYTES + datagram.length,
    datagram.opcode,
    datagram.isSolicited,
  );
}

/** Index in the port's table of the P_Key that let the datagram in: QP1 takes any of the table (10.9.4), QP0 none. */
function receivedPkeyIndex(port: AdapterPort, target: QueuePair): number {
  if (target.number === port.smiQpn) return 0;
  if (target.service === Service.UD) return target.attributes.pkeyIndex;
  const { pkeys } = port.wire;
  for (let i = 0; i < pkeys.length; i++) if (pkeysMatch(pkeys[i]!, datagram.pkey)) return i;
  return 0;
}
