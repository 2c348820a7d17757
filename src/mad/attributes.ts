// What the management agents know of a node: its ports as attribute images, and what an accepted Set asks of the owner.
// PortInfo and SwitchInfo are kept as the bytes that go on the wire (IBA vol 1, 14.2.5), so a Get is a copy and a Set is a
// list of writable fields; everything else reads them through the layout or through the getters here.

import { writeAll } from "../base/layout.ts";
import { type Piece, Slabs } from "../base/slab.ts";
import { DEFAULT_PKEY, PortState } from "../spec/ib/numbers.ts";
import { PortCounter, PortDetail, SL_COUNT, VL_COUNT } from "../spec/ib/port-counters.ts";
import { DEFAULT_GID_PREFIX, type NodeType, VL_ARB_BLOCK } from "../spec/mad/numbers.ts";
import { PortInfo } from "../spec/mad/sm-attributes.ts";
import type { LinearForwardingTable, MulticastForwardingTable } from "./forwarding-tables.ts";
import { bytesOf } from "./mad.ts";

/** What a port is; it decides which PortInfo fields mean something (14.2.5.6, "applicability"). */
export const PortKind = { CA: 0, SWITCH_BASE: 1, SWITCH_EXTERNAL: 2 } as const;

/** Values of `PortInfo` fields, by field name. */
export type PortInfoValues = { readonly [K in keyof typeof PortInfo]?: number | bigint };

export interface PortOptions {
  readonly number: number;
  readonly kind: number;
  /** Port GUID; 0n for a switch's external ports, which have none. */
  readonly guid: bigint;
  readonly pkeyCount: number;
  readonly guidCount: number;
  /** PortInfo after power-up. */
  readonly powerUp: PortInfoValues;
  /** Where its attributes lie, `portBytes` zero bytes; somewhere if left out. */
  readonly memory?: Piece;
}

const COUNTERS_AT = PortInfo.byteLength;
const PKEYS_AT = COUNTERS_AT + PortCounter.names.length * Float64Array.BYTES_PER_ELEMENT;
const GID_BYTES = 16;
/** As the host keeps a number. */
const DEFAULT_PKEY_BYTES = new Uint8Array(Uint16Array.of(DEFAULT_PKEY).buffer);
/** Key of the SLtoVL table for packets from all ports. */
const FROM_ALL = -1;
const NO_PKEYS = new Uint16Array(0);
const NO_GIDS = new Uint8Array(0);
const slabs = new Slabs();

/** Bytes of a port's attributes: PortInfo, counters, P_Keys, GIDs. A switch has those of all its ports in one piece. */
export const portBytes = (pkeyCount: number, guidCount: number): number =>
  Math.ceil((PKEYS_AT + pkeyCount * 2 + guidCount * GID_BYTES) / 8) * 8;

const MAX_COUNT16 = 0xffff;
/** SL n travels on VL n modulo 8. */
export const DEFAULT_SL_TO_VL: Uint8Array = Uint8Array.of(0x01, 0x23, 0x45, 0x67, 0x01, 0x23, 0x45, 0x67);

/** One port's management state. Fabrics extend it with a link. */
export class PortAttributes {
  readonly number: number;
  readonly kind: number;
  readonly guid: bigint;
  /** PortInfo as Get returns it, except LocalPortNum and what the M_Key hides. */
  readonly info: DataView;
  /** Its counters are this array's from `tallyAt` on; that of a switch has those of all its ports. */
  readonly tally: Float64Array;
  readonly tallyAt: number;
  readonly #pkeyCount: number;
  readonly gidCount: number;
  /** Views that most of the ports, of which there may be hundreds of thousands, never need. */
  #pkeys: Uint16Array | undefined = undefined;
  #gids: Uint8Array | undefined = undefined;
  /** SLtoVL tables by input port (0 on a CA), made when first set. */
  #slToVl: Map<number, Uint8Array> | undefined = undefined;
  /** Made when first needed. */
  #slData: Float64Array | undefined = undefined;
  #details: Float64Array | undefined = undefined;
  #vlXmitWait: Float64Array | undefined = undefined;
  /** VLArbitration blocks 1..4, made when first set. */
  #vlArbitration: Map<number, Uint8Array> | undefined = undefined;
  /** When the protect bits fall, if a M_Key violation has started the lease (14.2.4.2). */
  mkeyLeaseEndNs: number = Number.POSITIVE_INFINITY;

  readonly #powerUp: PortInfoValues;
  /** PortInfo's, kept beside it: every packet asks for it at both ends of a cable, and the attributes of a port are far away by then. */
  #physState = 0;

  constructor(options: PortOptions) {
    this.number = options.number;
    this.kind = options.kind;
    this.guid = options.guid;
    this.#powerUp = options.powerUp;
    const { pkeyCount, guidCount } = options;
    this.#pkeyCount = pkeyCount;
    this.gidCount = guidCount;
    const { buffer, offset, doubles } = options.memory ?? slabs.take(portBytes(pkeyCount, guidCount));
    this.info = new DataView(buffer, offset, PortInfo.byteLength);
    this.tally = doubles;
    this.tallyAt = (offset + COUNTERS_AT) / Float64Array.BYTES_PER_ELEMENT;
    this.resetAttributes();
  }

  /** A view of its counters, made anew each time; slots of `PortCounter`. */
  get counters(): Float64Array {
    return this.tally.subarray(this.tallyAt, this.tallyAt + PortCounter.names.length);
  }

  get pkeys(): Uint16Array {
    this.#pkeys ??= this.#pkeyCount === 0 ? NO_PKEYS : new Uint16Array(this.info.buffer, this.#tablesAt, this.#pkeyCount);
    return this.#pkeys;
  }

  /** GID table, 16 bytes each: GID prefix and GUID; all zero where no GUID is set. */
  get gids(): Uint8Array {
    this.#gids ??= this.gidCount === 0 ? NO_GIDS : new Uint8Array(this.info.buffer, this.#gidsAt, this.gidCount * GID_BYTES);
    return this.#gids;
  }

  /** Where P_Keys and then GIDs begin in the buffer. */
  get #tablesAt(): number {
    return this.info.byteOffset + PKEYS_AT;
  }
  get #gidsAt(): number {
    return this.#tablesAt + this.#pkeyCount * 2;
  }

  /** Back to power-up values; counters stay. */
  resetAttributes(): void {
    bytesOf(this.info).fill(0);
    PortInfo.gidPrefix.setBig(this.info, 0, this.kind === PortKind.SWITCH_EXTERNAL ? 0n : DEFAULT_GID_PREFIX);
    PortInfo.guidCap.set(this.info, 0, this.gidCount);
    writeAll(PortInfo, this.info, 0, this.#powerUp as Record<string, number | bigint>);
    this.#physState = PortInfo.physState.get(this.info, 0);
    const tables = new Uint8Array(this.info.buffer, this.#tablesAt, this.#pkeyCount * 2 + this.gidCount * GID_BYTES).fill(0);
    if (this.#pkeyCount > 0) tables.set(DEFAULT_PKEY_BYTES);
    if (this.gidCount > 0) this.setGuid(0, this.guid);
    this.#slToVl = undefined;
    this.#vlArbitration = undefined;
    this.mkeyLeaseEndNs = Number.POSITIVE_INFINITY;
  }

  /** Data sent and received by service level, in slots of spec/ib/port-counters.ts. */
  get slData(): Float64Array {
    this.#slData ??= new Float64Array(2 * SL_COUNT);
    return this.#slData;
  }

  /** Whether anything has been counted by service level, and in details. */
  get hasSlData(): boolean {
    return this.#slData !== undefined;
  }
  get hasDetails(): boolean {
    return this.#details !== undefined;
  }
  get hasVlXmitWait(): boolean {
    return this.#vlXmitWait !== undefined;
  }

  /** Slots of `PortDetail`. */
  get details(): Float64Array {
    this.#details ??= new Float64Array(PortDetail.names.length);
    return this.#details;
  }

  /** Ticks that the first packet of each virtual lane has waited, in all (16.1.4, PortVLXmitWaitCounters). */
  get vlXmitWait(): Float64Array {
    this.#vlXmitWait ??= new Float64Array(VL_COUNT);
    return this.#vlXmitWait;
  }

  get lid(): number {
    return PortInfo.lid.get(this.info, 0);
  }
  get lmc(): number {
    return PortInfo.lmc.get(this.info, 0);
  }
  get smLid(): number {
    return PortInfo.smLid.get(this.info, 0);
  }
  get state(): number {
    return PortInfo.portState.get(this.info, 0);
  }
  set state(state: number) {
    PortInfo.portState.set(this.info, 0, state);
  }
  get physState(): number {
    return this.#physState;
  }
  set physState(physState: number) {
    this.#physState = physState;
    PortInfo.physState.set(this.info, 0, physState);
  }
  get mtuCode(): number {
    return PortInfo.neighborMtu.get(this.info, 0);
  }
  get isActive(): boolean {
    return this.state === PortState.ACTIVE;
  }
  /** True for ports with a LID of their own: CA ports and a switch's port 0. */
  get isEndPort(): boolean {
    return this.kind !== PortKind.SWITCH_EXTERNAL;
  }

  /** Whether a packet to unicast `dlid` is for this end port (its base LID and the 2^LMC - 1 that follow). */
  ownsLid(dlid: number): boolean {
    const lid = this.lid;
    return lid !== 0 && dlid >= lid && dlid < lid + (1 << this.lmc);
  }

  /** GUID in entry `index` of GUIDInfo. */
  guidAt(index: number): bigint {
    return this.#gidView.getBigUint64(index * 16 + 8);
  }

  /** Writes entry `index` of GUIDInfo and the GID that follows from it. */
  setGuid(index: number, guid: bigint): void {
    const view = this.#gidView;
    view.setBigUint64(index * 16, guid === 0n ? 0n : PortInfo.gidPrefix.getBig(this.info, 0));
    view.setBigUint64(index * 16 + 8, guid);
  }

  get #gidView(): DataView {
    return new DataView(this.info.buffer, this.#gidsAt, this.gidCount * GID_BYTES);
  }

  /** Writes the current GID prefix into every GID that exists. */
  refreshGids(): void {
    for (let index = 0; index < this.gidCount; index++) this.setGuid(index, this.guidAt(index));
  }

  /** Counts a violation in one of PortInfo's 16-bit counters, which stick at their highest value. */
  countViolation(field: "mkeyViolations" | "pkeyViolations" | "qkeyViolations"): void {
    const count = PortInfo[field].get(this.info, 0);
    if (count < MAX_COUNT16) PortInfo[field].set(this.info, 0, count + 1);
  }

  /** SLtoVL table for packets from `inputPort`; unset, SL n maps to VL n modulo 8. */
  slToVlFrom(inputPort: number): Uint8Array {
    return this.#slToVl?.get(inputPort) ?? this.#slToVl?.get(FROM_ALL) ?? DEFAULT_SL_TO_VL;
  }

  /** The table for packets from every port that has none of its own from now on. */
  setSlToVlFromAll(table: Uint8Array): void {
    this.#slToVl = new Map([[FROM_ALL, table]]);
  }

  setSlToVl(inputPort: number, table: Uint8Array): void {
    this.#slToVl ??= new Map();
    this.#slToVl.set(inputPort, table);
  }

  vlArbitrationBlock(block: number): Uint8Array {
    return this.#vlArbitration?.get(block) ?? new Uint8Array(VL_ARB_BLOCK * 2);
  }

  setVlArbitration(block: number, entries: Uint8Array): void {
    this.#vlArbitration ??= new Map();
    this.#vlArbitration.set(block, entries);
  }
}

/** Attributes only a switch has. */
export interface SwitchAttributes {
  /** SwitchInfo as Get returns it. */
  readonly info: DataView;
  readonly linear: LinearForwardingTable;
  readonly multicast: MulticastForwardingTable;
}

/** A node as its agents see it, and what they ask of it. */
export interface ManagedNode {
  readonly type: (typeof NodeType)[keyof typeof NodeType];
  readonly guid: bigint;
  readonly systemImageGuid: bigint;
  readonly deviceId: number;
  readonly revision: number;
  readonly vendorId: number;
  readonly partitionCap: number;
  /** NodeDescription: 64 bytes, padded with zeros. */
  readonly description: Uint8Array;
  /** By port number: 1… on a CA (entry 0 is empty), 0… on a switch. */
  readonly ports: readonly (PortAttributes | undefined)[];
  readonly switch?: SwitchAttributes;

  /** Set(PortInfo) asks for logical state DOWN, ARMED or ACTIVE; the transition has been checked. */
  setPortState(port: number, state: number): void;
  /** Set(PortInfo) asks for physical state POLLING or DISABLED. */
  setPhysState(port: number, physState: number): void;
  /** A LID, P_Key, GID or forwarding table changed: answers of `resolve` may have become wrong. */
  attributesChanged(): void;
  /** TrapRepress for the trap with this transaction id. */
  trapRepressed(tidHi: number, tidLo: number): void;
}

/** Number of physical ports, as NodeInfo.NumPorts says. */
export const portCountOf = (node: ManagedNode): number => node.ports.length - 1;
