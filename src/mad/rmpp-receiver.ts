// Reliable multi-packet transactions, the receiving half: a request longer than one MAD comes in segments, which are acknowledged a window at a
// time. IBA vol 1, 13.6.3. Whoever sends may be hostile: transfers, bytes and times are bounded, and one that does not end is given up.

import { NS_PER_S } from "../base/clock.ts";
import { MadHeader, Rmpp, SA_DATA_AT, SA_DATA_BYTES, SA_HEADER_IN_RMPP, SaHeader } from "../spec/mad/headers.ts";
import { METHOD_RESPONSE_BIT, RMPP_VERSION, RmppFlag, RmppStatus, RmppType } from "../spec/mad/numbers.ts";
import { bytesOf, copyMad, newMad } from "./mad.ts";
import { buildMadPacket, type MadAddress, type MadPacket, replyAddress } from "./packet.ts";
import { rmppKey } from "./rmpp.ts";

export interface RmppReceiverLimits {
  /** Transfers under way at once, in all and from one LID. */
  readonly maxTransfers: number;
  readonly maxTransfersPerLid: number;
  /** Data of one transfer. */
  readonly maxBytes: number;
  /** Segments allowed ahead of the last acknowledged one. */
  readonly window: number;
  /** Wait for the next segment, and for the last one. */
  readonly idleNs: number;
  readonly totalNs: number;
}

export const DEFAULT_RECEIVER_LIMITS: RmppReceiverLimits = {
  maxTransfers: 64,
  maxTransfersPerLid: 4,
  maxBytes: 1 << 14,
  window: 16,
  idleNs: 4 * NS_PER_S,
  totalNs: 20 * NS_PER_S,
};

/** For so long the last segment of a finished transfer is acknowledged again: its ACK may have been lost. */
const REMEMBER_NS = 4 * NS_PER_S;

export interface RmppReceiverCounts {
  completed: number;
  /** Given up: too slow, or ended by the sender. */
  abandoned: number;
  /** Refused because of a bound. */
  refused: number;
  /** Segments that cannot be. */
  malformed: number;
}

/** A message whose segments are all there: the first one's headers, and the data of all. */
export interface RmppMessage {
  readonly header: DataView;
  readonly data: Uint8Array;
}

interface Transfer {
  readonly key: string;
  readonly slid: number;
  readonly address: MadAddress;
  readonly header: DataView;
  readonly parts: Uint8Array[];
  /** Highest segment the sender may send. */
  window: number;
  idleEndNs: number;
  readonly endNs: number;
}

export class RmppReceiver {
  readonly counts: RmppReceiverCounts = { completed: 0, abandoned: 0, refused: 0, malformed: 0 };
  readonly #limits: RmppReceiverLimits;
  readonly #lid: () => number;
  readonly #send: (packet: Uint8Array) => void;
  readonly #transfers: Map<string, Transfer> = new Map();
  /** Segments of transfers that are complete, and how long that is remembered; as many as may be under way. */
  readonly #finished: Map<string, { readonly segments: number; readonly endNs: number }> = new Map();

  /** @param lid LID of the port that receives */
  constructor(lid: () => number, send: (packet: Uint8Array) => void, limits: RmppReceiverLimits = DEFAULT_RECEIVER_LIMITS) {
    this.#lid = lid;
    this.#send = send;
    this.#limits = limits;
  }

  get active(): number {
    return this.#transfers.size;
  }

  /** A DATA segment. Returns the message if it was the last one that was missing. */
  receive(packet: MadPacket, nowNs: number): RmppMessage | undefined {
    const { view, madAt } = packet;
    const key = rmppKey(view, madAt, packet.slid, packet.srcQp);
    const segment = Rmpp.segment.get(view, madAt);
    if (Rmpp.version.get(view, madAt) !== RMPP_VERSION) return this.#abort(packet, RmppStatus.BAD_VERSION);
    const finished = this.#finished.get(key);
    if (finished !== undefined && nowNs < finished.endNs) {
      this.#acknowledge(packet, finished.segments, finished.segments);
      return undefined;
    }
    const transfer = this.#transfers.get(key) ?? this.#begin(packet, key, segment, nowNs);
    return transfer === undefined ? undefined : this.#append(transfer, packet, segment, nowNs);
  }

  /** STOP or ABORT: the sender has ended it. */
  stop({ view, madAt, slid, srcQp }: MadPacket): void {
    const transfer = this.#transfers.get(rmppKey(view, madAt, slid, srcQp));
    if (transfer !== undefined) this.#giveUp(transfer);
  }

  /** Gives up what takes too long. */
  step(nowNs: number): void {
    for (const transfer of this.#transfers.values()) {
      if (nowNs < Math.min(transfer.idleEndNs, transfer.endNs)) continue;
      this.#answer(transfer.address, transfer.header, RmppType.ABORT, 0, 0, RmppStatus.TIME_TOO_LONG);
      this.#giveUp(transfer);
    }
    for (const [key, { endNs }] of this.#finished) if (endNs <= nowNs) this.#finished.delete(key);
  }

  nextDeadlineNs(): number {
    let earliestNs = Number.POSITIVE_INFINITY;
    for (const { idleEndNs, endNs } of this.#transfers.values()) earliestNs = Math.min(earliestNs, idleEndNs, endNs);
    for (const { endNs } of this.#finished.values()) earliestNs = Math.min(earliestNs, endNs);
    return earliestNs;
  }

  #begin(packet: MadPacket, key: string, segment: number, nowNs: number): Transfer | undefined {
    const { maxTransfers, maxTransfersPerLid, window, idleNs, totalNs } = this.#limits;
    if (segment !== 1) {
      // of a transfer that was given up
      this.counts.malformed++;
      return undefined;
    }
    let fromSameLid = 0;
    for (const { slid } of this.#transfers.values()) if (slid === packet.slid) fromSameLid++;
    if (this.#transfers.size >= maxTransfers || fromSameLid >= maxTransfersPerLid) return this.#refuse(packet);
    const header = copyMad(packet.bytes, packet.madAt);
    const address = replyAddress(packet, this.#lid());
    const times = { idleEndNs: nowNs + idleNs, endNs: nowNs + totalNs };
    const transfer: Transfer = { key, slid: packet.slid, address, header, parts: [], window, ...times };
    this.#transfers.set(key, transfer);
    return transfer;
  }

  #append(transfer: Transfer, packet: MadPacket, segment: number, nowNs: number): RmppMessage | undefined {
    const { parts } = transfer;
    const { view, madAt, bytes } = packet;
    if (segment > transfer.window) return this.#break(transfer, packet, RmppStatus.SEGMENT_TOO_BIG);
    if (segment !== parts.length + 1) {
      this.#acknowledge(packet, parts.length, transfer.window);
      return undefined;
    }
    const flags = Rmpp.flags.get(view, madAt);
    const isLast = (flags & RmppFlag.LAST) !== 0;
    if (((flags & RmppFlag.FIRST) !== 0) !== (segment === 1)) return this.#break(transfer, packet, RmppStatus.BAD_SEGMENT);
    const length = isLast ? Rmpp.payloadOrWindow.get(view, madAt) - SA_HEADER_IN_RMPP : SA_DATA_BYTES;
    if (length < 0 || length > SA_DATA_BYTES) return this.#break(transfer, packet, RmppStatus.BAD_LENGTH);
    if ((segment - 1) * SA_DATA_BYTES + length > this.#limits.maxBytes) {
      this.#transfers.delete(transfer.key);
      return this.#refuse(packet);
    }
    parts.push(bytes.slice(madAt + SA_DATA_AT, madAt + SA_DATA_AT + length));
    transfer.idleEndNs = nowNs + this.#limits.idleNs;
    if (isLast) return this.#finish(transfer, packet, nowNs);
    if (segment === transfer.window) {
      transfer.window += this.#limits.window;
      this.#acknowledge(packet, segment, transfer.window);
    } else if (segment === 1) this.#acknowledge(packet, segment, transfer.window);
    return undefined;
  }

  #finish(transfer: Transfer, packet: MadPacket, nowNs: number): RmppMessage {
    const { key, header, parts } = transfer;
    this.#transfers.delete(key);
    this.counts.completed++;
    const [oldest] = this.#finished.keys();
    if (oldest !== undefined && this.#finished.size >= this.#limits.maxTransfers) this.#finished.delete(oldest);
    this.#finished.set(key, { segments: parts.length, endNs: nowNs + REMEMBER_NS });
    this.#acknowledge(packet, parts.length, parts.length);
    return { header, data: Buffer.concat(parts) };
  }

  #giveUp(transfer: Transfer): void {
    this.counts.abandoned++;
    this.#transfers.delete(transfer.key);
  }

  #break(transfer: Transfer, packet: MadPacket, status: number): undefined {
    this.#transfers.delete(transfer.key);
    return this.#abort(packet, status);
  }

  #abort(packet: MadPacket, status: number): undefined {
    this.counts.malformed++;
    this.#answer(replyAddress(packet, this.#lid()), copyMad(packet.bytes, packet.madAt), RmppType.ABORT, 0, 0, status);
  }

  #refuse(packet: MadPacket): undefined {
    this.counts.refused++;
    const header = copyMad(packet.bytes, packet.madAt);
    this.#answer(replyAddress(packet, this.#lid()), header, RmppType.STOP, 0, 0, RmppStatus.RESOURCES);
  }

  #acknowledge(packet: MadPacket, segment: number, window: number): void {
    const header = copyMad(packet.bytes, packet.madAt);
    this.#answer(replyAddress(packet, this.#lid()), header, RmppType.ACK, segment, window, RmppStatus.OK);
  }

  /** ACK, STOP or ABORT: the segment's own headers without data, its method's response bit turned over (13.6.2). */
  #answer(address: MadAddress, header: DataView, type: number, segment: number, window: number, status: number): void {
    const mad = newMad();
    bytesOf(mad).set(bytesOf(header).subarray(0, SaHeader.byteLength));
    MadHeader.status.set(mad, 0, 0);
    MadHeader.method.set(mad, 0, MadHeader.method.get(mad, 0) ^ METHOD_RESPONSE_BIT);
    Rmpp.version.set(mad, 0, RMPP_VERSION);
    Rmpp.type.set(mad, 0, type);
    Rmpp.flags.set(mad, 0, RmppFlag.ACTIVE);
    Rmpp.status.set(mad, 0, status);
    Rmpp.segment.set(mad, 0, segment);
    Rmpp.payloadOrWindow.set(mad, 0, window);
    this.#send(buildMadPacket(address, mad));
  }
}
