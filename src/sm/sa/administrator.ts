// The subnet administration: answers queries on QP1 of the manager's port. IBA vol 1, 15.4. Get gives one record, GetTable any
// number in RMPP segments, Set and Delete change memberships and services. Errors are statuses, as 15.2.2 lists them.

import type { Random } from "../../base/random.ts";
import { bytesOf, copyMad, isResponse } from "../../mad/mad.ts";
import type { MadPacket } from "../../mad/packet.ts";
import { rmppTypeOf } from "../../mad/rmpp.ts";
import { DEFAULT_RECEIVER_LIMITS, RmppReceiver, type RmppReceiverCounts } from "../../mad/rmpp-receiver.ts";
import { GSI_QKEY, PKEY_FULL } from "../../spec/ib/numbers.ts";
import { MadHeader, SA_DATA_AT, SaHeader } from "../../spec/mad/headers.ts";
import {
  MAD_BASE_VERSION,
  MadStatus,
  Method,
  RmppType,
  SA_CLASS_VERSION,
  SaAttribute,
  SaStatus,
  Trap,
} from "../../spec/mad/numbers.ts";
import { PathRecord } from "../../spec/mad/sa-records.ts";
import { SaLimits, type Settings } from "../options.ts";
import type { Partitions } from "../partitions.ts";
import type { ServiceLevels } from "../service-levels.ts";
import type { Subnet, SubnetPort } from "../subnet.ts";
import type { GroupTable } from "./groups.ts";
import { AliasTable } from "./guids.ts";
import { MembershipService } from "./mcmember.ts";
import { findMultiPaths, MULTI_PATH_BYTES_MAX } from "./multipath.ts";
import { forwardedNotice, gidNotice, gidOf } from "./notices.ts";
import { PathFinder } from "./paths.ts";
import { portTables } from "./port-records.ts";
import { type RecordTable, select, strideOf } from "./query.ts";
import { Reporter } from "./reports.ts";
import { readRequest, type SaAnswer, type SaRequest, type SaService } from "./request.ts";
import { classPortInfo, putRecord, Responder, SENT } from "./responder.ts";
import { ServiceTable } from "./services.ts";
import { SubscriptionTable } from "./subscriptions.ts";
import { subnetTables } from "./tables.ts";

const AT = SA_DATA_AT;

export interface SaCounts {
  requests: number;
  /** Responses with an error status. */
  refused: number;
  /** Requests not answered at all: from nowhere, with a wrong Q_Key or a wrong SM_Key, or responses to nothing. */
  dropped: number;
}

/** What the administration needs of the manager. */
export interface SaHost {
  readonly subnet: Subnet;
  readonly settings: Settings;
  readonly partitions: Partitions;
  readonly groups: GroupTable;
  readonly random: Random;
  readonly lid: number;
  /** Port GUID of the manager. */
  readonly guid: bigint;
  /** The manager's SMInfo. */
  smInfo(): DataView;
  readonly levels: ServiceLevels;
  send(packet: Uint8Array): void;
  /** The tables of a port are to be others; they are written before the response leaves. */
  tablesChanged(port: SubnetPort, nowNs: number): void;
  /** Members of groups have changed; tables are to be written before the response leaves. */
  membersChanged(nowNs: number): void;
}

export class SubnetAdministrator {
  readonly counts: SaCounts = { requests: 0, refused: 0, dropped: 0 };
  readonly services: ServiceTable = new ServiceTable();
  readonly subscriptions: SubscriptionTable;
  readonly reporter: Reporter;
  readonly aliases: AliasTable;
  readonly #host: SaHost;
  readonly #paths: PathFinder;
  readonly #responder: Responder;
  /** Requests in segments. */
  readonly #requests: RmppReceiver;
  /** What is asked for by attribute. */
  readonly #tables: Map<number, RecordTable> = new Map();
  /** What is set and deleted by attribute. */
  readonly #services: ReadonlyMap<number, SaService>;

  constructor(host: SaHost) {
    this.#host = host;
    this.#paths = new PathFinder(host.subnet, host.groups, host.settings, host.partitions, host.levels);
    this.subscriptions = new SubscriptionTable(host.settings.gidPrefix);
    const send = (packet: Uint8Array): void => host.send(packet);
    this.reporter = new Reporter(this.subscriptions, host.subnet, () => host.lid, send, host.random);
    const members = new MembershipService(host.groups, this.#paths, host.settings, host.partitions);
    this.#responder = new Responder(() => host.lid, send);
    this.#requests = new RmppReceiver(() => host.lid, send, { ...DEFAULT_RECEIVER_LIMITS, maxBytes: MULTI_PATH_BYTES_MAX });
    const tables = subnetTables(host.subnet, host.partitions, () => ({ lid: host.lid, info: host.smInfo() }));
    this.aliases = new AliasTable(host.subnet, (port, nowNs) => host.tablesChanged(port, nowNs));
    const { subnet, partitions } = host;
    tables.push(...portTables({ subnet, partitions, aliases: this.aliases, levels: host.levels }));
    tables.push(this.services.table(), this.subscriptions.table(), members.table());
    for (const table of tables) this.#tables.set(table.attribute, table);
    this.#services = new Map<number, SaService>([
      [SaAttribute.MC_MEMBER_RECORD, members],
      [SaAttribute.SERVICE_RECORD, this.services],
      [SaAttribute.INFORM_INFO, this.subscriptions],
      [SaAttribute.GUID_INFO_RECORD, this.aliases],
    ]);
  }

  /** Table transfers under way. */
  get transfers(): number {
    return this.#responder.transfers;
  }

  /** Requests in segments that are not complete. */
  get incomplete(): number {
    return this.#requests.active;
  }

  /** What has become of requests in segments. */
  get segmented(): Readonly<RmppReceiverCounts> {
    return this.#requests.counts;
  }

  /** A MAD of the SA class has arrived on QP1. */
  receive(arrived: MadPacket, nowNs: number): void {
    // the manager is a full member of every partition, and answers as one
    const packet = { ...arrived, pkey: arrived.pkey | PKEY_FULL };
    const port = this.#host.subnet.byLid.get(packet.slid);
    if (packet.qkey !== GSI_QKEY || port === undefined) {
      this.counts.dropped++;
      return;
    }
    if (this.#responder.acknowledged(packet, nowNs)) {
      if (rmppTypeOf(packet) !== RmppType.ACK) this.#requests.stop(packet);
      return;
    }
    const mad = copyMad(packet.bytes, packet.madAt);
    if (MadHeader.method.get(mad, 0) === Method.REPORT_RESP) {
      this.reporter.receive(packet, nowNs);
      return;
    }
    if (isResponse(mad) || !this.#hasSoundKey(mad)) {
      this.counts.dropped++;
      return;
    }
    if (MadHeader.method.get(mad, 0) === Method.GET_MULTI && rmppTypeOf(packet) === RmppType.DATA) {
      const message = this.#requests.receive(packet, nowNs);
      if (message !== undefined) this.#answer(packet, message.header, message.data, port, nowNs);
    } else this.#answer(packet, mad, bytesOf(mad).subarray(AT), port, nowNs);
  }

  /** @param data what follows the headers: more than the MAD holds if it came in segments */
  #answer(packet: MadPacket, mad: DataView, data: Uint8Array, port: SubnetPort, nowNs: number): void {
    this.counts.requests++;
    const status = this.#execute(packet, mad, data, port, nowNs);
    if (status === SENT) return;
    if (status !== MadStatus.OK) this.counts.refused++;
    this.#responder.respond(packet, mad, status);
  }

  step(nowNs: number): void {
    this.#responder.step(nowNs);
    this.#requests.step(nowNs);
    this.reporter.step(nowNs);
    this.services.step(nowNs);
  }

  nextDeadlineNs(): number {
    const answersNs = Math.min(this.#responder.nextDeadlineNs(), this.#requests.nextDeadlineNs());
    return Math.min(answersNs, this.reporter.nextDeadlineNs(), this.services.nextDeadlineNs());
  }

  /** A port has come into the subnet: whoever has subscribed is told. */
  portAdded(guid: bigint, nowNs: number): void {
    const { settings } = this.#host;
    this.#notify(Trap.GID_IN_SERVICE, gidOf(settings.gidPrefix, guid), nowNs);
  }

  /** A port has left the subnet: its memberships, services and subscriptions go with it. */
  portRemoved(guid: bigint, nowNs: number): void {
    const { groups, settings } = this.#host;
    groups.removePort(guid);
    this.services.removePort(guid);
    this.subscriptions.removePort(guid);
    this.aliases.removePort(guid);
    this.#notify(Trap.GID_OUT_OF_SERVICE, gidOf(settings.gidPrefix, guid), nowNs);
  }

  /** Groups have come or gone. */
  groupsChanged(nowNs: number): void {
    for (const { mgid, isNew } of this.#host.groups.takeNews()) {
      this.#notify(isNew ? Trap.MULTICAST_CREATED : Trap.MULTICAST_DELETED, mgid, nowNs);
    }
  }

  /** Another node's trap, 64 bytes of Notice, from `port`: to those who have subscribed. */
  forward(trap: Uint8Array, port: SubnetPort, nowNs: number): void {
    this.reporter.report(forwardedNotice(trap, port.guid, this.#host.settings.gidPrefix), nowNs);
  }

  #notify(trap: number, gid: Uint8Array, nowNs: number): void {
    if (this.subscriptions.size === 0) return;
    const { lid, guid, settings } = this.#host;
    this.reporter.report(gidNotice(trap, gid, { lid, guid }, settings.gidPrefix), nowNs);
  }

  /** Executes the request in `mad`, which becomes the response. @returns its status, or SENT. */
  #execute(packet: MadPacket, mad: DataView, data: Uint8Array, port: SubnetPort, nowNs: number): number {
    if (MadHeader.baseVersion.get(mad, 0) !== MAD_BASE_VERSION || MadHeader.classVersion.get(mad, 0) !== SA_CLASS_VERSION) {
      return MadStatus.BAD_VERSION;
    }
    const request = readRequest(mad, { isTrusted: this.#isTrusted(mad), port }, packet.slid, packet.srcQp, nowNs);
    const service = this.#services.get(MadHeader.attributeId.get(mad, 0));
    switch (MadHeader.method.get(mad, 0)) {
      case Method.GET:
      case Method.GET_TABLE:
        return this.#query(packet, request);
      case Method.GET_MULTI:
        return this.#multiPath(packet, request, data);
      case Method.SET:
        return service === undefined ? MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE : this.#putAnswer(mad, service.set(request), nowNs);
      case Method.DELETE:
        if (service?.delete === undefined) return MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE;
        return this.#putAnswer(mad, service.delete(request), nowNs);
      default:
        return MadStatus.UNSUPPORTED_METHOD;
    }
  }

  /** What a Set or Delete has led to. Multicast tables are written before the response leaves, so a joiner can send and receive at once. */
  #putAnswer(mad: DataView, { status, record, maskLo }: SaAnswer, nowNs: number): number {
    this.#host.membersChanged(nowNs);
    this.groupsChanged(nowNs);
    if (status === MadStatus.OK && record !== undefined) putRecord(mad, record);
    if (maskLo !== undefined) SaHeader.componentMask.lo.set(mad, 0, maskLo);
    return status;
  }

  // --- Get and GetTable

  #query(packet: MadPacket, request: SaRequest): number {
    const { view: mad, at, maskHi, maskLo } = request;
    const attribute = MadHeader.attributeId.get(mad, 0);
    if (attribute === SaAttribute.CLASS_PORT_INFO) return classPortInfo(mad);
    if (attribute === SaAttribute.PATH_RECORD) {
      const pathsMax = MadHeader.method.get(mad, 0) === Method.GET ? 1 : Number.POSITIVE_INFINITY;
      const { status, records } = this.#paths.find({ view: mad, at, maskHi, maskLo, pathsMax });
      return status === MadStatus.OK ? this.#responder.putRecords(packet, request, records, PathRecord.byteLength) : status;
    }
    const table = this.#tables.get(attribute);
    if (table === undefined) return MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE;
    if (table.isForTrusted === true && !request.isTrusted) return SaStatus.REQ_INVALID;
    const records: DataView[] = [];
    const limit = Math.floor(SaLimits.TABLE_BYTES / strideOf(table.bytes));
    for (const record of select(table, request)) {
      if (records.length === limit) return SaStatus.NO_RESOURCES;
      records.push(record);
    }
    return this.#responder.putRecords(packet, request, records, table.bytes);
  }

  #multiPath(packet: MadPacket, request: SaRequest, data: Uint8Array): number {
    const { view: mad, maskHi, maskLo } = request;
    if (MadHeader.attributeId.get(mad, 0) !== SaAttribute.MULTI_PATH_RECORD) return MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE;
    const { status, records } = findMultiPaths(this.#paths, data, maskHi, maskLo);
    if (status !== MadStatus.OK) return status;
    // the answer is made of PathRecords (o15-0.2.7)
    MadHeader.attributeId.set(mad, 0, SaAttribute.PATH_RECORD);
    return this.#responder.putRecords(packet, request, records, PathRecord.byteLength);
  }

  // --- responses

  /** A SM_Key that is neither absent nor right is somebody's guess (15.4.1.2). */
  #hasSoundKey(mad: DataView): boolean {
    return SaHeader.smKey.getBig(mad, 0) === 0n || this.#isTrusted(mad);
  }

  #isTrusted(mad: DataView): boolean {
    return SaHeader.smKey.getBig(mad, 0) === this.#host.settings.smKey;
  }
}
