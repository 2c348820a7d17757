// Trap 128, "a port of this switch changed its state". IBA vol 1, 14.2.5.1 and 13.4.9: a trap is repeated until the subnet
// manager represses it, so it is not lost with a packet.

import { newRequest } from "../mad/mad.ts";
import { buildMadPacket, smpAddress } from "../mad/packet.ts";
import { MadHeader, SMP_DATA_AT } from "../spec/mad/headers.ts";
import { Method, MgmtClass, NodeType, NoticeType, SmAttribute, Trap } from "../spec/mad/numbers.ts";
import { NOTICE_DETAILS_AT, Notice, NoticeLinkState } from "../spec/mad/sm-attributes.ts";
import type { Port } from "./port.ts";

/** Times a trap is sent if nobody represses it. */
const MAX_SENDS = 10;

interface TrapSource {
  readonly port0: Port;
  send(packet: Uint8Array): void;
}

/** Sends one switch's link-state traps, one at a time. */
export class TrapSender {
  readonly #source: TrapSource;
  readonly #repeatNs: number;
  #tid = 0;
  #sends = 0;
  #nextNs = Number.POSITIVE_INFINITY;
  /** Something changed after the pending trap went out. */
  #isStale = false;

  constructor(source: TrapSource, repeatNs: number) {
    this.#source = source;
    this.#repeatNs = repeatNs;
  }

  linkChanged(nowNs: number): void {
    if (this.#nextNs !== Number.POSITIVE_INFINITY) {
      this.#isStale = true;
      return;
    }
    this.#start(nowNs);
  }

  repressed(tidHi: number, tidLo: number, nowNs: number): void {
    if (tidHi !== 0 || tidLo !== this.#tid) return;
    this.#nextNs = Number.POSITIVE_INFINITY;
    if (this.#isStale) this.#start(nowNs);
  }

  step(nowNs: number): void {
    if (nowNs < this.#nextNs) return;
    if (this.#sends >= MAX_SENDS) this.#nextNs = Number.POSITIVE_INFINITY;
    else this.#send(nowNs);
  }

  nextDeadlineNs(): number {
    return this.#nextNs;
  }

  /** Nobody to tell until a subnet manager has given LIDs; it reads PortStateChange when it comes. */
  #start(nowNs: number): void {
    this.#isStale = false;
    const { port0 } = this.#source;
    if (port0.lid === 0 || port0.smLid === 0) return;
    this.#tid = (this.#tid + 1) >>> 0;
    this.#sends = 0;
    this.#send(nowNs);
  }

  #send(nowNs: number): void {
    this.#sends++;
    this.#nextNs = nowNs + this.#repeatNs;
    const { port0 } = this.#source;
    const mad = newRequest(MgmtClass.SUBN_LID_ROUTED, Method.TRAP, SmAttribute.NOTICE);
    MadHeader.tid.lo.set(mad, 0, this.#tid);
    const at = SMP_DATA_AT;
    Notice.isGeneric.set(mad, at, 1);
    Notice.type.set(mad, at, NoticeType.URGENT);
    Notice.producerType.set(mad, at, NodeType.SWITCH);
    Notice.trapNumber.set(mad, at, Trap.LINK_STATE);
    Notice.issuerLid.set(mad, at, port0.lid);
    NoticeLinkState.lid.set(mad, at + NOTICE_DETAILS_AT, port0.lid);
    this.#source.send(buildMadPacket(smpAddress(port0.lid, port0.smLid), mad));
  }
}
