// MultiPathRecord: paths between any of some sources and any of some destinations. IBA vol 1, 15.2.5.20, 15.4.10. It is PathRecord's search for
// every pair; with an independence selector, those paths come first that have least in common with the ones before them.

import { bytesOf } from "../../mad/mad.ts";
import { MultiPathComponent as M, PathComponent as P } from "../../spec/mad/components.ts";
import { MadStatus, SaStatus } from "../../spec/mad/numbers.ts";
import { GID_BYTES, MultiPathRecord, PathRecord } from "../../spec/mad/sa-records.ts";
import type { PathAnswer, PathFinder, PathQuery } from "./paths.ts";
import { hasComponent, newRecord } from "./query.ts";

/** Pairs of ports, and paths, that are looked at for one request. */
const MAX_CANDIDATES = 1024;
/** Paths lead from port to port; of groups there are PathRecords. */
const MULTICAST_GID_BYTE = 0xff;
/** NumbPath has 7 bits. */
const MAX_PATHS = 127;

/** Longest request: 255 GIDs of sources and as many of destinations. */
export const MULTI_PATH_BYTES_MAX: number = MultiPathRecord.byteLength + 2 * 255 * GID_BYTES;

/** Components that say the same in both records, and numbers in the mask of each. */
const COMMON = [
  [M.RAW_TRAFFIC, P.RAW_TRAFFIC, "rawTraffic"],
  [M.FLOW_LABEL, P.FLOW_LABEL, "flowLabel"],
  [M.HOP_LIMIT, P.HOP_LIMIT, "hopLimit"],
  [M.TRAFFIC_CLASS, P.TRAFFIC_CLASS, "trafficClass"],
  [M.REVERSIBLE, P.REVERSIBLE, "reversible"],
  [M.P_KEY, P.P_KEY, "pkey"],
  [M.QOS_CLASS, P.QOS_CLASS, "qosClass"],
  [M.SL, P.SL, "sl"],
  [M.MTU_SELECTOR, P.MTU_SELECTOR, "mtuSelector"],
  [M.MTU, P.MTU, "mtu"],
  [M.RATE_SELECTOR, P.RATE_SELECTOR, "rateSelector"],
  [M.RATE, P.RATE, "rate"],
  [M.LIFE_TIME_SELECTOR, P.LIFE_TIME_SELECTOR, "lifeTimeSelector"],
  [M.LIFE_TIME, P.LIFE_TIME, "lifeTime"],
] as const;

const failed = (status: number): PathAnswer => ({ status, records: [] });

/**
 * Answers SubnAdmGetMulti.
 * @param data the MultiPathRecord with its GIDs, as long as it came
 */
export function findMultiPaths(paths: PathFinder, data: Uint8Array, maskHi: number, maskLo: number): PathAnswer {
  if (data.length < MultiPathRecord.byteLength) return failed(SaStatus.REQ_INVALID);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const has = (bit: number): boolean => hasComponent(maskHi, maskLo, bit);
  if (!has(M.SGID_COUNT) || !has(M.DGID_COUNT)) return failed(SaStatus.REQ_INSUFFICIENT_COMPONENTS);
  const sgidCount = MultiPathRecord.sgidCount.get(view, 0);
  const dgidCount = MultiPathRecord.dgidCount.get(view, 0);
  const isWhole = data.length >= MultiPathRecord.byteLength + (sgidCount + dgidCount) * GID_BYTES;
  if (sgidCount === 0 || dgidCount === 0 || !isWhole) return failed(SaStatus.REQ_INVALID);
  if (sgidCount * dgidCount > MAX_CANDIDATES) return failed(SaStatus.NO_RESOURCES);
  for (let i = 0; i < sgidCount + dgidCount; i++)
    if (gidAt(data, i)[0] === MULTICAST_GID_BYTE) return failed(SaStatus.REQ_INVALID_GID);
  // as in a PathRecord, 0 says nothing
  const numbPath = (has(M.NUMB_PATH) && MultiPathRecord.numbPath.get(view, 0)) || MAX_PATHS;
  const wantsIndependence = has(M.INDEPENDENCE) && MultiPathRecord.independence.get(view, 0) !== 0;
  const query = pathQuery(view, has, numbPath);
  const candidates: DataView[] = [];
  for (let s = 0; s < sgidCount; s++) {
    for (let d = 0; d < dgidCount; d++) {
      PathRecord.sgid.set(query.view, 0, gidAt(data, s));
      PathRecord.dgid.set(query.view, 0, gidAt(data, sgidCount + d));
      const { status, records } = paths.find(query);
      if (status !== MadStatus.OK) return failed(status);
      candidates.push(...records);
      if (candidates.length > MAX_CANDIDATES) return failed(SaStatus.NO_RESOURCES);
    }
  }
  const records = wantsIndependence ? mostIndependent(paths, candidates, numbPath) : candidates.slice(0, numbPath);
  return { status: MadStatus.OK, records };
}

function gidAt(data: Uint8Array, index: number): Uint8Array {
  const at = MultiPathRecord.byteLength + index * GID_BYTES;
  return data.subarray(at, at + GID_BYTES);
}

/** The PathRecord query between one pair, without its GIDs. */
function pathQuery(view: DataView, has: (bit: number) => boolean, numbPath: number): PathQuery {
  const record = newRecord(PathRecord.byteLength);
  let maskLo = (1 << P.SGID) | (1 << P.DGID);
  for (const [bit, pathBit, name] of COMMON) {
    if (!has(bit)) continue;
    maskLo |= 1 << pathBit;
    PathRecord[name].set(record, 0, MultiPathRecord[name].get(view, 0));
  }
  if (has(M.SERVICE_ID_HI) && has(M.SERVICE_ID_LO)) {
    maskLo |= (1 << P.SERVICE_ID_HI) | (1 << P.SERVICE_ID_LO);
    bytesOf(record)[0] = MultiPathRecord.serviceIdHi.get(view, 0);
    bytesOf(record).set(MultiPathRecord.serviceIdLo.get(view, 0), 1);
  }
  return { view: record, at: 0, maskHi: 0, maskLo, pathsMax: numbPath };
}

/** Up to `count` paths, each next one the one that shares least with those chosen before it. */
function mostIndependent(paths: PathFinder, candidates: readonly DataView[], count: number): DataView[] {
  const left = candidates.map((record) => ({ record, through: paths.through(record), shared: 0 }));
  const chosen: DataView[] = [];
  while (chosen.length < count && left.length > 0) {
    let best = 0;
    left.forEach(({ shared }, i) => {
      if (shared < (left[best]?.shared ?? 0)) best = i;
    });
    const [next] = left.splice(best, 1);
    if (next === undefined) break;
    chosen.push(next.record);
    for (const other of left) for (const part of next.through) if (other.through.has(part)) other.shared++;
  }
  return chosen;
}
