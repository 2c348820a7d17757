// Responses of the subnet administration: one MAD, or a table in RMPP segments. IBA vol 1, 15.4.

import { bytesOf, copyMad, makeResponse } from "../../mad/mad.ts";
import { buildMadPacket, type MadPacket, replyAddress } from "../../mad/packet.ts";
import { RmppSender } from "../../mad/rmpp.ts";
import { MadHeader, Rmpp, SA_DATA_AT, SA_DATA_BYTES, SaHeader } from "../../spec/mad/headers.ts";
import {
  MAD_BASE_VERSION,
  MAD_BYTES,
  MadStatus,
  Method,
  RMPP_VERSION,
  SA_CLASS_VERSION,
  SaCapability,
  SaCapability2,
  SaStatus,
} from "../../spec/mad/numbers.ts";
import { ClassPortInfo } from "../../spec/mad/pm-attributes.ts";
import { strideOf } from "./query.ts";
import type { SaRequest } from "./request.ts";

const AT = SA_DATA_AT;
const RESPONSE_TIME = 18;
/** Instead of a status: the response is under way already. */
export const SENT = -1;

export class Responder {
  readonly #lid: () => number;
  readonly #send: (packet: Uint8Array) => void;
  readonly #rmpp: RmppSender;

  constructor(lid: () => number, send: (packet: Uint8Array) => void) {
    this.#lid = lid;
    this.#send = send;
    this.#rmpp = new RmppSender(send);
  }

  /** Tables under way. */
  get transfers(): number {
    return this.#rmpp.active;
  }

  /** Takes ACK, STOP and ABORT of a table; false if the MAD is none of them. */
  acknowledged(packet: MadPacket, nowNs: number): boolean {
    return this.#rmpp.receive(packet, nowNs);
  }

  step(nowNs: number): void {
    this.#rmpp.step(nowNs);
  }

  nextDeadlineNs(): number {
    return this.#rmpp.nextDeadlineNs();
  }

  /** One record into the response of a Get; any number into segments that go out from here. */
  putRecords(packet: MadPacket, { view: mad, nowNs }: SaRequest, records: readonly DataView[], bytes: number): number {
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
    return this.#rmpp.start(header, replyAddress(packet, this.#lid()), data, nowNs) ? SENT : MadStatus.BUSY;
  }

  /** Sends the one MAD that `mad` has become. */
  respond(packet: MadPacket, mad: DataView, status: number): void {
    makeResponse(mad, status);
    Rmpp.version.set(mad, 0, RMPP_VERSION);
    Rmpp.type.set(mad, 0, 0);
    Rmpp.flags.set(mad, 0, 0);
    Rmpp.status.set(mad, 0, 0);
    Rmpp.segment.set(mad, 0, 0);
    Rmpp.payloadOrWindow.set(mad, 0, 0);
    this.#send(buildMadPacket(replyAddress(packet, this.#lid()), mad));
  }
}

/** Puts a record into a response, in which it is alone. */
export function putRecord(mad: DataView, record: DataView): void {
  bytesOf(mad).fill(0, AT, AT + SA_DATA_BYTES);
  bytesOf(mad).set(bytesOf(record), AT);
  SaHeader.attributeOffset.set(mad, 0, strideOf(record.byteLength) / 8);
}

export function classPortInfo(mad: DataView): number {
  if (MadHeader.method.get(mad, 0) !== Method.GET) return MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE;
  bytesOf(mad).fill(0, AT, MAD_BYTES);
  ClassPortInfo.baseVersion.set(mad, AT, MAD_BASE_VERSION);
  ClassPortInfo.classVersion.set(mad, AT, SA_CLASS_VERSION);
  const { OPTIONAL_RECORDS, UD_MULTICAST, MULTI_PATH, PORT_INFO_CAPMASK_MATCH } = SaCapability;
  const capabilities = OPTIONAL_RECORDS | UD_MULTICAST | MULTI_PATH | PORT_INFO_CAPMASK_MATCH;
  ClassPortInfo.capabilityMask.set(mad, AT, capabilities);
  ClassPortInfo.capabilityMask2.set(mad, AT, SaCapability2.SEND_ONLY_FULL_MEMBER);
  ClassPortInfo.responseTime.set(mad, AT, RESPONSE_TIME);
  return MadStatus.OK;
}
