// Component masks of SA queries: bit n of the mask says that the n-th component of the record is given. IBA vol 1, 15.2.1.2
// and the tables of 15.2.5; reserved components count too.

import { type AnyField, be16, be32, half64, u8 } from "../../base/layout.ts";
import { GUID_BLOCK } from "./numbers.ts";
import {
  GuidInfoRecord,
  INFORM_INFO_RECORD_INFO_AT,
  InformInfo,
  InformInfoRecord,
  LinearForwardingRecord,
  LinkRecord,
  McMemberRecord,
  MulticastForwardingRecord,
  NODE_RECORD_INFO_AT,
  NodeRecord,
  PathRecord,
  PKeyTableRecord,
  PORT_INFO_RECORD_INFO_AT,
  PortInfoRecord,
  ServiceRecord,
  SlToVlRecord,
  SM_INFO_RECORD_INFO_AT,
  SmInfoRecord,
  SwitchInfoRecord,
  VlArbitrationRecord,
} from "./sa-records.ts";
import { NodeInfo, PortInfo, SmInfo } from "./sm-attributes.ts";

/** One component: a field that begins `at` bytes into the record; undefined where the component is reserved. */
export type Component = { readonly field: AnyField; readonly at: number } | undefined;

const at = (offset: number, ...fields: (AnyField | undefined)[]): Component[] =>
  fields.map((field) => (field === undefined ? undefined : { field, at: offset }));

/** Bit numbers of PathRecord's mask (15.2.5.16). ServiceID has two. */
export const PathComponent = {
  SERVICE_ID_HI: 0,
  SERVICE_ID_LO: 1,
  DGID: 2,
  SGID: 3,
  DLID: 4,
  SLID: 5,
  RAW_TRAFFIC: 6,
  FLOW_LABEL: 8,
  HOP_LIMIT: 9,
  TRAFFIC_CLASS: 10,
  REVERSIBLE: 11,
  NUMB_PATH: 12,
  P_KEY: 13,
  QOS_CLASS: 14,
  SL: 15,
  MTU_SELECTOR: 16,
  MTU: 17,
  RATE_SELECTOR: 18,
  RATE: 19,
  LIFE_TIME_SELECTOR: 20,
  LIFE_TIME: 21,
  PREFERENCE: 22,
} as const;

/** Bit numbers of MultiPathRecord's mask (15.2.5.20). */
export const MultiPathComponent = {
  RAW_TRAFFIC: 0,
  FLOW_LABEL: 2,
  HOP_LIMIT: 3,
  TRAFFIC_CLASS: 4,
  REVERSIBLE: 5,
  NUMB_PATH: 6,
  P_KEY: 7,
  QOS_CLASS: 8,
  SL: 9,
  MTU_SELECTOR: 10,
  MTU: 11,
  RATE_SELECTOR: 12,
  RATE: 13,
  LIFE_TIME_SELECTOR: 14,
  LIFE_TIME: 15,
  SERVICE_ID_HI: 16,
  INDEPENDENCE: 17,
  SGID_COUNT: 19,
  DGID_COUNT: 20,
  SERVICE_ID_LO: 21,
} as const;

/** Bit numbers of MCMemberRecord's mask (15.2.5.17). */
export const McComponent = {
  MGID: 0,
  PORT_GID: 1,
  Q_KEY: 2,
  MLID: 3,
  MTU_SELECTOR: 4,
  MTU: 5,
  TRAFFIC_CLASS: 6,
  P_KEY: 7,
  RATE_SELECTOR: 8,
  RATE: 9,
  LIFE_TIME_SELECTOR: 10,
  LIFE_TIME: 11,
  SL: 12,
  FLOW_LABEL: 13,
  HOP_LIMIT: 14,
  SCOPE: 15,
  JOIN_STATE: 16,
  PROXY_JOIN: 17,
} as const;

/** Bit number of PortInfoRecord's CapabilityMask component. */
export const PORT_INFO_RECORD_CAPMASK = 7;

const r = PathRecord;
export const PATH_RECORD_COMPONENTS: readonly Component[] = [
  { field: r.serviceId.hi, at: 0 },
  { field: r.serviceId.lo, at: 0 },
  ...at(0, r.dgid, r.sgid, r.dlid, r.slid, r.rawTraffic, undefined, r.flowLabel, r.hopLimit, r.trafficClass),
  ...at(0, r.reversible, r.numbPath, r.pkey, r.qosClass, r.sl, r.mtuSelector, r.mtu, r.rateSelector, r.rate),
  ...at(0, r.lifeTimeSelector, r.lifeTime, r.preference),
];

const m = McMemberRecord;
export const MC_MEMBER_COMPONENTS: readonly Component[] = [
  ...at(0, m.mgid, m.portGid, m.qkey, m.mlid, m.mtuSelector, m.mtu, m.trafficClass, m.pkey, m.rateSelector, m.rate),
  ...at(0, m.lifeTimeSelector, m.lifeTime, m.sl, m.flowLabel, m.hopLimit, m.scope, m.joinState, m.proxyJoin),
];

const n = NodeInfo;
export const NODE_RECORD_COMPONENTS: readonly Component[] = [
  ...at(0, NodeRecord.lid, undefined),
  ...at(NODE_RECORD_INFO_AT, n.baseVersion, n.classVersion, n.nodeType, n.portCount, n.systemImageGuid, n.nodeGuid),
  ...at(NODE_RECORD_INFO_AT, n.portGuid, n.partitionCap, n.deviceId, n.revision, n.localPort, n.vendorId),
  ...at(0, NodeRecord.description),
];

const p = PortInfo;
export const PORT_INFO_RECORD_COMPONENTS: readonly Component[] = [
  ...at(0, PortInfoRecord.lid, PortInfoRecord.port, PortInfoRecord.options),
  ...at(PORT_INFO_RECORD_INFO_AT, p.mkey, p.gidPrefix, p.lid, p.smLid, p.capabilityMask, p.diagCode, p.mkeyLeasePeriod),
  ...at(PORT_INFO_RECORD_INFO_AT, p.localPort, p.linkWidthEnabled, p.linkWidthSupported, p.linkWidthActive),
  ...at(PORT_INFO_RECORD_INFO_AT, p.linkSpeedSupported, p.portState, p.physState, p.linkDownDefault, p.mkeyProtect),
  ...at(PORT_INFO_RECORD_INFO_AT, undefined, p.lmc, p.linkSpeedActive, p.linkSpeedEnabled, p.neighborMtu, p.masterSmSl),
  ...at(PORT_INFO_RECORD_INFO_AT, p.vlCap, p.initType, p.vlHighLimit, p.vlArbHighCap, p.vlArbLowCap, p.initTypeReply),
  ...at(PORT_INFO_RECORD_INFO_AT, p.mtuCap, p.vlStallCount, p.hoqLife, p.operationalVls, p.partitionEnforcementIn),
  ...at(PORT_INFO_RECORD_INFO_AT, p.partitionEnforcementOut, p.filterRawIn, p.filterRawOut, p.mkeyViolations),
  ...at(PORT_INFO_RECORD_INFO_AT, p.pkeyViolations, p.qkeyViolations, p.guidCap, p.clientReregister, undefined),
  ...at(PORT_INFO_RECORD_INFO_AT, p.subnetTimeout, undefined, p.responseTime, p.localPhyErrors, p.overrunErrors),
  ...at(PORT_INFO_RECORD_INFO_AT, p.maxCreditHint, undefined, p.linkRoundTripLatency, p.capabilityMask2),
  ...at(PORT_INFO_RECORD_INFO_AT, p.linkSpeedExtActive, p.linkSpeedExtSupported, undefined, p.linkSpeedExtEnabled),
];

export const SWITCH_INFO_RECORD_COMPONENTS: readonly Component[] = at(0, SwitchInfoRecord.lid, undefined);

const s = SmInfo;
export const SM_INFO_RECORD_COMPONENTS: readonly Component[] = [
  ...at(0, SmInfoRecord.lid, undefined),
  ...at(SM_INFO_RECORD_INFO_AT, s.guid, s.smKey, s.activityCount, s.priority, s.state),
];

export const LINEAR_FORWARDING_RECORD_COMPONENTS: readonly Component[] = at(
  0,
  LinearForwardingRecord.lid,
  LinearForwardingRecord.block,
);

const f = MulticastForwardingRecord;
export const MULTICAST_FORWARDING_RECORD_COMPONENTS: readonly Component[] = at(0, f.lid, f.position, undefined, f.block);

export const SL_TO_VL_RECORD_COMPONENTS: readonly Component[] = at(
  0,
  SlToVlRecord.lid,
  SlToVlRecord.inputPort,
  SlToVlRecord.outputPort,
);
export const VL_ARBITRATION_RECORD_COMPONENTS: readonly Component[] = at(
  0,
  VlArbitrationRecord.lid,
  VlArbitrationRecord.port,
  VlArbitrationRecord.block,
);
export const P_KEY_TABLE_RECORD_COMPONENTS: readonly Component[] = at(
  0,
  PKeyTableRecord.lid,
  PKeyTableRecord.block,
  PKeyTableRecord.port,
);

/** Bit number of the first of the eight GUIDs of a GUIDInfoRecord. */
export const GUID_INFO_GUIDS_BIT = 4;
export const GUID_INFO_RECORD_COMPONENTS: readonly Component[] = [
  ...at(0, GuidInfoRecord.lid, GuidInfoRecord.block, undefined, undefined),
  ...at(GuidInfoRecord.guids.offset, ...Array.from({ length: GUID_BLOCK }, (_, n) => half64(n * 8))),
];

const l = LinkRecord;
export const LINK_RECORD_COMPONENTS: readonly Component[] = at(0, l.fromLid, l.fromPort, l.toPort, l.toLid);

const v = ServiceRecord;
const word = (count: number, first: number, bytesEach: number, make: (offset: number) => AnyField): AnyField[] =>
  Array.from({ length: count }, (_, i) => make(first + i * bytesEach));
export const SERVICE_RECORD_COMPONENTS: readonly Component[] = [
  ...at(0, v.id, v.gid, v.pkey, undefined, v.lease, v.key, v.name),
  ...at(112, ...word(16, 0, 1, u8), ...word(8, 16, 2, be16), ...word(4, 32, 4, be32)),
];

const i = InformInfo;
export const INFORM_INFO_RECORD_COMPONENTS: readonly Component[] = [
  ...at(0, InformInfoRecord.subscriberGid, InformInfoRecord.enumeration, undefined),
  ...at(INFORM_INFO_RECORD_INFO_AT, i.gid, i.lidRangeBegin, i.lidRangeEnd, undefined, i.isGeneric, i.subscribe, i.type),
  ...at(INFORM_INFO_RECORD_INFO_AT, i.trapNumber, i.qpn, undefined, i.responseTime, undefined, i.producerType),
];
