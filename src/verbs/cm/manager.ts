// The connection manager of a context: which messages belong to which connection, and what becomes of those that belong to none.
// IBA vol 1, 12.9.8. Whatever arrives was written by somebody else: it is checked, bounded and counted.

import { isUnicastLid, mtuBytes, Qpn } from "../../spec/ib/numbers.ts";
import { CM_CLASS_VERSION, CmAttribute, CmMessage, CmRej, CmRep, RejectReason } from "../../spec/mad/cm.ts";
import { MadHeader } from "../../spec/mad/headers.ts";
import { Method, MgmtClass } from "../../spec/mad/numbers.ts";
import type { Context } from "../context.ts";
import { VerbsError } from "../error.ts";
import type { MadDestination, MadSource } from "../general-mads.ts";
import { Endpoint, type EndpointHost } from "./endpoint.ts";
import { CmLimits, CmTimes } from "./limits.ts";
import { AT, decodeRequest, newDrep, newReject, type RequestInfo, type Tid, tidOf } from "./message.ts";
import { patienceOf } from "./repeater.ts";

/** Who takes the requests to one service. */
export interface RequestSink {
  readonly serviceId: bigint;
  /** A reason to reject it at once (`RejectReason`), or 0. */
  refuse(info: RequestInfo): number;
  offer(info: RequestInfo, endpoint: Endpoint): void;
}

export interface CmCounts {
  received: number;
  sent: number;
  /** Of another class version, of an attribute we do not know, or not from QP1. */
  malformed: number;
  /** Of connections that do not exist, or not with the sender. */
  unknown: number;
  /** That had come before. */
  duplicates: number;
  /** REQs for which there was no room. */
  refused: number;
  /** REQs rejected for what they say. */
  invalid: number;
  /** Connections that the peer turned out to have forgotten. */
  stale: number;
}

const replies: readonly number[] = [CmAttribute.REP, CmAttribute.RTU, CmAttribute.MRA, CmAttribute.REJ, CmAttribute.DREP];

export class ConnectionManager implements EndpointHost {
  readonly counts: CmCounts = {
    ...{ received: 0, sent: 0, malformed: 0, unknown: 0 },
    ...{ duplicates: 0, refused: 0, invalid: 0, stale: 0 },
  };
  readonly context: Context;
  /** Of the device, once they have been asked for. */
  #known: { readonly caGuid: Uint8Array; readonly maxMtu: number } | undefined;
  readonly #sinks = new Map<bigint, RequestSink>();
  readonly #byId = new Map<number, Endpoint>();
  /** Made by REQs: LID and communication id of the peer. */
  readonly #byRequest = new Map<string, Endpoint>();
  /** Connected: LID and QPN of the peer. */
  readonly #byQp = new Map<string, Endpoint>();
  /** In REQ_RCVD. */
  readonly #pending = new Set<Endpoint>();
  readonly #resting = new Set<Endpoint>();

  /** Every context has one: `context.cm`. */
  constructor(context: Context) {
    this.context = context;
    context.mads.handle(MgmtClass.COM_MGT, [Method.SEND], (mad, from) => this.#receive(mad, from));
  }

  get timers(): Context["timers"] {
    return this.context.timers;
  }

  /** Our node GUID. */
  get caGuid(): Uint8Array {
    return this.#device().caGuid;
  }

  #device(): { readonly caGuid: Uint8Array; readonly maxMtu: number } {
    this.#known ??= {
      caGuid: Uint8Array.from(Buffer.from(this.context.queryDevice().nodeGuid, "hex")),
      maxMtu: this.context.queryPort().maxMtu,
    };
    return this.#known;
  }

  /** Connections and attempts, ended ones that are still remembered included. */
  get size(): number {
    return this.#byId.size;
  }

  // ---- for its users ------------------------------------------------------------------------------------------------------

  /** @throws VerbsError EBUSY if somebody has the service already */
  addSink(sink: RequestSink): void {
    const { serviceId } = sink;
    if (this.#sinks.has(serviceId))
      throw new VerbsError("EBUSY", `listen: service 0x${serviceId.toString(16)} has a listener already`);
    this.#sinks.set(serviceId, sink);
  }

  removeSink(sink: RequestSink): void {
    if (this.#sinks.get(sink.serviceId) === sink) this.#sinks.delete(sink.serviceId);
  }

  /** An endpoint that will send a REQ. @throws VerbsError ENOMEM */
  newActive(peer: MadDestination): { endpoint: Endpoint; tid: Tid } {
    if (this.#byId.size >= CmLimits.ENDPOINTS) {
      throw new VerbsError("ENOMEM", `connect: this HCA has ${CmLimits.ENDPOINTS} connections already`);
    }
    const tid = this.newTid();
    const init = { localCommId: this.#newId(), remoteCommId: 0, peer, tid, state: "REQ_SENT", caGuid: this.caGuid } as const;
    const endpoint = new Endpoint(this, init);
    this.#byId.set(endpoint.localCommId, endpoint);
    return { endpoint, tid };
  }

  /** The endpoint's queue pairs are known: from now on another connection of the peer's is a sign that this one is stale. */
  bind(endpoint: Endpoint, localQpn: number, remoteQpn: number): void {
    endpoint.localQpn = localQpn;
    endpoint.remoteQpn = remoteQpn;
    this.#byQp.set(keyOf(endpoint.peer.dlid, remoteQpn), endpoint);
  }

  // ---- for endpoints ------------------------------------------------------------------------------------------------------

  send(mad: DataView, to: MadDestination): void {
    if (this.context.isDestroyed) return;
    this.counts.sent++;
    this.context.mads.send(mad, to);
  }

  newTid(): Tid {
    return { hi: this.context.random.u32(), lo: this.context.random.u32() };
  }

  countDuplicate(): void {
    this.counts.duplicates++;
  }

  accepted(endpoint: Endpoint): void {
    this.#pending.delete(endpoint);
  }

  rests(endpoint: Endpoint): void {
    this.#forgetQp(endpoint);
    this.#resting.add(endpoint);
    const [oldest] = this.#resting;
    if (this.#resting.size > CmLimits.TIMEWAIT) oldest?.close();
  }

  closed(endpoint: Endpoint): void {
    this.#forgetQp(endpoint);
    this.#pending.delete(endpoint);
    this.#resting.delete(endpoint);
    this.#byId.delete(endpoint.localCommId);
    const key = keyOf(endpoint.peer.dlid, endpoint.remoteCommId);
    if (this.#byRequest.get(key) === endpoint) this.#byRequest.delete(key);
  }

  #forgetQp(endpoint: Endpoint): void {
    const key = keyOf(endpoint.peer.dlid, endpoint.remoteQpn);
    if (this.#byQp.get(key) === endpoint) this.#byQp.delete(key);
  }

  #newId(): number {
    for (;;) {
      const id = this.context.random.u32();
      if (id !== 0 && !this.#byId.has(id)) return id;
    }
  }

  // ---- what arrives -------------------------------------------------------------------------------------------------------

  #receive(mad: DataView, from: MadSource): void {
    this.counts.received++;
    const attribute = MadHeader.attributeId.get(mad, 0);
    const isSound = MadHeader.classVersion.get(mad, 0) === CM_CLASS_VERSION && from.srcQp === Qpn.GSI && isUnicastLid(from.slid);
    if (isSound && attribute === CmAttribute.REQ) this.#request(mad, from);
    else if (isSound && attribute === CmAttribute.DREQ) this.#disconnect(mad, from);
    else if (isSound && replies.includes(attribute)) this.#reply(attribute, mad, from);
    else this.counts.malformed++;
  }

  /** The endpoint that a message names, if it is from its peer. The ids stand at the same place in all of them. */
  #endpointOf(mad: DataView, from: MadSource): Endpoint | undefined {
    const endpoint = this.#byId.get(CmRep.remoteCommId.get(mad, AT));
    if (endpoint === undefined || endpoint.peer.dlid !== from.slid) return undefined;
    const sender = CmRep.localCommId.get(mad, AT);
    return endpoint.state === "REQ_SENT" || endpoint.remoteCommId === sender ? endpoint : undefined;
  }

  /** Who gives up a REQ before it has an answer does not know our id (12.6.7.2, code 4). */
  #requestGivenUp(attribute: number, mad: DataView, from: MadSource): Endpoint | undefined {
    if (attribute !== CmAttribute.REJ || CmRej.reason.get(mad, AT) !== RejectReason.TIMEOUT) return undefined;
    return this.#byRequest.get(keyOf(from.slid, CmRej.localCommId.get(mad, AT)));
  }

  #reply(attribute: number, mad: DataView, from: MadSource): void {
    const endpoint = this.#endpointOf(mad, from) ?? this.#requestGivenUp(attribute, mad, from);
    if (endpoint !== undefined) {
      endpoint.receive(attribute, mad);
      return;
    }
    this.counts.unknown++;
    // Only a REP waits for an answer; a rejection is never rejected.
    if (attribute === CmAttribute.REP) {
      const localCommId = CmRep.remoteCommId.get(mad, AT);
      const remoteCommId = CmRep.localCommId.get(mad, AT);
      this.#reject(tidOf(mad), from, localCommId, remoteCommId, CmMessage.REP, RejectReason.INVALID_COMM_ID);
    }
  }

  #disconnect(mad: DataView, from: MadSource): void {
    const endpoint = this.#endpointOf(mad, from);
    if (endpoint !== undefined) {
      endpoint.receive(CmAttribute.DREQ, mad);
      return;
    }
    // What does not exist is disconnected: the peer may rest (12.9.8.3.3).
    this.counts.unknown++;
    this.send(newDrep(tidOf(mad), CmRep.remoteCommId.get(mad, AT), CmRep.localCommId.get(mad, AT)), answerTo(from));
  }

  #request(mad: DataView, from: MadSource): void {
    const info = decodeRequest(mad);
    const known = this.#byRequest.get(keyOf(from.slid, info.localCommId));
    if (known !== undefined) {
      known.receiveAgain();
      return;
    }
    const reason = this.#reasonAgainst(info, from);
    const sink = this.#sinks.get(info.serviceId);
    if (reason !== 0 || sink === undefined) {
      this.#reject(info.tid, from, 0, info.localCommId, CmMessage.REQ, reason);
      return;
    }
    const peer = answerTo(from);
    const init = { localCommId: this.#newId(), remoteCommId: info.localCommId, peer, tid: info.tid } as const;
    const endpoint = new Endpoint(this, { ...init, state: "REQ_RCVD", caGuid: this.caGuid });
    endpoint.remoteQpn = info.qpn;
    this.#byId.set(endpoint.localCommId, endpoint);
    this.#byRequest.set(keyOf(from.slid, info.localCommId), endpoint);
    this.#pending.add(endpoint);
    sink.offer(info, endpoint);
  }

  /** Why a REQ cannot be taken, or 0. */
  #reasonAgainst(info: RequestInfo, from: MadSource): number {
    const sink = this.#sinks.get(info.serviceId);
    const invalid =
      sink === undefined
        ? RejectReason.INVALID_SERVICE_ID
        : info.lid !== from.slid
          ? RejectReason.INVALID_LID
          : mtuBytes(info.pathMtu) === 0 || mtuBytes(info.pathMtu) > this.#device().maxMtu
            ? RejectReason.INVALID_MTU
            : sink.refuse(info);
    if (invalid !== 0) {
      this.counts.invalid++;
      return invalid;
    }
    const stale = this.#byQp.get(keyOf(from.slid, info.qpn));
    if (stale !== undefined) {
      this.counts.stale++;
      stale.disconnect("STALE", new Uint8Array(), patienceOf(undefined, CmTimes.DISCONNECT_NS));
      return RejectReason.STALE_CONN;
    }
    if (this.#hasRoom(from)) return 0;
    this.counts.refused++;
    return RejectReason.NO_RESOURCES;
  }

  #hasRoom(from: MadSource): boolean {
    if (this.#byId.size >= CmLimits.ENDPOINTS || this.#pending.size >= CmLimits.PENDING) return false;
    let ofPeer = 0;
    for (const { peer } of this.#pending) if (peer.dlid === from.slid) ofPeer++;
    return ofPeer < CmLimits.PENDING_PER_PEER;
  }

  #reject(tid: Tid, from: MadSource, localCommId: number, remoteCommId: number, message: number, reason: number): void {
    this.send(newReject(tid, { localCommId, remoteCommId, message, reason }), answerTo(from));
  }
}

const answerTo = (from: MadSource): MadDestination => ({ dlid: from.slid, sl: from.sl });
const keyOf = (lid: number, number: number): string => `${lid}:${number}`;
