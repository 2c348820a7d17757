// Reliable multi-packet transactions, the sending half: a response longer than one MAD goes out in segments under a window
// that the receiver moves with ACKs. IBA vol 1, 13.6. The receiving half is rmpp-receiver.ts.

import { MadHeader, Rmpp, SA_DATA_AT, SA_DATA_BYTES, SA_HEADER_IN_RMPP } from "../spec/mad/headers.ts";
import { RMPP_VERSION, RmppFlag, RmppType } from "../spec/mad/numbers.ts";
import { bytesOf, newMad } from "./mad.ts";
import { buildMadPacket, type MadAddress, type MadPacket } from "./packet.ts";

export interface RmppLimits {
  /** Transfers under way at once, in all and to one LID. */
  readonly maxTransfers: number;
  readonly maxTransfersPerLid: number;
  /** Bytes of all transfers together. */
  readonly maxBytes: number;
  /** Wait for an ACK; doubles with each try. */
  readonly timeoutNs: number;
  readonly tries: number;
  /** A transfer that takes longer is given up, however much its receiver acknowledges (13.6.3.1, total transaction time-out). */
  readonly totalNs: number;
}

export const DEFAULT_RMPP_LIMITS: RmppLimits = {
  maxTransfers: 256,
  maxTransfersPerLid: 16,
  maxBytes: 1 << 26,
  timeoutNs: 250_000_000,
  tries: 5,
  totalNs: 40e9,
};

/** Segments sent ahead of the last ACK at most, whatever the receiver allows. */
const MAX_WINDOW = 64;

interface Transfer {
  readonly key: string;
  readonly address: MadAddress;
  /** MAD with the headers every segment has. */
  readonly header: DataView;
  readonly data: Uint8Array;
  readonly segments: number;
  acked: number;
  /** Highest segment the receiver allows. */
  window: number;
  sent: number;
  tries: number;
  deadlineNs: number;
  /** When it is given up. */
  readonly endNs: number;
}

/** Sends segmented responses of the subnet administration. */
export class RmppSender {
  readonly #limits: RmppLimits;
  readonly #send: (packet: Uint8Array) => void;
  readonly #transfers: Map<string, Transfer> = new Map();
  #bytes = 0;
  /** Transfers the receiver never finished, and ACKs that made no sense. */
  readonly counts = { completed: 0, abandoned: 0, badAcks: 0 };

  constructor(send: (packet: Uint8Array) => void, limits: RmppLimits = DEFAULT_RMPP_LIMITS) {
    this.#send = send;
    this.#limits = limits;
  }

  get active(): number {
    return this.#transfers.size;
  }

  /**
   * Starts sending `data` as the response whose MAD and SA headers are in `header`.
   * @returns false when a limit is reached; then nothing is sent. A transfer that is already under way is left alone.
   */
  start(header: DataView, address: MadAddress, data: Uint8Array, nowNs: number): boolean {
    const key = rmppKey(header, 0, address.dlid, address.destQp);
    if (this.#transfers.has(key)) return true;
    if (this.#transfers.size >= this.#limits.maxTransfers || this.#bytes + data.length > this.#limits.maxBytes) return false;
    let toSameLid = 0;
    for (const other of this.#transfers.values()) if (other.address.dlid === address.dlid) toSameLid++;
    if (toSameLid >= this.#limits.maxTransfersPerLid) return false;
    const segments = Math.max(1, Math.ceil(data.length / SA_DATA_BYTES));
    const endNs = nowNs + this.#limits.totalNs;
    const transfer = { key, address, header, data, segments, acked: 0, window: 1, sent: 0, tries: 0, deadlineNs: 0, endNs };
    this.#transfers.set(key, transfer);
    this.#bytes += data.length;
    this.#sendWindow(transfer);
    this.#expectAck(transfer, nowNs);
    return true;
  }

  /** Takes ACK, STOP and ABORT; returns false if the MAD is none of them. */
  receive(packet: MadPacket, nowNs: number): boolean {
    const { view, madAt } = packet;
    const type = rmppTypeOf(packet);
    if (type !== RmppType.ACK && type !== RmppType.STOP && type !== RmppType.ABORT) return false;
    const transfer = this.#transfers.get(rmppKey(view, madAt, packet.slid, packet.srcQp));
    if (transfer === undefined) return true;
    if (type !== RmppType.ACK) this.#end(transfer, false);
    else this.#acknowledge(transfer, Rmpp.segment.get(view, madAt), Rmpp.payloadOrWindow.get(view, madAt), nowNs);
    return true;
  }

  /** Sends unacknowledged segments again, gives up on silent receivers. */
  step(nowNs: number): void {
    for (const transfer of this.#transfers.values()) {
      if (transfer.deadlineNs > nowNs) continue;
      if (transfer.tries >= this.#limits.tries || nowNs >= transfer.endNs) {
        this.#end(transfer, false);
        continue;
      }
      transfer.sent = transfer.acked;
      this.#sendWindow(transfer);
      this.#expectAck(transfer, nowNs);
    }
  }

  nextDeadlineNs(): number {
    let earliestNs = Number.POSITIVE_INFINITY;
    for (const transfer of this.#transfers.values()) earliestNs = Math.min(earliestNs, transfer.deadlineNs);
    return earliestNs;
  }

  #acknowledge(transfer: Transfer, segment: number, window: number, nowNs: number): void {
    if (segment > transfer.sent || window < segment) {
      this.counts.badAcks++;
      return;
    }
    if (segment < transfer.acked || (segment === transfer.acked && window <= transfer.window)) return;
    if (segment === transfer.segments) {
      this.#end(transfer, true);
      return;
    }
    const hasProgressed = segment > transfer.acked;
    transfer.acked = segment;
    transfer.window = Math.max(transfer.window, window);
    this.#sendWindow(transfer);
    // A wider window alone is no progress: whoever only opens it, again and again, must not keep the transfer for ever.
    if (!hasProgressed) return;
    transfer.tries = 0;
    this.#expectAck(transfer, nowNs);
  }

  /** Sends what the window allows and has not been sent. */
  #sendWindow(transfer: Transfer): void {
    const last = Math.min(transfer.window, transfer.segments, transfer.acked + MAX_WINDOW);
    while (transfer.sent < last) {
      transfer.sent++;
      this.#send(buildMadPacket(transfer.address, segmentOf(transfer, transfer.sent)));
    }
  }

  /** Waits, longer with each try. */
  #expectAck(transfer: Transfer, nowNs: number): void {
    transfer.deadlineNs = Math.min(transfer.endNs, nowNs + this.#limits.timeoutNs * 2 ** transfer.tries);
    transfer.tries++;
  }

  #end(transfer: Transfer, isComplete: boolean): void {
    this.#transfers.delete(transfer.key);
    this.#bytes -= transfer.data.length;
    if (isComplete) this.counts.completed++;
    else this.counts.abandoned++;
  }
}

/** Type of an RMPP packet; NONE where RMPP is not active. */
export function rmppTypeOf({ view, madAt }: MadPacket): number {
  return (Rmpp.flags.get(view, madAt) & RmppFlag.ACTIVE) === 0 ? RmppType.NONE : Rmpp.type.get(view, madAt);
}

/** A transfer is known by its peer and transaction id. */
export const rmppKey = (view: DataView, at: number, lid: number, qpn: number): string =>
  `${lid}/${qpn}/${MadHeader.tid.hi.get(view, at)}/${MadHeader.tid.lo.get(view, at)}`;

/** Segment `number` (from 1). The first one's payload length covers all segments, the last one's only itself (13.6.2.3). */
function segmentOf(transfer: Transfer, number: number): DataView {
  const mad = newMad();
  bytesOf(mad).set(bytesOf(transfer.header));
  const first = (number - 1) * SA_DATA_BYTES;
  const part = transfer.data.subarray(first, first + SA_DATA_BYTES);
  bytesOf(mad).fill(0, SA_DATA_AT);
  bytesOf(mad).set(part, SA_DATA_AT);
  const isFirst = number === 1;
  const isLast = number === transfer.segments;
  Rmpp.version.set(mad, 0, RMPP_VERSION);
  Rmpp.type.set(mad, 0, RmppType.DATA);
  Rmpp.flags.set(mad, 0, RmppFlag.ACTIVE | (isFirst ? RmppFlag.FIRST : 0) | (isLast ? RmppFlag.LAST : 0));
  Rmpp.segment.set(mad, 0, number);
  if (isLast) Rmpp.payloadOrWindow.set(mad, 0, part.length + SA_HEADER_IN_RMPP);
  else if (isFirst) Rmpp.payloadOrWindow.set(mad, 0, transfer.data.length + transfer.segments * SA_HEADER_IN_RMPP);
  return mad;
}
