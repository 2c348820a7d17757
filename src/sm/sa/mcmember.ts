// MCMemberRecord: joining, leaving and listing multicast groups. IBA vol 1, 15.2.5.17; what IPoIB sends: RFC 4391, section 10.
// A port may join for others (ProxyJoin), but not change what they have joined themselves or third parties have joined for them, unless the
// request carries the SM_Key.

import { DEFAULT_PKEY, Lid, Mtu, PKEY_FULL, pkeyBase } from "../../spec/ib/numbers.ts";
import { McComponent as C, MC_MEMBER_COMPONENTS } from "../../spec/mad/components.ts";
import { JoinState, MadStatus, SaAttribute, SaStatus, Selector } from "../../spec/mad/numbers.ts";
import { McMemberRecord } from "../../spec/mad/sa-records.ts";
import { PortInfo } from "../../spec/mad/sm-attributes.ts";
import type { Settings } from "../options.ts";
import type { Partitions } from "../partitions.ts";
import type { SubnetPort } from "../subnet.ts";
import { adaptRate } from "./group-rate.ts";
import { type Group, type GroupMember, type GroupParameters, type GroupTable, isProxy } from "./groups.ts";
import type { PathFinder } from "./paths.ts";
import { newRecord, type RecordTable } from "./query.ts";
import { choose, LOWEST_MTU, linkRateRank, RATE_10_GBPS, rateAt, rateRank } from "./rates.ts";
import { has, type SaAnswer, type SaRequest, type SaService } from "./request.ts";

const JOIN_BITS = 0xf;
const MULTICAST_PREFIX = 0xff;
/** Components without which a group is not made (o15-0.2.3). */
const CREATE_COMPONENTS = [C.P_KEY, C.Q_KEY, C.SL, C.FLOW_LABEL, C.TRAFFIC_CLASS];
const CREATOR_STATES = JoinState.FULL | JoinState.SEND_ONLY_FULL;
const LINK_LOCAL_SCOPE = 2;
const RESERVED_FLAGS = 0xe0;
/** Bytes 2 and 3 of MGIDs that the SA makes up, and of IPoIB's for IPv4 and IPv6. */
const SA_SIGNATURE = 0xa01b;
const IPOIB_SIGNATURES: readonly number[] = [0x401b, 0x601b];

/** The IPv4 broadcast group of IPoIB in the default partition (RFC 4391, 4): ff12:401b:ffff::ffff:ffff. */
export const IPOIB_BROADCAST: Uint8Array = Uint8Array.of(
  ...[0xff, 0x12, 0x40, 0x1b, 0xff, 0xff, 0, 0],
  ...[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
);
const IPOIB_PKEY_AT = 4;
const IPOIB_QKEY = 0x0b1b;

/** The broadcast group of a partition: its P_Key stands where that of the default one does. */
export function ipoibBroadcast(pkey: number): Uint8Array {
  const mgid = IPOIB_BROADCAST.slice();
  new DataView(mgid.buffer).setUint16(IPOIB_PKEY_AT, pkey | PKEY_FULL);
  return mgid;
}

/** Parameters of a broadcast group; every other IPoIB group of the partition copies them. */
const ipoibParameters = (settings: Settings, pkey: number, sl: number): GroupParameters => ({
  qkey: IPOIB_QKEY,
  pkey: pkey | PKEY_FULL,
  mtu: Math.min(settings.mtuCode, Mtu.MTU_2048),
  rate: RATE_10_GBPS,
  lifeTime: settings.subnetTimeout,
  sl,
  trafficClass: 0,
  flowLabel: 0,
  hopLimit: 0,
});

/** The groups that are there from the beginning: a broadcast group for every partition that has IPoIB. */
export function ipoibGroups(settings: Settings): { readonly mgid: Uint8Array; readonly parameters: GroupParameters }[] {
  const base = pkeyBase(DEFAULT_PKEY);
  const own = settings.partitions.find(({ pkey }) => pkey === base) ?? { pkey: base, sl: 0, isIpoib: true };
  // that of the default partition first, as it is where there are no others
  const all = [own, ...settings.partitions.filter(({ pkey }) => pkey !== base)].filter(({ isIpoib }) => isIpoib);
  return all.map(({ pkey, sl }) => ({ mgid: ipoibBroadcast(pkey), parameters: ipoibParameters(settings, pkey, sl) }));
}

export class MembershipService implements SaService {
  readonly #groups: GroupTable;
  readonly #paths: PathFinder;
  readonly #settings: Settings;
  readonly #partitions: Partitions;
  #nextMgid = 1;

  constructor(groups: GroupTable, paths: PathFinder, settings: Settings, partitions: Partitions) {
    this.#groups = groups;
    this.#paths = paths;
    this.#settings = settings;
    this.#partitions = partitions;
  }

  /** Set: joins, making the group if it does not exist. */
  set(request: SaRequest): SaAnswer {
    const { view, at } = request;
    if (!has(request, C.PORT_GID) || !has(request, C.JOIN_STATE)) return { status: SaStatus.REQ_INSUFFICIENT_COMPONENTS };
    const joinState = McMemberRecord.joinState.get(view, at) & JOIN_BITS;
    if (joinState === 0) return { status: SaStatus.REQ_INVALID };
    const port = this.#paths.portOfGid(McMemberRecord.portGid.get(view, at));
    if (port === undefined) return { status: SaStatus.REQ_INVALID_GID };
    const mgid = McMemberRecord.mgid.get(view, at);
    let group = has(request, C.MGID) ? this.#groups.find(mgid) : undefined;
    if (group?.isPermanent) adaptRate(group, port, this.#paths.endPorts);
    const known = group?.members.get(port.guid);
    if (known !== undefined && !mayChange(request, known)) return { status: SaStatus.REQ_DENIED };
    if (group === undefined) {
      const made = this.#create(request, port, joinState);
      if (typeof made === "number") return { status: made };
      group = made;
    } else if (this.#partitions.keyIn(port, group.pkey) === 0 || !fits(request, group, port)) {
      return { status: SaStatus.REQ_INVALID };
    }
    const member = this.#groups.join(group, port.guid, joinState, request.port.guid);
    if (member === undefined) {
      this.#groups.deleteIfEmpty(group);
      return { status: SaStatus.NO_RESOURCES };
    }
    return { status: MadStatus.OK, record: this.#recordOf(group, member) };
  }

  /** Delete: leaves. */
  delete(request: SaRequest): SaAnswer {
    const { view, at } = request;
    if (!has(request, C.MGID) || !has(request, C.PORT_GID) || !has(request, C.JOIN_STATE)) {
      return { status: SaStatus.REQ_INSUFFICIENT_COMPONENTS };
    }
    const port = this.#paths.portOfGid(McMemberRecord.portGid.get(view, at));
    const group = this.#groups.find(McMemberRecord.mgid.get(view, at));
    const member = port === undefined ? undefined : group?.members.get(port.guid);
    const joinState = McMemberRecord.joinState.get(view, at) & JOIN_BITS;
    if (port === undefined || group === undefined || member === undefined) return { status: SaStatus.REQ_INVALID };
    if (!mayChange(request, member)) return { status: SaStatus.REQ_DENIED };
    if (joinState === 0 || (member.joinState & joinState) !== joinState) return { status: SaStatus.REQ_INVALID };
    this.#groups.leave(group, member, joinState);
    return { status: MadStatus.OK, record: this.#recordOf(group, member) };
  }

  /** Groups as records: for those who are trusted one for every member, for others one for every group, without a port. */
  table(): RecordTable {
    const groups = this.#groups;
    const recordOf = (group: Group, member: GroupMember | undefined): DataView => this.#recordOf(group, member);
    return {
      attribute: SaAttribute.MC_MEMBER_RECORD,
      bytes: McMemberRecord.byteLength,
      components: MC_MEMBER_COMPONENTS,
      *records({ isTrusted }) {
        for (const group of groups.all()) {
          if (!isTrusted || group.members.size === 0) yield recordOf(group, undefined);
          else for (const member of group.members.values()) yield recordOf(group, member);
        }
      },
      matches: selectorMatches,
    };
  }

  /** A new group with what the request says and, where it says nothing, what suits the joiner; or a status. */
  #create(request: SaRequest, port: SubnetPort, joinState: number): Group | number {
    const { view, at } = request;
    const r = McMemberRecord;
    if ((joinState & CREATOR_STATES) === 0) return SaStatus.REQ_INVALID;
    if (!CREATE_COMPONENTS.every((bit) => has(request, bit))) return SaStatus.REQ_INSUFFICIENT_COMPONENTS;
    if (this.#partitions.keyIn(port, r.pkey.get(view, at)) === 0) return SaStatus.REQ_INVALID;
    const mgid = this.#mgidFor(request);
    const mtu = wantedMtu(request, PortInfo.neighborMtu.get(port.info, 0));
    const rate = wantedRate(request, linkRateRank(port.info));
    if (mgid === undefined || mtu === undefined || rate === undefined) return SaStatus.REQ_INVALID;
    const parameters: GroupParameters = {
      qkey: r.qkey.get(view, at),
      pkey: r.pkey.get(view, at),
      mtu,
      rate: rateAt(rate),
      lifeTime: this.#settings.subnetTimeout,
      sl: r.sl.get(view, at),
      trafficClass: r.trafficClass.get(view, at),
      flowLabel: r.flowLabel.get(view, at),
      hopLimit: has(request, C.HOP_LIMIT) ? r.hopLimit.get(view, at) : 0,
    };
    return this.#groups.create(mgid, parameters) ?? SaStatus.NO_RESOURCES;
  }

  /** The MGID asked for, or a free one if the request leaves it to us; undefined if it is none. */
  #mgidFor(request: SaRequest): Uint8Array | undefined {
    const asked = McMemberRecord.mgid.get(request.view, request.at);
    if (has(request, C.MGID) && asked.some((byte) => byte !== 0)) return isMgidSound(asked) ? asked : undefined;
    const scope = has(request, C.SCOPE) ? McMemberRecord.scope.get(request.view, request.at) : LINK_LOCAL_SCOPE;
    const mgid = new Uint8Array(16);
    const view = new DataView(mgid.buffer);
    do {
      view.setUint32(0, ((MULTICAST_PREFIX << 24) | (0x10 << 16) | (scope << 16) | SA_SIGNATURE) >>> 0);
      view.setBigUint64(4, this.#settings.gidPrefix);
      view.setUint32(12, this.#nextMgid++ >>> 0);
    } while (this.#groups.find(mgid) !== undefined);
    return mgid;
  }

  #recordOf(group: Group, member: GroupMember | undefined): DataView {
    const r = McMemberRecord;
    const record = newRecord(r.byteLength);
    r.mgid.set(record, 0, group.mgid);
    if (member !== undefined) {
      record.setBigUint64(r.portGid.offset, this.#settings.gidPrefix);
      record.setBigUint64(r.portGid.offset + 8, member.portGuid);
      r.joinState.set(record, 0, member.joinState);
      r.proxyJoin.set(record, 0, isProxy(member) ? 1 : 0);
    }
    r.qkey.set(record, 0, group.qkey);
    r.mlid.set(record, 0, group.mlid);
    r.mtuSelector.set(record, 0, Selector.EXACTLY);
    r.mtu.set(record, 0, group.mtu);
    r.trafficClass.set(record, 0, group.trafficClass);
    r.pkey.set(record, 0, group.pkey);
    r.rateSelector.set(record, 0, Selector.EXACTLY);
    r.rate.set(record, 0, group.rate);
    r.lifeTimeSelector.set(record, 0, Selector.EXACTLY);
    r.lifeTime.set(record, 0, group.lifeTime);
    r.sl.set(record, 0, group.sl);
    r.flowLabel.set(record, 0, group.flowLabel);
    r.hopLimit.set(record, 0, group.hopLimit);
    r.scope.set(record, 0, (group.mgid[1] ?? 0) & JOIN_BITS);
    return record;
  }
}

/**
 * Whether a group may have this MGID (o15-0.1.6): no reserved flags (4.1.1), and none of those that the SA makes up itself, within the
 * subnet. What IPoIB makes of its own (RFC 4391, 4) is taken as it is.
 */
function isMgidSound(mgid: Uint8Array): boolean {
  const [prefix = 0, flagsAndScope = 0, signatureHi = 0, signatureLo = 0] = mgid;
  const signature = (signatureHi << 8) | signatureLo;
  if (prefix !== MULTICAST_PREFIX) return false;
  if (IPOIB_SIGNATURES.includes(signature)) return true;
  return (flagsAndScope & RESERVED_FLAGS) === 0 && (signature !== SA_SIGNATURE || (flagsAndScope & 0xf) !== LINK_LOCAL_SCOPE);
}

/** Whether the sender may change a membership (o15-0.2.1): its own, or one that it has joined for somebody else. */
const mayChange = ({ isTrusted, port }: SaRequest, member: GroupMember): boolean =>
  isTrusted || port.guid === member.portGuid || port.guid === member.joinedBy;

function wantedMtu(request: SaRequest, best: number): number | undefined {
  if (!has(request, C.MTU_SELECTOR) || !has(request, C.MTU)) return best;
  const { view, at } = request;
  return choose(McMemberRecord.mtuSelector.get(view, at), McMemberRecord.mtu.get(view, at), best, LOWEST_MTU);
}

function wantedRate(request: SaRequest, best: number): number | undefined {
  if (!has(request, C.RATE_SELECTOR) || !has(request, C.RATE)) return best;
  const { view, at } = request;
  return choose(McMemberRecord.rateSelector.get(view, at), rateRank(McMemberRecord.rate.get(view, at)), best, 0);
}

/** Whether the joiner's wishes and its port agree with the group as it is. */
function fits(request: SaRequest, group: Group, port: SubnetPort): boolean {
  const { view, at } = request;
  const r = McMemberRecord;
  if (PortInfo.neighborMtu.get(port.info, 0) < group.mtu || linkRateRank(port.info) < rateRank(group.rate)) return false;
  if (has(request, C.Q_KEY) && r.qkey.get(view, at) !== group.qkey) return false;
  if (has(request, C.P_KEY) && pkeyBase(r.pkey.get(view, at)) !== pkeyBase(group.pkey)) return false;
  if (has(request, C.SL) && r.sl.get(view, at) !== group.sl) return false;
  if (has(request, C.TRAFFIC_CLASS) && r.trafficClass.get(view, at) !== group.trafficClass) return false;
  if (has(request, C.FLOW_LABEL) && r.flowLabel.get(view, at) !== group.flowLabel) return false;
  if (has(request, C.HOP_LIMIT) && r.hopLimit.get(view, at) !== group.hopLimit) return false;
  const isMtuRight =
    !has(request, C.MTU_SELECTOR) || !has(request, C.MTU) || isRight(r.mtuSelector.get(view, at), group.mtu, r.mtu.get(view, at));
  if (!isMtuRight) return false;
  if (!has(request, C.RATE_SELECTOR) || !has(request, C.RATE)) return true;
  return isRight(r.rateSelector.get(view, at), rateRank(group.rate), rateRank(r.rate.get(view, at)));
}

/** Whether an existing value satisfies a selector. */
function isRight(selector: number, value: number, wanted: number): boolean {
  if (wanted < 0) return false;
  if (selector === Selector.GREATER) return value > wanted;
  if (selector === Selector.LESS) return value < wanted;
  return selector === Selector.EXACTLY ? value === wanted : true;
}

/** In queries the selector components say how MTU, rate and lifetime compare, and are not compared themselves. */
function selectorMatches(bit: number, wanted: DataView, at: number, record: DataView): boolean | undefined {
  const r = McMemberRecord;
  if (bit === C.MTU_SELECTOR || bit === C.RATE_SELECTOR || bit === C.LIFE_TIME_SELECTOR) return true;
  if (bit === C.MTU) return isRight(r.mtuSelector.get(wanted, at), r.mtu.get(record, 0), r.mtu.get(wanted, at));
  if (bit === C.RATE) {
    return isRight(r.rateSelector.get(wanted, at), rateRank(r.rate.get(record, 0)), rateRank(r.rate.get(wanted, at)));
  }
  return bit === C.MLID && r.mlid.get(wanted, at) === Lid.RESERVED ? true : undefined;
}
