// An established connection. IBA vol 1, 12.9.9: how it ends.

import { nameOf } from "../../base/names.ts";
import { CmDreq, RejectReason } from "../../spec/mad/cm.ts";
import { VerbsError } from "../error.ts";
import type { QueuePair } from "../queue-pair.ts";
import type { Disconnected, Endpoint } from "./endpoint.ts";
import type { IpAddresses } from "./ip-header.ts";
import { CmTimes } from "./limits.ts";
import { checkPrivateData } from "./message.ts";
import { patienceOf } from "./repeater.ts";

/** The other side. */
export interface Peer {
  readonly lid: number;
  /** 16 bytes. */
  readonly gid: Uint8Array;
  readonly qpNum: number;
}

export interface ConnectionParts {
  readonly qp: QueuePair;
  readonly ownsQp: boolean;
  readonly endpoint: Endpoint;
  readonly peer: Peer;
  readonly privateData: Buffer;
  readonly responderResources: number;
  readonly initiatorDepth: number;
  readonly ip?: IpAddresses | undefined;
}

export interface DisconnectOptions {
  /** 220 bytes at most. */
  readonly privateData?: Uint8Array;
  /** How long to wait for the peer's answer; 10 s if left out. */
  readonly timeoutMs?: number;
}

export class Connection {
  /** In RTS until the connection ends, in ERR from then on. */
  readonly qp: QueuePair;
  readonly peer: Peer;
  /** What the peer sent with its request or answer, padded with zeros: its length is not said. */
  readonly privateData: Buffer;
  /** Reads and atomics of the peer served at a time, and of ours. */
  readonly responderResources: number;
  readonly initiatorDepth: number;
  /** Addresses in the request, if it was to an IP port. */
  readonly ip: IpAddresses | undefined;
  /** Called once when the connection ends, whoever ended it. */
  onDisconnect: (how: Disconnected) => void = () => {};
  readonly #endpoint: Endpoint;
  readonly #ownsQp: boolean;

  /** Use `connect` or `request.accept`. */
  constructor({ qp, ownsQp, endpoint, peer, privateData, responderResources, initiatorDepth, ip }: ConnectionParts) {
    this.qp = qp;
    this.peer = peer;
    this.privateData = privateData;
    this.responderResources = responderResources;
    this.initiatorDepth = initiatorDepth;
    this.ip = ip;
    this.#endpoint = endpoint;
    this.#ownsQp = ownsQp;
    endpoint.onEnd = (how) => this.#end(how);
    // It may have ended between the two messages.
    if (endpoint.ended !== undefined) this.#end(endpoint.ended);
  }

  get label(): string {
    return `connection of ${this.qp.label} with QP 0x${this.peer.qpNum.toString(16)} at LID ${this.peer.lid}`;
  }

  get isConnected(): boolean {
    return this.#endpoint.ended === undefined;
  }

  /** Waits until the connection has ended, and says why. @throws VerbsError ETIMEDOUT after `timeoutMs` */
  disconnected(options: { timeoutMs?: number } = {}): Promise<Disconnected> {
    const { context } = this.qp.pd;
    return context.until(() => this.#endpoint.ended, { ...options, what: `the end of the ${this.label}` });
  }

  /**
   * Ends the connection: the QP goes to ERR, which completes what it still holds with WR_FLUSH_ERR, and the peer is told.
   * Resolves when the peer has answered or will not any more; at once if the connection has ended already.
   */
  async disconnect({ privateData = new Uint8Array(), timeoutMs }: DisconnectOptions = {}): Promise<void> {
    checkPrivateData("disconnect", privateData, CmDreq.privateData.length);
    const endpoint = this.#endpoint;
    const patience = patienceOf(timeoutMs, CmTimes.DISCONNECT_NS);
    if (endpoint.state === "ESTABLISHED") endpoint.disconnect("LOCAL", privateData, patience);
    await this.qp.pd.context.until(() => (endpoint.state === "DREQ_SENT" ? undefined : true), {
      what: `the end of the ${this.label}`,
    });
  }

  /** Disconnects, and destroys the QP if `connect` or `accept` has made it. */
  async close(): Promise<void> {
    await this.disconnect();
    if (this.#ownsQp) this.qp.destroy();
  }

  /** `await using` closes it at the end of the block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #end(how: Disconnected): void {
    if (!this.qp.isDestroyed) this.qp.modify({ qpState: "ERR" });
    this.onDisconnect(how);
  }
}

/** The peer has said no. */
export class ConnectionRejected extends VerbsError {
  /** A value of `RejectReason`: CONSUMER_DEFINED if the program said so, INVALID_SERVICE_ID if nobody listens. */
  readonly reason: number;
  readonly reasonName: string;
  /** 148 bytes, padded with zeros. */
  readonly privateData: Buffer;

  constructor(what: string, reason: number, privateData: Buffer) {
    const reasonName = nameOf(RejectReason, reason);
    const meaning = meanings[reason];
    super("ECONNREFUSED", `${what}: rejected, ${reasonName}${meaning === undefined ? "" : `: ${meaning}`}`);
    this.name = "ConnectionRejected";
    this.reason = reason;
    this.reasonName = reasonName;
    this.privateData = privateData;
  }
}

const meanings: Readonly<Record<number, string>> = {
  [RejectReason.INVALID_SERVICE_ID]: "nobody listens there",
  [RejectReason.CONSUMER_DEFINED]: "the program there does not want it",
  [RejectReason.NO_RESOURCES]: "too many requests wait there",
  [RejectReason.STALE_CONN]: "it took this for an older connection, which has ended now: try again",
  [RejectReason.TIMEOUT]: "it has waited too long",
};
