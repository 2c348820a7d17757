// Records of the subnet administration. IBA vol 1, 15.2.5; the section stands beside each. A record that embeds a subnet
// management attribute names the offset where the attribute begins.

import { be16, be32, bits, bits8, bits16, bytes, half64, layout, u8 } from "../../base/layout.ts";

/** PathRecord (15.2.5.16). */
export const PathRecord = layout("PathRecord", 64, {
  serviceId: half64(0),
  dgid: bytes(8, 16),
  sgid: bytes(24, 16),
  dlid: be16(40),
  slid: be16(42),
  rawTraffic: bits(44, 31, 31),
  flowLabel: bits(44, 27, 8),
  hopLimit: bits(44, 7, 0),
  trafficClass: u8(48),
  reversible: bits8(49, 7, 7),
  numbPath: bits8(49, 6, 0),
  pkey: be16(50),
  qosClass: bits16(52, 15, 4),
  sl: bits16(52, 3, 0),
  mtuSelector: bits8(54, 7, 6),
  mtu: bits8(54, 5, 0),
  rateSelector: bits8(55, 7, 6),
  rate: bits8(55, 5, 0),
  lifeTimeSelector: bits8(56, 7, 6),
  lifeTime: bits8(56, 5, 0),
  preference: u8(57),
});

/** MultiPathRecord (15.2.5.20) up to its GIDs: SGIDCount of sources, then DGIDCount of destinations. */
export const MultiPathRecord = layout("MultiPathRecord", 24, {
  rawTraffic: bits(0, 31, 31),
  flowLabel: bits(0, 27, 8),
  hopLimit: bits(0, 7, 0),
  trafficClass: u8(4),
  reversible: bits8(5, 7, 7),
  numbPath: bits8(5, 6, 0),
  pkey: be16(6),
  qosClass: bits16(8, 15, 4),
  sl: bits16(8, 3, 0),
  mtuSelector: bits8(10, 7, 6),
  mtu: bits8(10, 5, 0),
  rateSelector: bits8(11, 7, 6),
  rate: bits8(11, 5, 0),
  lifeTimeSelector: bits8(12, 7, 6),
  lifeTime: bits8(12, 5, 0),
  serviceIdHi: u8(13),
  independence: bits8(14, 7, 6),
  sgidCount: u8(15),
  dgidCount: u8(16),
  serviceIdLo: bytes(17, 7),
});
export const GID_BYTES = 16;

/** MCMemberRecord (15.2.5.17). */
export const McMemberRecord = layout("MCMemberRecord", 52, {
  mgid: bytes(0, 16),
  portGid: bytes(16, 16),
  qkey: be32(32),
  mlid: be16(36),
  mtuSelector: bits8(38, 7, 6),
  mtu: bits8(38, 5, 0),
  trafficClass: u8(39),
  pkey: be16(40),
  rateSelector: bits8(42, 7, 6),
  rate: bits8(42, 5, 0),
  lifeTimeSelector: bits8(43, 7, 6),
  lifeTime: bits8(43, 5, 0),
  sl: bits(44, 31, 28),
  flowLabel: bits(44, 27, 8),
  hopLimit: bits(44, 7, 0),
  scope: bits8(48, 7, 4),
  joinState: bits8(48, 3, 0),
  proxyJoin: bits8(49, 7, 7),
});

/** NodeRecord (15.2.5.2): NodeInfo at 4, NodeDescription at 44. */
export const NodeRecord = layout("NodeRecord", 108, { lid: be16(0), description: bytes(44, 64) });
export const NODE_RECORD_INFO_AT = 4;

/** PortInfoRecord (15.2.5.3): PortInfo at 4. */
export const PortInfoRecord = layout("PortInfoRecord", 68, { lid: be16(0), port: u8(2), options: u8(3) });
export const PORT_INFO_RECORD_INFO_AT = 4;

/** SwitchInfoRecord (15.2.5.5): SwitchInfo at 4. */
export const SwitchInfoRecord = layout("SwitchInfoRecord", 24, { lid: be16(0) });
export const SWITCH_INFO_RECORD_INFO_AT = 4;

/** SMInfoRecord (15.2.5.10): SMInfo at 4. */
export const SmInfoRecord = layout("SMInfoRecord", 25, { lid: be16(0) });
export const SM_INFO_RECORD_INFO_AT = 4;

/** LinearForwardingTableRecord (15.2.5.6). */
export const LinearForwardingRecord = layout("LinearForwardingTableRecord", 72, {
  lid: be16(0),
  block: be16(2),
  data: bytes(8, 64),
});

/** MulticastForwardingTableRecord (15.2.5.8). */
export const MulticastForwardingRecord = layout("MulticastForwardingTableRecord", 72, {
  lid: be16(0),
  position: bits16(2, 15, 12),
  block: bits16(2, 8, 0),
  data: bytes(8, 64),
});

/** SLtoVLMappingTableRecord (15.2.5.4). */
export const SlToVlRecord = layout("SLtoVLMappingTableRecord", 16, {
  lid: be16(0),
  inputPort: u8(2),
  outputPort: u8(3),
  table: bytes(8, 8),
});

/** VLArbitrationTableRecord (15.2.5.9). */
export const VlArbitrationRecord = layout("VLArbitrationTableRecord", 72, {
  lid: be16(0),
  port: u8(2),
  block: u8(3),
  table: bytes(8, 64),
});

/** P_KeyTableRecord (15.2.5.11). */
export const PKeyTableRecord = layout("P_KeyTableRecord", 72, { lid: be16(0), block: be16(2), port: u8(4), table: bytes(8, 64) });

/** GUIDInfoRecord (15.2.5.18). */
export const GuidInfoRecord = layout("GUIDInfoRecord", 72, { lid: be16(0), block: u8(2), guids: bytes(8, 64) });

/** LinkRecord (15.2.5.13). */
export const LinkRecord = layout("LinkRecord", 6, { fromLid: be16(0), fromPort: u8(2), toPort: u8(3), toLid: be16(4) });

/** ServiceRecord (15.2.5.14). */
export const ServiceRecord = layout("ServiceRecord", 176, {
  id: half64(0),
  gid: bytes(8, 16),
  pkey: be16(24),
  /** Seconds; all ones: for ever. */
  lease: be32(28),
  key: bytes(32, 16),
  name: bytes(48, 64),
  data: bytes(112, 64),
});

/** InformInfo (13.4.8.3), generic form. */
export const InformInfo = layout("InformInfo", 36, {
  gid: bytes(0, 16),
  lidRangeBegin: be16(16),
  lidRangeEnd: be16(18),
  isGeneric: u8(22),
  subscribe: u8(23),
  type: be16(24),
  trapNumber: be16(26),
  qpn: bits(28, 31, 8),
  responseTime: bits(28, 4, 0),
  producerType: bits(32, 23, 0),
});

/** InformInfoRecord (15.2.5.12): InformInfo at 24. */
export const InformInfoRecord = layout("InformInfoRecord", 60, { subscriberGid: bytes(0, 16), enumeration: be16(16) });
export const INFORM_INFO_RECORD_INFO_AT = 24;
