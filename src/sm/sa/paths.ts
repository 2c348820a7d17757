// PathRecord queries. IBA vol 1, 15.2.5.16. IPoIB asks by SGID and DGID, rdma_cm also with P_Key, NumbPath 1 and Reversible,
// tools by LIDs or by nothing; every combination is the same search. Between two ports there are 2^LMC paths, their P_Key is
// the first that both have, its SL that of the service, or of the partition.

import { isMulticastLid, pkeyBase } from "../../spec/ib/numbers.ts";
import { PathComponent as C } from "../../spec/mad/components.ts";
import { DEFAULT_GID_PREFIX, MadStatus, SaStatus, Selector } from "../../spec/mad/numbers.ts";
import { PathRecord } from "../../spec/mad/sa-records.ts";
import { PortInfo } from "../../spec/mad/sm-attributes.ts";
import type { Settings } from "../options.ts";
import { SaLimits } from "../options.ts";
import type { Partitions } from "../partitions.ts";
import type { ServiceLevels } from "../service-levels.ts";
import type { Subnet, SubnetNode, SubnetPort } from "../subnet.ts";
import type { GroupTable } from "./groups.ts";
import { hasComponent, newRecord } from "./query.ts";
import { choose, chooseLifeTime, LOWEST_MTU, linkRateRank, rateAt, rateRank } from "./rates.ts";

const MAX_HOPS = 64;
const MAX_PATHS = SaLimits.TABLE_BYTES / PathRecord.byteLength;
const MULTICAST_GID_BYTE = 0xff;

/** A query's record and which components of it are given. */
export interface PathQuery {
  readonly view: DataView;
  readonly at: number;
  readonly maskHi: number;
  readonly maskLo: number;
  /** Paths wanted between two ports, if the query does not say: one for a Get. */
  readonly pathsMax: number;
}

export interface PathAnswer {
  readonly status: number;
  readonly records: DataView[];
}

interface Way {
  mtu: number;
  rateRank: number;
}

const failed = (status: number): PathAnswer => ({ status, records: [] });
const has = (query: PathQuery, bit: number): boolean => hasComponent(query.maskHi, query.maskLo, bit);

export class PathFinder {
  readonly #subnet: Subnet;
  readonly #groups: GroupTable;
  readonly #settings: Settings;
  readonly #partitions: Partitions;
  readonly #levels: ServiceLevels;

  constructor(subnet: Subnet, groups: GroupTable, settings: Settings, partitions: Partitions, levels: ServiceLevels) {
    this.#subnet = subnet;
    this.#groups = groups;
    this.#settings = settings;
    this.#partitions = partitions;
    this.#levels = levels;
  }

  /** All paths that fit the query. */
  find(query: PathQuery): PathAnswer {
    const { view, at } = query;
    if (has(query, C.RAW_TRAFFIC) && PathRecord.rawTraffic.get(view, at) !== 0) return failed(MadStatus.OK);
    const sources = this.#endPorts(query, C.SGID, PathRecord.sgid.get(view, at), C.SLID, PathRecord.slid.get(view, at));
    if (sources === undefined) return failed(SaStatus.REQ_INVALID_GID);
    if (this.#isMulticast(query)) return this.#findMulticast(query, sources);
    const targets = this.#endPorts(query, C.DGID, PathRecord.dgid.get(view, at), C.DLID, PathRecord.dlid.get(view, at));
    if (targets === undefined) return failed(SaStatus.REQ_INVALID_GID);
    const perPair = Math.min(1 << this.#settings.lmc, pathsWanted(query));
    if (sources.length * targets.length * perPair > MAX_PATHS) return failed(SaStatus.NO_RESOURCES);
    const records: DataView[] = [];
    for (const source of sources) {
      for (const target of targets) {
        for (const [slid, dlid] of lidPairs(query, source, target)) {
          const record = this.#build(query, source, target, slid, dlid);
          if (record !== undefined) records.push(record);
        }
      }
    }
    return { status: MadStatus.OK, records };
  }

  /** Switches and cables that a path of `find` goes through: what may fail. A cable is known by the port that is left by. */
  through(record: DataView): Set<object> {
    const through = new Set<object>();
    const source = this.#subnet.byLid.get(PathRecord.slid.get(record, 0));
    const target = this.#subnet.byLid.get(PathRecord.dlid.get(record, 0));
    if (source !== undefined && target !== undefined) this.#trace(source, target, PathRecord.dlid.get(record, 0), through);
    return through;
  }

  /** Port with this GID: subnet prefix or link-local prefix and a port GUID. */
  portOfGid(gid: Uint8Array): SubnetPort | undefined {
    const view = new DataView(gid.buffer, gid.byteOffset, gid.byteLength);
    const prefix = view.getBigUint64(0);
    if (prefix !== this.#settings.gidPrefix && prefix !== DEFAULT_GID_PREFIX) return undefined;
    return this.#subnet.findPort(view.getBigUint64(8));
  }

  /** All end ports of the subnet. */
  get endPorts(): Iterable<SubnetPort> {
    return this.#subnet.byGuid.values();
  }

  /** The ports one side of the query names; all if it names none, undefined if it names a GID that is not here. */
  #endPorts(query: PathQuery, gidBit: number, gid: Uint8Array, lidBit: number, lid: number): SubnetPort[] | undefined {
    const byLid = has(query, lidBit) ? this.#subnet.byLid.get(lid) : undefined;
    if (has(query, gidBit) && gid[0] !== MULTICAST_GID_BYTE) {
      const port = this.portOfGid(gid);
      if (port === undefined) return undefined;
      return !has(query, lidBit) || byLid === port ? [port] : [];
    }
    if (has(query, lidBit)) return byLid === undefined ? [] : [byLid];
    return [...this.#subnet.byGuid.values()];
  }

  #build(query: PathQuery, source: SubnetPort, target: SubnetPort, slid: number, dlid: number): DataView | undefined {
    if (source.lid === 0 || target.lid === 0) return undefined;
    const { view, at } = query;
    const asked = has(query, C.P_KEY) ? PathRecord.pkey.get(view, at) : undefined;
    const pkey = this.#partitions.sharedKey(source, target, asked);
    const sl = this.#levels.levelFor(...serviceOf(query)) ?? this.#partitions.slOf(pkey);
    if (pkey === 0 || (has(query, C.SL) && PathRecord.sl.get(view, at) !== sl)) return undefined;
    const way = this.#trace(source, target, dlid);
    if (way === undefined) return undefined;
    const record = newRecord(PathRecord.byteLength);
    if (!this.#putLimits(query, way, this.#settings.subnetTimeout, record)) return undefined;
    this.#putGid(record, PathRecord.dgid.offset, target.guid);
    this.#putGid(record, PathRecord.sgid.offset, source.guid);
    // a port asked for by a further GUID of its answers to that name
    if (has(query, C.DGID)) record.setBigUint64(PathRecord.dgid.offset + 8, view.getBigUint64(at + PathRecord.dgid.offset + 8));
    if (has(query, C.SGID)) record.setBigUint64(PathRecord.sgid.offset + 8, view.getBigUint64(at + PathRecord.sgid.offset + 8));
    PathRecord.dlid.set(record, 0, dlid);
    PathRecord.slid.set(record, 0, slid);
    putCommon(query, record);
    PathRecord.pkey.set(record, 0, pkey);
    PathRecord.sl.set(record, 0, sl);
    return record;
  }

  /** MTU, rate and lifetime as the selectors want them; false if they ask for the impossible. */
  #putLimits({ view, at, maskHi, maskLo }: PathQuery, way: Way, lifeTime: number, record: DataView): boolean {
    const r = PathRecord;
    const selector = (bit: number, value: number): number => (hasComponent(maskHi, maskLo, bit) ? value : Selector.BEST);
    const mtu = choose(selector(C.MTU_SELECTOR, r.mtuSelector.get(view, at)), r.mtu.get(view, at), way.mtu, LOWEST_MTU);
    const wantedRate = rateRank(r.rate.get(view, at));
    const rate = choose(selector(C.RATE_SELECTOR, r.rateSelector.get(view, at)), wantedRate, way.rateRank, 0);
    const lifeSelector = selector(C.LIFE_TIME_SELECTOR, r.lifeTimeSelector.get(view, at));
    const life = chooseLifeTime(lifeSelector, r.lifeTime.get(view, at), lifeTime);
    if (mtu === undefined || rate === undefined || life === undefined) return false;
    r.mtuSelector.set(record, 0, Selector.EXACTLY);
    r.mtu.set(record, 0, mtu);
    r.rateSelector.set(record, 0, Selector.EXACTLY);
    r.rate.set(record, 0, rateAt(rate));
    r.lifeTimeSelector.set(record, 0, Selector.EXACTLY);
    r.lifeTime.set(record, 0, life);
    return true;
  }

  #putGid(record: DataView, at: number, guid: bigint): void {
    record.setBigUint64(at, this.#settings.gidPrefix);
    record.setBigUint64(at + 8, guid);
  }

  /** Follows the forwarding tables and collects the smallest MTU and rate. */
  #trace(source: SubnetPort, target: SubnetPort, dlid: number, through?: Set<object>): Way | undefined {
    const way: Way = { mtu: PortInfo.neighborMtu.get(source.info, 0), rateRank: linkRateRank(source.info) };
    if (source === target) return way;
    let node: SubnetNode = source.node;
    let out: SubnetPort | undefined = node.isSwitch ? this.#egress(node, dlid) : source;
    for (let hops = 0; hops < MAX_HOPS && out?.peer !== undefined; hops++) {
      through?.add(out);
      way.mtu = Math.min(way.mtu, PortInfo.neighborMtu.get(out.info, 0));
      way.rateRank = Math.min(way.rateRank, linkRateRank(out.info));
      if (out.peer === target) return way;
      node = out.peer.node;
      // a switch's port 0 is reached with the switch
      if (node === target.node && target.number === 0) return way;
      through?.add(node);
      out = this.#egress(node, dlid);
    }
    return undefined;
  }

  #egress(node: SubnetNode, dlid: number): SubnetPort | undefined {
    const number = node.switch?.portOf(dlid) ?? 0;
    return number === 0 ? undefined : node.ports[number];
  }

  // --- multicast destinations

  #isMulticast(query: PathQuery): boolean {
    if (has(query, C.DGID)) return PathRecord.dgid.get(query.view, query.at)[0] === MULTICAST_GID_BYTE;
    return has(query, C.DLID) && isMulticastLid(PathRecord.dlid.get(query.view, query.at));
  }

  /** The "path" to a group: its own parameters (15.2.5.16, multicast). */
  #findMulticast(query: PathQuery, sources: readonly SubnetPort[]): PathAnswer {
    const { view, at } = query;
    const group = has(query, C.DGID)
      ? this.#groups.find(PathRecord.dgid.get(view, at))
      : this.#groups.findByMlid(PathRecord.dlid.get(view, at));
    const source = sources[0];
    if (group === undefined || source === undefined) return failed(MadStatus.OK);
    if (has(query, C.DLID) && group.mlid !== PathRecord.dlid.get(view, at)) return failed(MadStatus.OK);
    const isOtherPartition = has(query, C.P_KEY) && pkeyBase(PathRecord.pkey.get(view, at)) !== pkeyBase(group.pkey);
    const isOtherLevel = has(query, C.SL) && PathRecord.sl.get(view, at) !== group.sl;
    if (isOtherPartition || isOtherLevel || this.#partitions.keyIn(source, group.pkey) === 0) return failed(MadStatus.OK);
    const record = newRecord(PathRecord.byteLength);
    const way = { mtu: group.mtu, rateRank: rateRank(group.rate) };
    if (!this.#putLimits(query, way, group.lifeTime, record)) return failed(MadStatus.OK);
    PathRecord.dgid.set(record, 0, group.mgid);
    PathRecord.dlid.set(record, 0, group.mlid);
    this.#putGid(record, PathRecord.sgid.offset, source.guid);
    PathRecord.slid.set(record, 0, source.lid);
    putCommon(query, record);
    PathRecord.flowLabel.set(record, 0, group.flowLabel);
    PathRecord.trafficClass.set(record, 0, group.trafficClass);
    PathRecord.hopLimit.set(record, 0, group.hopLimit);
    PathRecord.sl.set(record, 0, group.sl);
    PathRecord.pkey.set(record, 0, group.pkey);
    return { status: MadStatus.OK, records: [record] };
  }
}

/**
 * Paths asked for between two ports: NumbPath, or what the method means. A NumbPath of 0 says nothing: OpenSM answers with it, and a guest's IPoIB
 * asks again with what it was answered.
 */
function pathsWanted(query: PathQuery): number {
  const numbPath = has(query, C.NUMB_PATH) ? PathRecord.numbPath.get(query.view, query.at) : 0;
  return numbPath === 0 ? query.pathsMax : Math.min(numbPath, query.pathsMax);
}

/**
 * SLID and DLID of each path between two ports: the LIDs that the query leaves open side by side, so every path has other ones while there are
 * any, and is the way back of another.
 */
function lidPairs(query: PathQuery, source: SubnetPort, target: SubnetPort): [number, number][] {
  const { view, at } = query;
  const slids = has(query, C.SLID) ? [PathRecord.slid.get(view, at)] : lidsOf(source);
  const dlids = has(query, C.DLID) ? [PathRecord.dlid.get(view, at)] : lidsOf(target);
  const count = Math.min(Math.max(slids.length, dlids.length), pathsWanted(query));
  return Array.from({ length: count }, (_, i) => [slids[i % slids.length] ?? 0, dlids[i % dlids.length] ?? 0]);
}

const lidsOf = ({ lid, lidCount }: SubnetPort): number[] => Array.from({ length: lidCount }, (_, i) => lid + i);

/** Service and QoS class that the query names. */
function serviceOf(query: PathQuery): [serviceId: bigint | undefined, qosClass: number | undefined] {
  const { view, at } = query;
  const hasService = has(query, C.SERVICE_ID_HI) && has(query, C.SERVICE_ID_LO);
  return [
    hasService ? PathRecord.serviceId.getBig(view, at) : undefined,
    has(query, C.QOS_CLASS) ? PathRecord.qosClass.get(view, at) : undefined,
  ];
}

/** What does not depend on the way; components that only label the path come back as asked. */
function putCommon(query: PathQuery, record: DataView): void {
  const { view, at } = query;
  PathRecord.reversible.set(record, 0, 1);
  PathRecord.numbPath.set(record, 0, 1);
  if (has(query, C.SERVICE_ID_HI)) PathRecord.serviceId.hi.set(record, 0, PathRecord.serviceId.hi.get(view, at));
  if (has(query, C.SERVICE_ID_LO)) PathRecord.serviceId.lo.set(record, 0, PathRecord.serviceId.lo.get(view, at));
  if (has(query, C.FLOW_LABEL)) PathRecord.flowLabel.set(record, 0, PathRecord.flowLabel.get(view, at));
  if (has(query, C.TRAFFIC_CLASS)) PathRecord.trafficClass.set(record, 0, PathRecord.trafficClass.get(view, at));
  if (has(query, C.QOS_CLASS)) PathRecord.qosClass.set(record, 0, PathRecord.qosClass.get(view, at));
}
