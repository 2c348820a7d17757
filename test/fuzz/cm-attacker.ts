// A port that speaks to a connection manager in any way it likes: rightly, at the wrong time, twice, in another order, cut short, bent,
// or not at all. It hears what it is told, so that it gets into the later states too.

import type { Random } from "../../src/base/random.ts";
import {
  CM_DATA_AT,
  CmAttribute,
  CmDreq,
  CmMessage,
  CmMra,
  CmRej,
  CmRep,
  CmReq,
  CmRtu,
  RejectReason,
} from "../../src/spec/mad/cm.ts";
import { MadHeader } from "../../src/spec/mad/headers.ts";
import { MgmtClass } from "../../src/spec/mad/numbers.ts";
import { newMessage, type Tid, tidOf } from "../../src/verbs/cm/message.ts";
import type { Context } from "../../src/verbs/index.ts";
import { bend, number32, randomBytes } from "./values.ts";

const AT = CM_DATA_AT;
const MAD_BYTES = 256;
const HEADER_BYTES = 24;
/** Messages remembered, to be sent again. */
const KEPT = 60;

const { REQ, MRA, REJ, REP, RTU, DREQ, DREP } = CmAttribute;
const ATTRIBUTES = Object.values(CmAttribute);

export const isCm = (mad: DataView): boolean => MadHeader.mgmtClass.get(mad, 0) === MgmtClass.COM_MGT;
export const attributeOf = (mad: DataView): number => MadHeader.attributeId.get(mad, 0);
export const copyOf = (mad: DataView): DataView => new DataView(bytesOf(mad).slice().buffer);
const bytesOf = (mad: DataView): Uint8Array => new Uint8Array(mad.buffer, mad.byteOffset, MAD_BYTES);

/** What it knows of a connection: ids and the QP at the other end. */
interface Dialog {
  readonly mine: number;
  readonly theirs: number;
  readonly qpn: number;
}

export class Attacker {
  readonly context: Context;
  readonly #random: Random;
  readonly #victim: number;
  /** A REQ of this port as it should be. */
  readonly #request: DataView;
  #heard: DataView[] = [];
  #sent: DataView[] = [];
  readonly #dialogs: Dialog[] = [];
  /** Sends to QP1, but from a QP of a program. */
  readonly #sendAsProgram: (bytes: Uint8Array) => void;

  constructor(
    random: Random,
    context: Context,
    { victim, request, sendAsProgram }: { victim: number; request: DataView; sendAsProgram: (bytes: Uint8Array) => void },
  ) {
    this.#random = random;
    this.context = context;
    this.#victim = victim;
    this.#request = request;
    this.#sendAsProgram = sendAsProgram;
    // Its own connection manager hears nothing, so that nothing is answered that is not answered here.
    context.mads.filter = (mad, isSent) => {
      if (!isSent && isCm(mad)) this.#hear(mad);
      return !isSent && isCm(mad);
    };
  }

  /** Some messages, in order or not. */
  speak(): DataView[] {
    const random = this.#random;
    const messages = Array.from({ length: 1 + random.below(6) }, () => this.#message());
    if (random.chance(0.3)) messages.sort(() => random.below(3) - 1);
    return messages;
  }

  /** Right requests, each for another connection. */
  flood(count: number): DataView[] {
    return Array.from({ length: count }, () => this.#newRequest());
  }

  /** Has found out the ids of a connection, perhaps one of others. */
  learn(dialog: Dialog): void {
    this.#dialogs.push(dialog);
    if (this.#dialogs.length > KEPT) this.#dialogs.shift();
  }

  send(mad: DataView): void {
    const random = this.#random;
    this.#sent = [...this.#sent.slice(-KEPT), mad];
    if (random.chance(0.06)) this.#sendAsProgram(bytesOf(mad).subarray(0, random.pick([MAD_BYTES, random.below(MAD_BYTES + 1)])));
    else this.context.mads.send(copyOf(mad), { dlid: this.#victim, sl: 0 });
  }

  #hear(mad: DataView): void {
    const kept = copyOf(mad);
    this.#heard = [...this.#heard.slice(-KEPT), kept];
    const attribute = attributeOf(kept);
    if (attribute !== REQ && attribute !== REP && attribute !== MRA) return;
    const theirs = CmRep.localCommId.get(kept, AT);
    const mine = attribute === REQ ? this.#random.u32() : CmRep.remoteCommId.get(kept, AT);
    const qpn = attribute === MRA ? 0 : (attribute === REQ ? CmReq : CmRep).localQpn.get(kept, AT);
    const index = this.#dialogs.findIndex((dialog) => dialog.theirs === theirs);
    if (index < 0) this.learn({ mine, theirs, qpn });
    else if (attribute === REP) this.#dialogs[index] = { mine, theirs, qpn };
  }

  #message(): DataView {
    const random = this.#random;
    const known = [...this.#heard, ...this.#sent];
    const kind = random.below(20);
    if (kind < 4 || known.length === 0) return this.#newRequest();
    if (kind < 9) return this.#answer();
    if (kind < 13) return this.#legal(random.pick(ATTRIBUTES));
    if (kind < 15) return copyOf(random.pick(known));
    if (kind === 15) return this.#givenUp(random.pick(known));
    if (kind < 18) return this.#bent(copyOf(random.chance(0.5) ? random.pick(known) : this.#legal(random.pick(ATTRIBUTES))));
    return this.#garbage();
  }

  #newTid(): Tid {
    return { hi: this.#random.u32(), lo: this.#random.u32() };
  }

  /** For a new connection, mostly; of a few QPs, so that some are used twice. */
  #newRequest(): DataView {
    const random = this.#random;
    const mad = copyOf(this.#request);
    MadHeader.tid.lo.set(mad, 0, random.u32());
    CmReq.localCommId.set(mad, AT, random.chance(0.9) ? random.u32() : random.below(4));
    CmReq.localQpn.set(mad, AT, random.chance(0.6) ? random.u32() >>> 8 : 0x500 + random.below(6));
    CmReq.startingPsn.set(mad, AT, random.u32() >>> 8);
    CmReq.responderResources.set(mad, AT, random.pick([0, 1, 4, 255]));
    CmReq.initiatorDepth.set(mad, AT, random.pick([0, 1, 4, 255]));
    return mad;
  }

  /** What the state diagram asks for, or one of the ways out of it. */
  #answer(): DataView {
    const random = this.#random;
    const mad = random.pick(this.#heard.length > 0 ? this.#heard.slice(-8) : [this.#request]);
    const theirs = CmRep.localCommId.get(mad, AT);
    const dialog = this.#dialogs.find((one) => one.theirs === theirs);
    switch (attributeOf(mad)) {
      case REQ:
        return this.#legal(random.pick([REP, REP, REP, MRA, REJ]), dialog, tidOf(mad));
      case REP:
        return this.#legal(random.pick([RTU, RTU, RTU, MRA, REJ, DREQ]), dialog, tidOf(mad));
      case DREQ:
        return this.#legal(random.pick([DREP, DREQ]), dialog, tidOf(mad));
      default:
        return this.#legal(random.pick([RTU, DREQ, REJ]), dialog, tidOf(mad));
    }
  }

  /** Any message with the ids of a connection. */
  #legal(attribute: number, of?: Dialog, tid = this.#newTid()): DataView {
    const random = this.#random;
    if (attribute === REQ) return this.#newRequest();
    const { mine, theirs, qpn } = of ?? (this.#dialogs.length > 0 ? random.pick(this.#dialogs) : { mine: 1, theirs: 2, qpn: 3 });
    const ids = { localCommId: mine, remoteCommId: theirs };
    switch (attribute) {
      case REP:
        return newMessage(REP, CmRep, tid, {
          ...{ ...ids, localQpn: random.u32() >>> 8, startingPsn: random.u32() >>> 8, responderResources: random.below(256) },
          ...{ initiatorDepth: random.below(256), rnrRetryCount: random.below(8), targetAckDelay: random.below(32) },
        });
      case MRA:
        return newMessage(MRA, CmMra, tid, { ...ids, message: random.below(4), serviceTimeout: random.below(32) });
      case REJ:
        return newMessage(REJ, CmRej, tid, { ...ids, message: random.below(4), reason: number32(random, 6) });
      case DREQ:
        return newMessage(DREQ, CmDreq, tid, { ...ids, remoteQpn: random.chance(0.8) ? qpn : number32(random, 24) });
      default:
        return newMessage(attribute, CmRtu, tid, { ...ids, privateData: randomBytes(random, random.below(224)) });
    }
  }

  /** A request taken back before there was an answer, or what looks like it (12.6.7.2, code 4). */
  #givenUp(about: DataView): DataView {
    const ids = { localCommId: CmRep.localCommId.get(about, AT), remoteCommId: this.#random.pick([0, this.#random.u32()]) };
    return newMessage(REJ, CmRej, tidOf(about), { ...ids, message: CmMessage.OTHER, reason: RejectReason.TIMEOUT });
  }

  /** Bytes changed, the end cut off, or another attribute or version; the class stays, or nobody would look at it. */
  #bent(mad: DataView): DataView {
    const random = this.#random;
    const bytes = bytesOf(mad);
    const kind = random.below(5);
    if (kind === 4) MadHeader.classVersion.set(mad, 0, random.below(4));
    else if (kind === 0) MadHeader.attributeId.set(mad, 0, random.chance(0.9) ? random.pick(ATTRIBUTES) : random.below(2 ** 16));
    else if (kind === 1) bytes.fill(0, HEADER_BYTES + random.below(MAD_BYTES - HEADER_BYTES));
    else bend(random, random.chance(0.8) ? bytes.subarray(HEADER_BYTES) : bytes, 60);
    return mad;
  }

  #garbage(): DataView {
    const mad = this.#legal(this.#random.pick(ATTRIBUTES));
    bytesOf(mad).set(randomBytes(this.#random, MAD_BYTES - HEADER_BYTES), HEADER_BYTES);
    return mad;
  }
}
