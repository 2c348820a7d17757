// One side of one connection: its state, and what each message does to it. It sends and receives; queue pairs are its owner's.
// IBA vol 1, 12.9.5 to 12.9.7 (state diagrams).
//
//   active:   REQ_SENT ─REP→ REP_RCVD ─establish→ ESTABLISHED        DREQ_SENT ─DREP→ TIMEWAIT → CLOSED
//   passive:  REQ_RCVD ─accept→ REP_SENT ─RTU→ ESTABLISHED ─DREQ→ TIMEWAIT

import { CmAttribute, CmDreq, CmMessage, CmMra, CmRej, CmRep, CmRtu, cmTimeNs, RejectReason } from "../../spec/mad/cm.ts";
import type { MadDestination } from "../general-mads.ts";
import type { Timer, Timers } from "../timers.ts";
import { CmTimes, SERVICE_TIMEOUT_CODE } from "./limits.ts";
import {
  AT,
  decodeReply,
  newDrep,
  newMessage,
  newMra,
  newReject,
  privateDataOf,
  type ReplyInfo,
  type Tid,
  tidOf,
} from "./message.ts";
import { type Patience, Repeater } from "./repeater.ts";

export type EndpointState =
  | "REQ_SENT"
  | "REP_RCVD"
  | "REQ_RCVD"
  | "REP_SENT"
  | "ESTABLISHED"
  | "DREQ_SENT"
  | "TIMEWAIT"
  | "CLOSED";

/** What became of setting a connection up. */
export type SetupOutcome =
  | { readonly kind: "REP"; readonly reply: ReplyInfo }
  | { readonly kind: "RTU" }
  | { readonly kind: "REJ"; readonly reason: number; readonly privateData: Buffer }
  | { readonly kind: "GONE"; readonly why: string }
  | { readonly kind: "TIMEOUT" };

/** Why a connection has ended. */
export type DisconnectReason =
  /** We asked for it. */
  | "LOCAL"
  /** The peer asked for it. */
  | "REMOTE"
  /** The peer no longer knows the connection. */
  | "STALE";

export interface Disconnected {
  readonly reason: DisconnectReason;
  /** Of the peer's DREQ (220 bytes, padded with zeros); empty otherwise. */
  readonly privateData: Buffer;
}

/** What an endpoint needs of the manager. */
export interface EndpointHost {
  readonly timers: Timers;
  send(mad: DataView, to: MadDestination): void;
  newTid(): Tid;
  countDuplicate(): void;
  /** It has left REQ_RCVD. */
  accepted(endpoint: Endpoint): void;
  /** It is in TIMEWAIT now. */
  rests(endpoint: Endpoint): void;
  /** It is gone. */
  closed(endpoint: Endpoint): void;
}

export interface EndpointInit {
  readonly localCommId: number;
  readonly remoteCommId: number;
  readonly peer: MadDestination;
  readonly tid: Tid;
  readonly state: "REQ_SENT" | "REQ_RCVD";
  /** For rejecting: our node GUID, 8 bytes. */
  readonly caGuid: Uint8Array;
}

export class Endpoint {
  readonly localCommId: number;
  readonly peer: MadDestination;
  /** Of the peer; 0 until it is known. */
  remoteCommId: number;
  localQpn = 0;
  remoteQpn = 0;
  setup: SetupOutcome | undefined;
  ended: Disconnected | undefined;
  /** Called once when an established connection ends. */
  onEnd: (how: Disconnected) => void = () => {};
  readonly #host: EndpointHost;
  readonly #tid: Tid;
  readonly #caGuid: Uint8Array;
  #state: EndpointState;
  #repeater: Repeater | undefined;
  #timer: Timer | undefined;
  #rtu: DataView | undefined;
  #rep: DataView | undefined;
  #drep: DataView | undefined;

  constructor(host: EndpointHost, init: EndpointInit) {
    this.#host = host;
    this.localCommId = init.localCommId;
    this.remoteCommId = init.remoteCommId;
    this.peer = init.peer;
    this.#tid = init.tid;
    this.#caGuid = init.caGuid;
    this.#state = init.state;
    if (init.state === "REQ_RCVD") this.#timer = host.timers.start(CmTimes.PENDING_NS, () => this.#giveUp("TIMEOUT"));
  }

  get state(): EndpointState {
    return this.#state;
  }

  // ---- what its owner does ------------------------------------------------------------------------------------------------

  /** Active side, first of all. */
  sendReq(req: DataView, patience: Patience): void {
    this.#repeat(req, patience, () => this.#giveUp("TIMEOUT"));
  }

  /** Passive side: REQ_RCVD → REP_SENT. */
  sendRep(values: Readonly<Record<string, number | bigint | Uint8Array>>, patience: Patience): void {
    const { localCommId, remoteCommId } = this;
    this.#rep = newMessage(CmAttribute.REP, CmRep, this.#tid, { ...values, localCommId, remoteCommId });
    this.#stopTimers();
    this.#host.accepted(this);
    this.#state = "REP_SENT";
    this.#repeat(this.#rep, patience, () => this.#giveUp("TIMEOUT"));
  }

  /** Active side: REP_RCVD → ESTABLISHED. */
  establish(): void {
    const { localCommId, remoteCommId } = this;
    this.#rtu = newMessage(CmAttribute.RTU, CmRtu, this.#tid, { localCommId, remoteCommId });
    this.#send(this.#rtu);
    this.#state = "ESTABLISHED";
  }

  /** Says no; in any state before ESTABLISHED. */
  reject(reason: number, privateData: Uint8Array = new Uint8Array()): void {
    const { localCommId, remoteCommId } = this;
    const message = this.#state === "REQ_RCVD" ? CmMessage.REQ : this.#state === "REP_RCVD" ? CmMessage.REP : CmMessage.OTHER;
    const info = reason === RejectReason.TIMEOUT ? this.#caGuid : new Uint8Array();
    this.#send(newReject(this.#tid, { localCommId, remoteCommId, message, reason, info, privateData }));
    this.close();
  }

  /** ESTABLISHED → DREQ_SENT; from REP_SENT if the peer turns out to have forgotten. */
  disconnect(reason: DisconnectReason, privateData: Uint8Array, patience: Patience): void {
    if (this.#state !== "ESTABLISHED") this.setup = { kind: "GONE", why: "the peer has forgotten the connection" };
    const { localCommId, remoteCommId, remoteQpn } = this;
    const values = { localCommId, remoteCommId, remoteQpn, privateData };
    const dreq = newMessage(CmAttribute.DREQ, CmDreq, this.#host.newTid(), values);
    this.#stopTimers();
    this.#state = "DREQ_SENT";
    this.#end({ reason, privateData: Buffer.alloc(0) });
    this.#repeat(dreq, patience, () => this.#rest());
  }

  /** Forgets the connection without a word. */
  close(): void {
    if (this.#state === "CLOSED") return;
    this.#stopTimers();
    this.#state = "CLOSED";
    this.#host.closed(this);
  }

  // ---- what the peer says -------------------------------------------------------------------------------------------------

  /** A message that names this connection. REQs come to `receiveAgain`. */
  receive(attribute: number, mad: DataView): void {
    if (attribute === CmAttribute.REP) this.#receiveRep(mad);
    else if (attribute === CmAttribute.RTU) this.#receiveRtu();
    else if (attribute === CmAttribute.MRA) this.#receiveMra(mad);
    else if (attribute === CmAttribute.REJ) this.#receiveRej(mad);
    else if (attribute === CmAttribute.DREQ) this.#receiveDreq(mad);
    else if (attribute === CmAttribute.DREP && this.#state === "DREQ_SENT") this.#rest();
  }

  /** The REQ that made this endpoint has come again (12.9.8.3.1). */
  receiveAgain(): void {
    const { localCommId, remoteCommId } = this;
    this.#host.countDuplicate();
    if (this.#state === "REQ_RCVD") {
      this.#send(newMra(this.#tid, localCommId, remoteCommId, CmMessage.REQ, SERVICE_TIMEOUT_CODE));
    } else if (this.#state === "REP_SENT" && this.#rep !== undefined) this.#send(this.#rep);
    else if (this.#state === "DREQ_SENT" || this.#state === "TIMEWAIT") {
      const stale = { localCommId, remoteCommId, message: CmMessage.REQ, reason: RejectReason.STALE_CONN };
      this.#send(newReject(this.#tid, stale));
    }
  }

  #receiveRep(mad: DataView): void {
    if (this.#state !== "REQ_SENT") {
      this.#host.countDuplicate();
      if (this.#state === "ESTABLISHED" && this.#rtu !== undefined) this.#send(this.#rtu);
      return;
    }
    this.#stopTimers();
    this.remoteCommId = CmRep.localCommId.get(mad, AT);
    this.#state = "REP_RCVD";
    const reply = decodeReply(mad);
    this.remoteQpn = reply.qpn;
    this.setup = { kind: "REP", reply };
  }

  #receiveRtu(): void {
    if (this.#state !== "REP_SENT") {
      this.#host.countDuplicate();
      return;
    }
    this.#stopTimers();
    this.#state = "ESTABLISHED";
    this.setup = { kind: "RTU" };
  }

  #receiveMra(mad: DataView): void {
    const message = CmMra.message.get(mad, AT);
    const isExpected =
      (this.#state === "REQ_SENT" && message === CmMessage.REQ) || (this.#state === "REP_SENT" && message === CmMessage.REP);
    if (isExpected) this.#repeater?.postpone(cmTimeNs(CmMra.serviceTimeout.get(mad, AT)));
  }

  #receiveRej(mad: DataView): void {
    switch (this.#state) {
      case "REQ_SENT":
      case "REP_RCVD":
      case "REQ_RCVD":
      case "REP_SENT":
        this.setup = { kind: "REJ", reason: CmRej.reason.get(mad, AT), privateData: privateDataOf(mad, CmRej) };
        this.close();
        return;
      case "ESTABLISHED":
        this.#end({ reason: "STALE", privateData: Buffer.alloc(0) });
        this.#rest();
        return;
      case "DREQ_SENT":
        this.#rest();
        return;
      case "TIMEWAIT":
      case "CLOSED":
        return;
    }
  }

  #receiveDreq(mad: DataView): void {
    if (CmDreq.remoteQpn.get(mad, AT) !== this.localQpn) return;
    switch (this.#state) {
      case "TIMEWAIT":
        this.#host.countDuplicate();
        if (this.#drep !== undefined) this.#send(this.#drep);
        return;
      case "REP_RCVD":
      case "REP_SENT":
      case "ESTABLISHED":
      case "DREQ_SENT":
        this.#drep = newDrep(tidOf(mad), this.localCommId, this.remoteCommId);
        this.#send(this.#drep);
        if (this.#state === "REP_SENT" || this.#state === "REP_RCVD") {
          this.setup = { kind: "GONE", why: "the peer has disconnected at once" };
        }
        this.#end({ reason: "REMOTE", privateData: privateDataOf(mad, CmDreq) });
        this.#rest();
        return;
      case "REQ_SENT":
      case "REQ_RCVD":
      case "CLOSED":
        return;
    }
  }

  // ---- inside -------------------------------------------------------------------------------------------------------------

  #send(mad: DataView): void {
    this.#host.send(mad, this.peer);
  }

  #repeat(mad: DataView, patience: Patience, onGiveUp: () => void): void {
    this.#repeater = new Repeater(this.#host.timers, { send: () => this.#send(mad), patience, onGiveUp });
  }

  #giveUp(kind: "TIMEOUT"): void {
    this.setup = { kind };
    this.reject(RejectReason.TIMEOUT);
  }

  #end(how: Disconnected): void {
    if (this.ended !== undefined) return;
    this.ended = how;
    this.onEnd(how);
  }

  /** Late messages are still answered for a while. */
  #rest(): void {
    this.#stopTimers();
    this.#state = "TIMEWAIT";
    this.#timer = this.#host.timers.start(CmTimes.TIMEWAIT_NS, () => this.close());
    this.#host.rests(this);
  }

  #stopTimers(): void {
    this.#repeater?.stop();
    this.#repeater = undefined;
    this.#host.timers.stop(this.#timer);
    this.#timer = undefined;
  }
}
