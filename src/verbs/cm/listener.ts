// The passive side: requests for a service, each to be accepted or rejected. IBA vol 1, 12.9.7; annex A11.

import { CmRej, CmRep, CmReq, CmTransport, IpCmHeader, RejectReason } from "../../spec/mad/cm.ts";
import type { Context } from "../context.ts";
import { VerbsError } from "../error.ts";
import { gidText } from "../gid.ts";
import type { QueuePair } from "../queue-pair.ts";
import type { ServiceName } from "./connect.ts";
import { Connection, type Peer } from "./connection.ts";
import type { Endpoint } from "./endpoint.ts";
import { decodeIpHeader, type IpAddresses, isIpService, portOf, serviceIdOf } from "./ip-header.ts";
import { CmTimes } from "./limits.ts";
import type { ConnectionManager, RequestSink } from "./manager.ts";
import { checkPrivateData, type RequestInfo } from "./message.ts";
import {
  assertConnectable,
  bringToRts,
  type ConnectionParameters,
  type ConnectionQpOptions,
  createConnectionQp,
  READS,
} from "./qp.ts";
import { type Patience, patienceOf } from "./repeater.ts";

const BACKLOG = 256;
const PSN_LIMIT = 2 ** 24;

export type ListenOptions = ServiceName & {
  /** Requests that may wait to be taken; further ones are rejected with NO_RESOURCES. 256 if left out. */
  readonly backlog?: number;
  /** For `accept` without a QP of its own. */
  readonly qp?: ConnectionQpOptions;
};

export interface AcceptOptions extends ConnectionParameters {
  /** A QP in RESET or INIT; one made by what `listen` was given if left out. */
  readonly qp?: QueuePair;
  /** How long to wait for the peer's last word. 30 s if left out, or longer if the peer asks for patience. */
  readonly timeoutMs?: number;
}

/**
 * Takes requests to a service from now on.
 * @throws VerbsError EBUSY if the service has a listener already
 */
export function listen(context: Context, options: ListenOptions): Listener {
  return new Listener(context, options);
}

export class Listener implements RequestSink, AsyncIterable<ConnectionRequest> {
  readonly context: Context;
  readonly serviceId: bigint;
  readonly #options: ListenOptions;
  readonly #manager: ConnectionManager;
  readonly #waiting: ConnectionRequest[] = [];
  #isClosed = false;

  /** Use `listen`. */
  constructor(context: Context, options: ListenOptions) {
    this.context = context;
    this.serviceId = options.port === undefined ? options.serviceId : serviceIdOf(options.port);
    this.#options = options;
    this.#manager = context.cm;
    this.#manager.addSink(this);
  }

  get label(): string {
    return isIpService(this.serviceId) ? `port ${portOf(this.serviceId)}` : `service 0x${this.serviceId.toString(16)}`;
  }

  /** Waits for the next request. @throws VerbsError ETIMEDOUT after `timeoutMs`, ECANCELED if the listener is closed */
  async next(options: { timeoutMs?: number } = {}): Promise<ConnectionRequest> {
    const found = await this.#take(options);
    if (found === null) throw new VerbsError("ECANCELED", `the listener on ${this.label} has been closed`);
    return found;
  }

  /** Requests for as long as the listener is open. */
  async *[Symbol.asyncIterator](): AsyncIterator<ConnectionRequest> {
    for (let request = await this.#take({}); request !== null; request = await this.#take({})) yield request;
  }

  /** Takes no more requests; those that nobody has taken are rejected. Connections stay. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#manager.removeSink(this);
    for (const request of this.#waiting.splice(0)) if (request.isPending) request.reject();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #take(options: { timeoutMs?: number }): Promise<ConnectionRequest | null> {
    const take = (): ConnectionRequest | null | undefined => {
      for (;;) {
        const next = this.#waiting.shift();
        if (next === undefined) return this.#isClosed ? null : undefined;
        if (next.isPending) return next;
      }
    };
    return this.context.until(take, { ...options, what: `a request to ${this.label}` });
  }

  /** @internal */
  refuse(info: RequestInfo): number {
    const { backlog = BACKLOG, qp } = this.#options;
    const isKnown = info.transportType === CmTransport.RC || info.transportType === CmTransport.UC;
    const wanted = qp === undefined ? undefined : qp.qpType === "UC" ? CmTransport.UC : CmTransport.RC;
    if (!isKnown || (wanted !== undefined && info.transportType !== wanted)) return RejectReason.INVALID_TRANSPORT_TYPE;
    if (isIpService(this.serviceId) && decodeIpHeader(info.privateData) === undefined) return RejectReason.CONSUMER_DEFINED;
    if (this.#waiting.length < backlog) return 0;
    this.#dropGone();
    return this.#waiting.length < backlog ? 0 : RejectReason.NO_RESOURCES;
  }

  /** Those that have given up make room. */
  #dropGone(): void {
    const alive = this.#waiting.filter(({ isPending }) => isPending);
    this.#waiting.splice(0, this.#waiting.length, ...alive);
  }

  /** @internal */
  offer(info: RequestInfo, endpoint: Endpoint): void {
    this.#waiting.push(new ConnectionRequest(this.#manager, info, endpoint, this.#options.qp));
  }
}

/** Somebody wants a connection. Answer within a minute, or it is rejected. */
export class ConnectionRequest {
  readonly peer: Peer;
  /** Of the program that connects, padded with zeros: 56 bytes to an IP port, 92 otherwise. */
  readonly privateData: Buffer;
  /** Addresses, if it is to an IP port. */
  readonly ip: IpAddresses | undefined;
  /** RC or UC: the QP must be of this type. */
  readonly qpType: "RC" | "UC";
  /** Reads and atomics that the peer serves at a time, and that it wants to have under way. */
  readonly responderResources: number;
  readonly initiatorDepth: number;
  readonly #manager: ConnectionManager;
  readonly #info: RequestInfo;
  readonly #endpoint: Endpoint;
  readonly #qpOptions: ConnectionQpOptions | undefined;
  #qp: QueuePair | undefined;

  /** Made by the listener. */
  constructor(manager: ConnectionManager, info: RequestInfo, endpoint: Endpoint, qpOptions: ConnectionQpOptions | undefined) {
    const isIp = isIpService(info.serviceId);
    this.peer = { lid: info.lid, gid: info.gid, qpNum: info.qpn };
    this.ip = isIp ? decodeIpHeader(info.privateData) : undefined;
    this.privateData = info.privateData.subarray(isIp ? IpCmHeader.byteLength : 0, CmReq.privateData.length);
    this.qpType = info.transportType === CmTransport.UC ? "UC" : "RC";
    this.responderResources = info.responderResources;
    this.initiatorDepth = info.initiatorDepth;
    this.#manager = manager;
    this.#info = info;
    this.#endpoint = endpoint;
    this.#qpOptions = qpOptions;
  }

  get label(): string {
    return `request of QP 0x${this.peer.qpNum.toString(16)} at LID ${this.peer.lid} (${gidText(this.peer.gid)})`;
  }

  /** Neither answered nor given up by the peer. */
  get isPending(): boolean {
    return this.#endpoint.state === "REQ_RCVD";
  }

  /** The QP that `accept` will use, in INIT, so that receives can be posted first. It is made by what `listen` was given. */
  get qp(): QueuePair {
    if (this.#qp !== undefined) return this.#qp;
    if (this.#qpOptions === undefined) {
      throw new VerbsError("EINVAL", `${this.label}: give accept a QP, or listen what it takes to make one`);
    }
    this.#qp = createConnectionQp({ ...this.#qpOptions, qpType: this.qpType });
    return this.#qp;
  }

  /**
   * Accepts: brings the QP to RTS and waits until the peer is ready too.
   * @throws VerbsError ECONNRESET if the peer has given up, ETIMEDOUT if it does not answer any more
   */
  async accept(options: AcceptOptions = {}): Promise<Connection> {
    const { privateData = new Uint8Array(), timeoutMs } = options;
    checkPrivateData("accept", privateData, CmRep.privateData.length);
    this.#assertPending();
    const qp = options.qp ?? this.qp;
    assertConnectable(qp);
    if (qp.qpType !== this.qpType) throw new VerbsError("EINVAL", `${qp.label} is ${qp.qpType}, the peer's is ${this.qpType}`);
    const reads = this.#agreedReads(options);
    try {
      this.#sendRep(qp, reads, options, patienceOf(timeoutMs, CmTimes.SETUP_NS));
      await this.#ready();
    } catch (error) {
      this.#drop(qp);
      throw error;
    }
    const { peer, ip } = this;
    const endpoint = this.#endpoint;
    return new Connection({ ...reads, qp, ownsQp: qp === this.#qp, endpoint, peer, ip, privateData: this.privateData });
  }

  /**
   * Says no.
   * @param reason a value of `RejectReason`
   * @param privateData 148 bytes at most
   * @throws VerbsError ECONNRESET if the peer has given up
   */
  reject(reason: number = RejectReason.CONSUMER_DEFINED, privateData: Uint8Array = new Uint8Array()): void {
    checkPrivateData("reject", privateData, CmRej.privateData.length);
    this.#qp?.destroy();
    this.#assertPending();
    this.#endpoint.reject(reason, privateData);
  }

  #assertPending(): void {
    if (!this.isPending) throw new VerbsError("ECONNRESET", `${this.label}: it has been answered, or the peer has given up`);
  }

  /** Nobody gets more than the other side offers. */
  #agreedReads({ responderResources = READS, initiatorDepth = READS }: AcceptOptions): {
    responderResources: number;
    initiatorDepth: number;
  } {
    return {
      responderResources: Math.min(responderResources, this.initiatorDepth),
      initiatorDepth: Math.min(initiatorDepth, this.responderResources),
    };
  }

  #sendRep(
    qp: QueuePair,
    reads: { responderResources: number; initiatorDepth: number },
    { privateData = new Uint8Array(), rnrRetryCount = 7 }: AcceptOptions,
    patience: Patience,
  ): void {
    const info = this.#info;
    const { sl, trafficClass, flowLabel, hopLimit } = info;
    const psn = this.#manager.context.random.below(PSN_LIMIT);
    const local = { dlid: info.lid, sl };
    bringToRts(qp, {
      ...reads,
      address: info.isSubnetLocal ? local : { ...local, grh: { dgid: info.gid, trafficClass, flowLabel, hopLimit } },
      pkey: info.pkey,
      mtu: info.pathMtu,
      destQpNum: info.qpn,
      rqPsn: psn,
      sqPsn: info.psn,
      timeout: info.ackTimeout,
      retryCount: info.retryCount,
      rnrRetryCount: info.rnrRetryCount,
    });
    this.#assertPending();
    this.#manager.bind(this.#endpoint, qp.qpNum, info.qpn);
    const rep = { localQpn: qp.qpNum, startingPsn: psn, ...reads, rnrRetryCount, privateData };
    const localCaGuid = new DataView(this.#manager.caGuid.buffer).getBigUint64(0);
    this.#endpoint.sendRep({ ...rep, localCaGuid, flowControl: 1, srq: qp.srq === undefined ? 0 : 1 }, patience);
  }

  async #ready(): Promise<void> {
    const outcome = await this.#manager.context.until(() => this.#endpoint.setup, {
      what: `the answer to accepting the ${this.label}`,
    });
    if (outcome.kind === "RTU") return;
    if (outcome.kind === "TIMEOUT") throw new VerbsError("ETIMEDOUT", `accepting the ${this.label}: the peer does not answer`);
    const why = outcome.kind === "GONE" ? outcome.why : "the peer has given up";
    throw new VerbsError("ECONNRESET", `accepting the ${this.label}: ${why}`);
  }

  /** The connection has come to nothing; a QP that is not ours to destroy is left in ERR. */
  #drop(qp: QueuePair): void {
    const { context } = this.#manager;
    if (this.isPending) this.#endpoint.reject(RejectReason.CONSUMER_DEFINED);
    if (context.isDestroyed || qp.isDestroyed) return;
    if (qp === this.#qp) qp.destroy();
    else qp.modify({ qpState: "ERR" });
  }
}
