// The active side: from a GID and a port to a connection. IBA vol 1, 12.9.6; annex A11.

import { Mtu, mtuBytes } from "../../spec/ib/numbers.ts";
import { CmAttribute, CmReq, CmTransport, RejectReason } from "../../spec/mad/cm.ts";
import type { Context } from "../context.ts";
import { VerbsError } from "../error.ts";
import type { IpoibAddress } from "../ipoib.ts";
import { addressOf, type Path, type PathTarget } from "../path.ts";
import type { QueuePair } from "../queue-pair.ts";
import { Connection, ConnectionRejected } from "./connection.ts";
import type { Endpoint } from "./endpoint.ts";
import { ipText, linkLocalOf, parseIp } from "./ip.ts";
import { encodeIpHeader, isIpService, serviceIdOf } from "./ip-header.ts";
import { CmTimes, MAX_CM_RETRIES, RESPONSE_TIMEOUT_CODE } from "./limits.ts";
import type { ConnectionManager } from "./manager.ts";
import { checkPrivateData, newMessage, type ReplyInfo, type Tid } from "./message.ts";
import {
  assertConnectable,
  bringToRts,
  type ConnectionParameters,
  type ConnectionQpOptions,
  createConnectionQp,
  READS,
} from "./qp.ts";
import { patienceOf } from "./repeater.ts";

const MAX_TIMEOUT_CODE = 31;
const PSN_LIMIT = 2 ** 24;
const FIRST_EPHEMERAL_PORT = 0xc000;
const EPHEMERAL_PORTS = 0x4000;

/** Which service: a TCP port of RDMA CM (RDMA_PS_TCP), or a service id. */
export type ServiceName =
  | { readonly port: number; readonly serviceId?: never }
  | { readonly serviceId: bigint; readonly port?: never };

/** The QP of a connection: one in RESET or INIT (`createConnectionQp`), or what it takes to make one. */
export type ConnectionQp = { readonly qp: QueuePair | ConnectionQpOptions };

/** Whom to connect to: a GID, a LID, or an IPv4 address that is asked for from an address of one's own. */
export type ConnectTarget =
  | (PathTarget & { readonly ip?: never })
  | { readonly ip: string; readonly via: IpoibAddress; readonly dgid?: never; readonly dlid?: never };

export type ConnectOptions = ConnectTarget &
  ServiceName &
  ConnectionQp &
  ConnectionParameters & {
    /** IP addresses for the peer, with a port only: the link-local IPv6 addresses of both ports if left out. */
    readonly sourceIp?: string;
    readonly destinationIp?: string;
    readonly sourcePort?: number;
    /** How long to try. 30 s if left out, or longer if the peer asks for patience. */
    readonly timeoutMs?: number;
  };

/**
 * Connects to a service.
 * @returns the connection, its QP in RTS
 * @throws ConnectionRejected (ECONNREFUSED) with reason and private data; VerbsError ETIMEDOUT if nobody answers, EHOSTUNREACH if
 *   there is no path
 */
export async function connect(context: Context, options: ConnectOptions): Promise<Connection> {
  const serviceId = options.port === undefined ? options.serviceId : serviceIdOf(options.port);
  if (options.ip !== undefined) {
    const { ip, via, ...others } = options;
    const dgid = await via.resolve(ip);
    return connect(context, { destinationIp: ip, sourceIp: via.ip, ...others, dgid });
  }
  const { dgid, dlid } = options;
  const path = await context.queryPath(dgid === undefined ? { dlid } : { dgid }, { serviceId });
  return new Attempt(context, options, serviceId, path).run();
}

class Attempt {
  readonly #context: Context;
  readonly #options: ConnectOptions;
  readonly #serviceId: bigint;
  readonly #path: Path;
  readonly #qp: QueuePair;
  readonly #ownsQp: boolean;
  readonly #manager: ConnectionManager;
  readonly #endpoint: Endpoint;
  readonly #tid: Tid;
  readonly #psn: number;

  constructor(context: Context, options: ConnectOptions, serviceId: bigint, path: Path) {
    this.#context = context;
    this.#options = options;
    this.#serviceId = serviceId;
    this.#path = path;
    this.#manager = context.cm;
    this.#psn = context.random.below(PSN_LIMIT);
    const { qp } = options;
    this.#ownsQp = "pd" in qp && !("qpNum" in qp);
    this.#qp = this.#ownsQp ? createConnectionQp(qp as ConnectionQpOptions) : (qp as QueuePair);
    assertConnectable(this.#qp);
    const { endpoint, tid } = this.#manager.newActive({ dlid: path.dlid, sl: path.sl });
    this.#endpoint = endpoint;
    this.#tid = tid;
    endpoint.localQpn = this.#qp.qpNum;
  }

  get #what(): string {
    const { port } = this.#options;
    const service = port === undefined ? `service 0x${this.#serviceId.toString(16)}` : `port ${port}`;
    return `connecting to ${service} at LID ${this.#path.dlid}`;
  }

  async run(): Promise<Connection> {
    const { timeoutMs } = this.#options;
    try {
      this.#endpoint.sendReq(this.#newReq(), patienceOf(timeoutMs, CmTimes.SETUP_NS));
      const outcome = await this.#context.until(() => this.#endpoint.setup, { what: this.#what });
      switch (outcome.kind) {
        case "REP":
          return this.#establish(outcome.reply);
        case "REJ":
          throw new ConnectionRejected(this.#what, outcome.reason, outcome.privateData);
        case "TIMEOUT":
          throw new VerbsError("ETIMEDOUT", `${this.#what}: no answer`);
        default:
          throw new VerbsError("ECONNRESET", `${this.#what}: it was ended meanwhile`);
      }
    } catch (error) {
      this.#endpoint.close();
      if (this.#ownsQp && !this.#context.isDestroyed) this.#qp.destroy();
      throw error;
    }
  }

  #newReq(): DataView {
    const { responderResources = READS, initiatorDepth = READS, retryCount = 7, rnrRetryCount = 7 } = this.#options;
    const path = this.#path;
    return newMessage(CmAttribute.REQ, CmReq, this.#tid, {
      localCommId: this.#endpoint.localCommId,
      serviceId: this.#serviceId,
      localCaGuid: new DataView(this.#manager.caGuid.buffer).getBigUint64(0),
      localQpn: this.#qp.qpNum,
      ...{ responderResources, initiatorDepth, retryCount, rnrRetryCount },
      transportType: this.#qp.qpType === "UC" ? CmTransport.UC : CmTransport.RC,
      flowControl: 1,
      startingPsn: this.#psn,
      remoteResponseTimeout: RESPONSE_TIMEOUT_CODE,
      localResponseTimeout: RESPONSE_TIMEOUT_CODE,
      maxCmRetries: MAX_CM_RETRIES,
      srq: this.#qp.srq === undefined ? 0 : 1,
      pkey: path.pkey,
      pathMtu: codeOfMtu(path.mtu),
      ...{ localLid: path.slid, remoteLid: path.dlid, localGid: path.sgid, remoteGid: path.dgid },
      ...{ flowLabel: path.flowLabel, trafficClass: path.trafficClass, hopLimit: path.hopLimit, sl: path.sl },
      packetRate: path.rate,
      subnetLocal: path.hopLimit <= 1 ? 1 : 0,
      ackTimeout: ackTimeoutOf(path),
      privateData: this.#privateData(),
    });
  }

  #privateData(): Uint8Array {
    const { privateData = new Uint8Array(), sourceIp, destinationIp, sourcePort } = this.#options;
    const isIp = isIpService(this.#serviceId);
    if (!isIp) {
      checkPrivateData("connect", privateData, CmReq.privateData.length);
      return privateData;
    }
    const { sgid, dgid } = this.#path;
    const destination = destinationIp === undefined ? linkLocalOf(dgid) : parseIp(destinationIp);
    if (sourceIp === undefined && destination.length === 4) {
      throw new VerbsError(
        "EINVAL",
        `connect: to ${ipText(destination)}: the sourceIp must be given, an address of the peer's subnet`,
      );
    }
    const source = sourceIp === undefined ? linkLocalOf(sgid) : parseIp(sourceIp);
    const port = sourcePort ?? FIRST_EPHEMERAL_PORT + this.#context.random.below(EPHEMERAL_PORTS);
    const header = encodeIpHeader(source, port, destination);
    checkPrivateData("connect", privateData, CmReq.privateData.length - header.length);
    return Buffer.concat([header, privateData]);
  }

  #establish(reply: ReplyInfo): Connection {
    const { responderResources = READS, initiatorDepth = READS, retryCount = 7 } = this.#options;
    const path = this.#path;
    const reads = {
      responderResources: Math.min(responderResources, reply.initiatorDepth),
      initiatorDepth: Math.min(initiatorDepth, reply.responderResources),
    };
    try {
      bringToRts(this.#qp, {
        ...reads,
        address: addressOf(path),
        pkey: path.pkey,
        mtu: codeOfMtu(path.mtu),
        destQpNum: reply.qpn,
        rqPsn: this.#psn,
        sqPsn: reply.psn,
        timeout: ackTimeoutOf(path),
        retryCount,
        rnrRetryCount: reply.rnrRetryCount,
      });
    } catch (error) {
      if (this.#endpoint.state === "REP_RCVD") this.#endpoint.reject(RejectReason.CONSUMER_DEFINED);
      throw error;
    }
    if (this.#endpoint.state !== "REP_RCVD") throw new VerbsError("ECONNRESET", `${this.#what}: the peer has changed its mind`);
    this.#manager.bind(this.#endpoint, this.#qp.qpNum, reply.qpn);
    this.#endpoint.establish();
    return new Connection({
      ...reads,
      qp: this.#qp,
      ownsQp: this.#ownsQp,
      endpoint: this.#endpoint,
      peer: { lid: path.dlid, gid: path.dgid, qpNum: reply.qpn },
      privateData: reply.privateData,
    });
  }
}

const codeOfMtu = (bytes: number): number => Object.values(Mtu).find((code) => mtuBytes(code) === bytes) ?? Mtu.MTU_256;

/** Code of a time in which an answer must be there: twice the way, and a little for the peer (9.7.6.1.3). */
const ackTimeoutOf = (path: Path): number => Math.min(path.packetLifeTime + 1, MAX_TIMEOUT_CODE);
