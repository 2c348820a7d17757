// The subnet administration: answers queries on QP1 of the manager's port. IBA vol 1, 15.4. Get gives one record, GetTable any
// number in RMPP segments, Set and Delete change memberships and services. Errors are statuses, as 15.2.2 lists them.

import { bytesOf, copyMad, isResponse, makeResponse } from "../../mad/mad.ts";
import { buildMadPacket, type MadPacket, replyAddress } from "../../mad/packet.ts";
import { RmppSender } from "../../mad/rmpp.ts";
import { GSI_QKEY } from "../../spec/ib/numbers.ts";
import { INFORM_INFO_BYTES } from "../../spec/mad/components.ts";
import { MadHeader, Rmpp, SA_DATA_AT, SA_DATA_BYTES, SaHeader } from "../../spec/mad/headers.ts";
import {
  MAD_BASE_VERSION,
  MAD_BYTES,
  MadStatus,
  Method,
  RMPP_VERSION,
  SA_CLASS_VERSION,
  SaAttribute,
  SaCapability,
  SaCapability2,
  SaStatus,
} from "../../spec/mad/numbers.ts";
import { ClassPortInfo } from "../../spec/mad/pm-attributes.ts";
import { PathRecord } from "../../spec/mad/sa-records.ts";
import { SaLimits, type Settings } from "../options.ts";
import type { Subnet } from "../subnet.ts";
import type { GroupTable } from "./groups.ts";
import { type McAnswer, type McRequest, MembershipService } from "./mcmember.ts";
import { PathFinder } from "./paths.ts";
import { type RecordTable, select, strideOf } from "./query.ts";
import { ServiceTable } from "./services.ts";
import { subnetTables } from "./tables.ts";

const AT = SA_DATA_AT;
const RESPONSE_TIME = 18;
/** The response is under way already. */
const SENT = -1;

export interface SaCounts {
  requests: number;
  /** Responses with an error status. */
  refused: number;
  /** Requests not answered at all: from nowhere, with a wrong Q_Key, or responses to nothing. */
  dropped: number;
}

/** What the administration needs of the manager. */
export interface SaHost {
  readonly subnet: Subnet;
  readonly settings: Settings;
  readonly groups: GroupTable;
  readonly lid: number;
  /** The manager's SMInfo. */
  smInfo(): DataView;
  send(packet: Uint8Array): void;
  /** Members of groups have changed; tables are to be written before the response leaves. */
  membersChanged(nowNs: number): void;
}

export class SubnetAdministrator {
  readonly counts: SaCounts = { requests: 0, refused: 0, dropped: 0 };
  readonly services: ServiceTable = new ServiceTable();
  readonly #host: SaHost;
  readonly #paths: PathFinder;
  readonly #members: MembershipService;
  readonly #rmpp: RmppSender;
  readonly #tables: Map<number, RecordTable> = new Map();

  constructor(host: SaHost) {
    this.#host = host;
    this.#paths = new PathFinder(host.subnet, host.groups, host.settings);
    this.#members = new MembershipService(host.groups, this.#paths, host.settings);
    this.#rmpp = new RmppSender((packet) => host.send(packet));
    const tables = subnetTables(host.subnet, () => ({ lid: host.lid, info: host.smInfo() }));
    for (const table of [...tables, this.services.table()]) this.#tables.set(table.attribute, table);
  }

  /** Table transfers under way. */
  get transfers(): number {
    return this.#rmpp.active;
  }

  /** A MAD of the SA class has arrived on QP1. */
  receive(packet: MadPacket, nowNs: number): void {
    if (packet.qkey !== GSI_QKEY || this.#host.subnet.byLid.get(packet.slid) === undefined) {
      this.counts.dropped++;
      return;
    }
    if (this.#rmpp.receive(packet, nowNs)) return;
    const mad = copyMad(packet.bytes, packet.madAt);
    if (isResponse(mad)) {
      this.counts.dropped++;
      return;
    }
    this.counts.requests++;
    const status = this.#execute(packet, mad, nowNs);
    if (status === SENT) return;
    if (status !== MadStatus.OK) this.counts.refused++;
    this.#respond(packet, mad, status);
  }

  step(nowNs: number): void {
    this.#rmpp.step(nowNs);
    this.services.step(nowNs);
  }

  nextDeadlineNs(): number {
    return Math.min(this.#rmpp.nextDeadlineNs(), this.services.nextDeadlineNs());
  }

  /** A port has left the subnet: its memberships and services go with it. */
  portRemoved(guid: bigint): void {
    this.#host.groups.removePort(guid);
    this.services.removePort(guid);
  }

  /** Executes the request in `mad`, which becomes the response. @returns its status, or SENT. */
  #execute(packet: MadPacket, mad: DataView, nowNs: number): number {
    if (MadHeader.baseVersion.get(mad, 0) !== MAD_BASE_VERSION || MadHeader.classVersion.get(mad, 0) !== SA_CLASS_VERSION) {
      return MadStatus.BAD_VERSION;
    }
    switch (MadHeader.method.get(mad, 0)) {
      case Method.GET:
      case Method.GET_TABLE:
        return this.#query(packet, mad, nowNs);
      case Method.SET:
        return this.#set(packet, mad, nowNs);
      case Method.DELETE:
        return this.#delete(packet, mad, nowNs);
      default:
        return MadStatus.UNSUPPORTED_METHOD;
    }
  }

  // --- Get and GetTable

  #query(packet: MadPacket, mad: DataView, nowNs: number): number {
    const attribute = MadHeader.attributeId.get(mad, 0);
    const { hi, lo } = SaHeader.componentMask;
    const [maskHi, maskLo] = [hi.get(mad, 0), lo.get(mad, 0)];
    if (attribute === SaAttribute.CLASS_PORT_INFO) return classPortInfo(mad);
    if (attribute === SaAttribute.PATH_RECORD) {
      const pathsMax = MadHeader.method.get(mad, 0) === Method.GET ? 1 : Number.POSITIVE_INFINITY;
      const { status, records } = this.#paths.find({ view: mad, at: AT, maskHi, maskLo, pathsMax });
      return status === MadStatus.OK ? this.#putRecords(packet, mad, records, PathRecord.byteLength, nowNs) : status;
    }
    const table =
      attribute === SaAttribute.MC_MEMBER_RECORD ? this.#members.table(this.#isTrusted(mad)) : this.#tables.get(attribute);
    if (table === undefined) return MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE;
    const records: DataView[] = [];
    const limit = Math.floor(SaLimits.TABLE_BYTES / strideOf(table.bytes));
    for (const record of select(table, mad, AT, maskHi, maskLo, MadHeader.attributeModifier.get(mad, 0))) {
      if (records.length === limit) return SaStatus.NO_RESOURCES;
      records.push(record);
    }
    return this.#putRecords(packet, mad, records, table.bytes, nowNs);
  }

  /** One record into the response of a Get; any number into segments that go out from here. */
  #putRecords(packet: MadPacket, mad: DataView, records: readonly DataView[], bytes: number, nowNs: number): number {
    if (MadHeader.method.get(mad, 0) === Method.GET) {
      const [first] = records;
      if (first === undefined) return SaStatus.NO_RECORDS;
      if (records.length > 1) return SaStatus.TOO_MANY_RECORDS;
      putRecord(mad, first);
      return MadStatus.OK;
    }
    const stride = strideOf(bytes);
    const data = new Uint8Array(records.length * stride);
    records.forEach((record, i) => {
      data.set(bytesOf(record), i * stride);
    });
    const header = copyMad(bytesOf(mad));
    makeResponse(header, MadStatus.OK);
    SaHeader.attributeOffset.set(header, 0, stride / 8);
    return this.#rmpp.start(header, replyAddress(packet, this.#host.lid), data, nowNs) ? SENT : MadStatus.BUSY;
  }

  // --- Set and Delete

  #set(packet: MadPacket, mad: DataView, nowNs: number): number {
    switch (MadHeader.attributeId.get(mad, 0)) {
      case SaAttribute.MC_MEMBER_RECORD:
        return this.#putMembership(mad, this.#members.join(this.#mcRequest(packet, mad)), nowNs);
      case SaAttribute.SERVICE_RECORD:
        return this.services.set(mad, AT, this.#senderOf(packet), nowNs) ? MadStatus.OK : SaStatus.NO_RESOURCES;
      case SaAttribute.INFORM_INFO:
        // subscriptions are accepted; reports are not sent yet
        bytesOf(mad).fill(0, AT + INFORM_INFO_BYTES);
        return MadStatus.OK;
      default:
        return MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE;
    }
  }

  #delete(packet: MadPacket, mad: DataView, nowNs: number): number {
    switch (MadHeader.attributeId.get(mad, 0)) {
      case SaAttribute.MC_MEMBER_RECORD:
        return this.#putMembership(mad, this.#members.leave(this.#mcRequest(packet, mad)), nowNs);
      case SaAttribute.SERVICE_RECORD:
        return this.services.delete(mad, AT, this.#senderOf(packet)) ? MadStatus.OK : SaStatus.NO_RECORDS;
      default:
        return MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE;
    }
  }

  /** Port GUID of the sender. */
  #senderOf(packet: MadPacket): bigint {
    return this.#host.subnet.byLid.get(packet.slid)?.guid ?? 0n;
  }

  #mcRequest(packet: MadPacket, mad: DataView): McRequest {
    const { hi, lo } = SaHeader.componentMask;
    const isTrusted = this.#isTrusted(mad);
    return { view: mad, at: AT, maskHi: hi.get(mad, 0), maskLo: lo.get(mad, 0), slid: packet.slid, isTrusted };
  }

  /** The tables are written before the response leaves, so the joiner can send and receive at once. */
  #putMembership(mad: DataView, answer: McAnswer, nowNs: number): number {
    if (answer.record === undefined) return answer.status;
    this.#host.membersChanged(nowNs);
    putRecord(mad, answer.record);
    return MadStatus.OK;
  }

  // --- responses

  #isTrusted(mad: DataView): boolean {
    return SaHeader.smKey.getBig(mad, 0) === this.#host.settings.smKey;
  }

  #respond(packet: MadPacket, mad: DataView, status: number): void {
    makeResponse(mad, status);
    Rmpp.version.set(mad, 0, RMPP_VERSION);
    Rmpp.type.set(mad, 0, 0);
    Rmpp.flags.set(mad, 0, 0);
    Rmpp.status.set(mad, 0, 0);
    Rmpp.segment.set(mad, 0, 0);
    Rmpp.payloadOrWindow.set(mad, 0, 0);
    this.#host.send(buildMadPacket(replyAddress(packet, this.#host.lid), mad));
  }
}

function putRecord(mad: DataView, record: DataView): void {
  bytesOf(mad).fill(0, AT, AT + SA_DATA_BYTES);
  bytesOf(mad).set(bytesOf(record), AT);
  SaHeader.attributeOffset.set(mad, 0, strideOf(record.byteLength) / 8);
}

function classPortInfo(mad: DataView): number {
  if (MadHeader.method.get(mad, 0) !== Method.GET) return MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE;
  bytesOf(mad).fill(0, AT, MAD_BYTES);
  ClassPortInfo.baseVersion.set(mad, AT, MAD_BASE_VERSION);
  ClassPortInfo.classVersion.set(mad, AT, SA_CLASS_VERSION);
  const capabilities = SaCapability.OPTIONAL_RECORDS | SaCapability.UD_MULTICAST | SaCapability.PORT_INFO_CAPMASK_MATCH;
  ClassPortInfo.capabilityMask.set(mad, AT, capabilities);
  ClassPortInfo.capabilityMask2.set(mad, AT, SaCapability2.SEND_ONLY_FULL_MEMBER);
  ClassPortInfo.responseTime.set(mad, AT, RESPONSE_TIME);
  return MadStatus.OK;
}
