// MADs in packets: LRH, [GRH], BTH, DETH, 256 bytes, as on the wire but without ICRC and VCRC. IBA vol 1, 13.5.1 and the
// header sections named in spec/ib/headers.ts.

import { UD_SEND_ONLY, UD_SEND_ONLY_IMM } from "../spec/ib/bth-opcode.ts";
import { Bth, Deth, GRH_NEXT_HEADER_BTH, Grh, ICRC_BYTES, ImmDt, Lrh, LrhNextHeader } from "../spec/ib/headers.ts";
import { DEFAULT_PKEY, GSI_QKEY, isMulticastLid, Lid, pkeyBase, Qpn } from "../spec/ib/numbers.ts";
import { MAD_BYTES } from "../spec/mad/numbers.ts";
import { bytesOf } from "./mad.ts";

export const SMP_VL = 15;
const PACKET_BYTES = Lrh.byteLength + Bth.byteLength + Deth.byteLength + MAD_BYTES;
/** Longest MAD packet: with GRH and immediate. */
export const MAX_MAD_PACKET_BYTES = PACKET_BYTES + Grh.byteLength + ImmDt.byteLength;
const IP_VERSION = 6;
const GRH_HOP_LIMIT = 0;

/** Where a MAD comes from or goes to. */
export interface MadAddress {
  readonly dlid: number;
  readonly slid: number;
  readonly sl: number;
  readonly destQp: number;
  readonly srcQp: number;
  readonly pkey: number;
  readonly qkey: number;
  /** SGID and DGID if the packet has a GRH. */
  readonly grh?: { readonly sgid: Uint8Array; readonly dgid: Uint8Array } | undefined;
}

/** A MAD packet, its headers read. */
export interface MadPacket extends MadAddress {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly vl: number;
  /** Where the MAD begins. */
  readonly madAt: number;
}

/** Address of an SMP by directed route: permissive at both ends. */
export const DIRECTED_ROUTE: MadAddress = {
  dlid: Lid.PERMISSIVE,
  slid: Lid.PERMISSIVE,
  sl: 0,
  destQp: Qpn.SMI,
  srcQp: Qpn.SMI,
  pkey: DEFAULT_PKEY,
  qkey: 0,
};

/** Address of an SMP by LID. */
export const smpAddress = (slid: number, dlid: number): MadAddress => ({ ...DIRECTED_ROUTE, slid, dlid });

/** Address of a general MAD from QP1 to QP1. */
export const gmpAddress = (slid: number, dlid: number): MadAddress => ({
  dlid,
  slid,
  sl: 0,
  destQp: Qpn.GSI,
  srcQp: Qpn.GSI,
  pkey: DEFAULT_PKEY,
  qkey: GSI_QKEY,
});

/** The packet that carries the 256-byte `mad` to `address`; VL 15 exactly when it goes to QP0. */
export function buildMadPacket(address: MadAddress, mad: DataView): Uint8Array {
  const packet = newPacket(PACKET_BYTES + (address.grh === undefined ? 0 : Grh.byteLength));
  packet.set(bytesOf(mad), writeHeaders(packet, address));
  return packet;
}

/** Packets of a moment come out of one piece of memory: a buffer for each would cost several times what is done with it. */
const SLAB_BYTES = 1 << 14;
let slab = new ArrayBuffer(SLAB_BYTES);
let slabUsed = 0;

/** `length` zero bytes. */
function newPacket(length: number): Uint8Array {
  if (slabUsed + length > SLAB_BYTES) {
    slab = new ArrayBuffer(SLAB_BYTES);
    slabUsed = 0;
  }
  const packet = new Uint8Array(slab, slabUsed, length);
  slabUsed += Math.ceil(length / 8) * 8;
  return packet;
}

/** Writes LRH, GRH, BTH and DETH into zero bytes; returns where the MAD begins. */
function writeHeaders(packet: Uint8Array, address: MadAddress, view: DataView = viewOf(packet)): number {
  const hasGrh = address.grh !== undefined;
  Lrh.vl.set(view, 0, address.destQp === Qpn.SMI ? SMP_VL : 0);
  Lrh.sl.set(view, 0, address.sl);
  Lrh.nextHeader.set(view, 0, hasGrh ? LrhNextHeader.GRH : LrhNextHeader.BTH);
  Lrh.dlid.set(view, 0, address.dlid);
  Lrh.slid.set(view, 0, address.slid);
  Lrh.packetLength.set(view, 0, (packet.length + ICRC_BYTES) >> 2);
  let at: number = Lrh.byteLength;
  if (address.grh !== undefined) {
    Grh.version.set(view, at, IP_VERSION);
    Grh.payloadLength.set(view, at, PACKET_BYTES - Lrh.byteLength + ICRC_BYTES);
    Grh.nextHeader.set(view, at, GRH_NEXT_HEADER_BTH);
    Grh.hopLimit.set(view, at, GRH_HOP_LIMIT);
    Grh.sgid.set(view, at, address.grh.sgid);
    Grh.dgid.set(view, at, address.grh.dgid);
    at += Grh.byteLength;
  }
  Bth.opcode.set(view, at, UD_SEND_ONLY);
  Bth.pkey.set(view, at, address.pkey);
  Bth.destQp.set(view, at, isMulticastLid(address.dlid) ? Qpn.MULTICAST : address.destQp);
  at += Bth.byteLength;
  Deth.qkey.set(view, at, address.qkey);
  Deth.srcQp.set(view, at, address.srcQp);
  return at + Deth.byteLength;
}

/** The MAD of a packet: a window on its bytes. */
export const madOf = ({ view, madAt }: MadPacket): DataView => new DataView(view.buffer, view.byteOffset + madAt, MAD_BYTES);

/**
 * The packet that answers `request` with `mad`, from `port`. It takes the request's own bytes if `mad` lies in them and the
 * headers are as long, so the request is gone.
 */
export function turnRound(request: MadPacket, port: { lid: number; pkeys: Uint16Array }, mad: DataView): Uint8Array {
  const { bytes, view, madAt } = request;
  // nobody looks at the P_Key of a packet to QP0
  const address = replyAddress(request, port.lid, request.destQp === Qpn.SMI ? undefined : port.pkeys);
  const isInPlace = mad.buffer === bytes.buffer && mad.byteOffset === bytes.byteOffset + madAt;
  if (!isInPlace || bytes.length !== PACKET_BYTES) return buildMadPacket(address, mad);
  bytes.fill(0, 0, madAt);
  writeHeaders(bytes, address, view);
  return bytes;
}

export const viewOf = (packet: Uint8Array): DataView => new DataView(packet.buffer, packet.byteOffset, packet.byteLength);

/**
 * Reads a MAD packet; undefined if it is not a well-formed one (any bytes are allowed here).
 * @param view of the same bytes, if there is one already
 */
export function parseMadPacket(packet: Uint8Array, view: DataView = viewOf(packet)): MadPacket | undefined {
  if (packet.length < PACKET_BYTES || packet.length > MAX_MAD_PACKET_BYTES) return undefined;
  if (!hasSoundLrh(view)) return undefined;
  const hasGrh = Lrh.nextHeader.get(view, 0) === LrhNextHeader.GRH;
  const grhAt = Lrh.byteLength;
  if (hasGrh && Grh.nextHeader.get(view, grhAt) !== GRH_NEXT_HEADER_BTH) return undefined;
  const bthAt = hasGrh ? grhAt + Grh.byteLength : grhAt;
  const opcode = Bth.opcode.get(view, bthAt);
  if (opcode !== UD_SEND_ONLY && opcode !== UD_SEND_ONLY_IMM) return undefined;
  const dethAt = bthAt + Bth.byteLength;
  const madAt = dethAt + Deth.byteLength + (opcode === UD_SEND_ONLY_IMM ? ImmDt.byteLength : 0);
  if (madAt + MAD_BYTES !== packet.length) return undefined;
  return {
    bytes: packet,
    view,
    vl: Lrh.vl.get(view, 0),
    sl: Lrh.sl.get(view, 0),
    dlid: Lrh.dlid.get(view, 0),
    slid: Lrh.slid.get(view, 0),
    pkey: Bth.pkey.get(view, bthAt),
    destQp: Bth.destQp.get(view, bthAt),
    qkey: Deth.qkey.get(view, dethAt),
    srcQp: Deth.srcQp.get(view, dethAt),
    grh: hasGrh ? { sgid: Grh.sgid.get(view, grhAt), dgid: Grh.dgid.get(view, grhAt) } : undefined,
    madAt,
  };
}

/** Where the MAD begins in a packet without GRH and immediate, as nearly all are. */
export const PLAIN_MAD_AT = PACKET_BYTES - MAD_BYTES;

/** True for a packet to QP0 of that kind, which `parseMadPacket` would read. */
export const isPlainSmp = (view: DataView): boolean =>
  view.byteLength === PACKET_BYTES &&
  hasSoundLrh(view, PACKET_BYTES) &&
  Lrh.nextHeader.get(view, 0) === LrhNextHeader.BTH &&
  Bth.opcode.get(view, Lrh.byteLength) === UD_SEND_ONLY &&
  Bth.destQp.get(view, Lrh.byteLength) === Qpn.SMI;

/** Whether the LRH is that of an InfiniBand packet and its length is the packet's, which a caller that knows it spares V8 a call to find out. */
export function hasSoundLrh(view: DataView, length: number = view.byteLength): boolean {
  if (length < Lrh.byteLength || Lrh.version.get(view, 0) !== 0) return false;
  const next = Lrh.nextHeader.get(view, 0);
  if (next !== LrhNextHeader.BTH && next !== LrhNextHeader.GRH) return false;
  return Lrh.packetLength.get(view, 0) * 4 === length + ICRC_BYTES;
}

/**
 * The address that answers `request`, from an end port with LID `lid` (permissive stays permissive).
 * @param pkeys P_Key table of that port: it answers by its own membership of the request's partition
 */
export function replyAddress(request: MadAddress, lid: number, pkeys?: Uint16Array): MadAddress {
  const isPermissive = request.slid === Lid.PERMISSIVE || request.dlid === Lid.PERMISSIVE;
  return {
    dlid: isPermissive ? Lid.PERMISSIVE : request.slid,
    slid: isPermissive ? Lid.PERMISSIVE : isMulticastLid(request.dlid) ? lid : request.dlid,
    sl: request.sl,
    destQp: request.srcQp,
    srcQp: request.destQp === Qpn.SMI ? Qpn.SMI : Qpn.GSI,
    pkey: pkeys?.find((own) => pkeyBase(own) === pkeyBase(request.pkey)) ?? request.pkey,
    qkey: request.destQp === Qpn.SMI ? 0 : GSI_QKEY,
    grh: request.grh === undefined ? undefined : { sgid: request.grh.dgid, dgid: request.grh.sgid },
  };
}
