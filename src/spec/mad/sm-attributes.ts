// Attributes of the subnet management class. IBA vol 1, 14.2.5; the section stands beside each. Offsets count from the
// attribute's first byte.

import { be16, be32, bits, bits8, bits16, bytes, half64, layout, u8 } from "../../base/layout.ts";

/** NodeDescription (14.2.5.2): a string padded with zeros. */
export const NODE_DESCRIPTION_BYTES = 64;

/** NodeInfo (14.2.5.3). */
export const NodeInfo = layout("NodeInfo", 40, {
  baseVersion: u8(0),
  classVersion: u8(1),
  nodeType: u8(2),
  portCount: u8(3),
  systemImageGuid: half64(4),
  nodeGuid: half64(12),
  portGuid: half64(20),
  partitionCap: be16(28),
  deviceId: be16(30),
  revision: be32(32),
  localPort: u8(36),
  vendorId: bits(36, 23, 0),
});

/** SwitchInfo (14.2.5.4). */
export const SwitchInfo = layout("SwitchInfo", 20, {
  linearFdbCap: be16(0),
  randomFdbCap: be16(2),
  multicastFdbCap: be16(4),
  linearFdbTop: be16(6),
  defaultPort: u8(8),
  defaultMulticastPrimaryPort: u8(9),
  defaultMulticastNotPrimaryPort: u8(10),
  lifeTime: bits8(11, 7, 3),
  portStateChange: bits8(11, 2, 2),
  optimizedSlToVl: bits8(11, 1, 0),
  lidsPerPort: be16(12),
  partitionEnforcementCap: be16(14),
  inboundEnforcementCap: bits8(16, 7, 7),
  outboundEnforcementCap: bits8(16, 6, 6),
  filterRawInboundCap: bits8(16, 5, 5),
  filterRawOutboundCap: bits8(16, 4, 4),
  enhancedPort0: bits8(16, 3, 3),
  multicastFdbTop: be16(18),
});

/** PortInfo (14.2.5.6). */
export const PortInfo = layout("PortInfo", 64, {
  mkey: half64(0),
  gidPrefix: half64(8),
  lid: be16(16),
  smLid: be16(18),
  capabilityMask: be32(20),
  diagCode: be16(24),
  mkeyLeasePeriod: be16(26),
  localPort: u8(28),
  linkWidthEnabled: u8(29),
  linkWidthSupported: u8(30),
  linkWidthActive: u8(31),
  linkSpeedSupported: bits8(32, 7, 4),
  portState: bits8(32, 3, 0),
  physState: bits8(33, 7, 4),
  linkDownDefault: bits8(33, 3, 0),
  mkeyProtect: bits8(34, 7, 6),
  lmc: bits8(34, 2, 0),
  linkSpeedActive: bits8(35, 7, 4),
  linkSpeedEnabled: bits8(35, 3, 0),
  neighborMtu: bits8(36, 7, 4),
  masterSmSl: bits8(36, 3, 0),
  vlCap: bits8(37, 7, 4),
  initType: bits8(37, 3, 0),
  vlHighLimit: u8(38),
  vlArbHighCap: u8(39),
  vlArbLowCap: u8(40),
  initTypeReply: bits8(41, 7, 4),
  mtuCap: bits8(41, 3, 0),
  vlStallCount: bits8(42, 7, 5),
  hoqLife: bits8(42, 4, 0),
  operationalVls: bits8(43, 7, 4),
  partitionEnforcementIn: bits8(43, 3, 3),
  partitionEnforcementOut: bits8(43, 2, 2),
  filterRawIn: bits8(43, 1, 1),
  filterRawOut: bits8(43, 0, 0),
  mkeyViolations: be16(44),
  pkeyViolations: be16(46),
  qkeyViolations: be16(48),
  guidCap: u8(50),
  clientReregister: bits8(51, 7, 7),
  multicastPkeyTrapSuppression: bits8(51, 6, 5),
  subnetTimeout: bits8(51, 4, 0),
  responseTime: bits8(52, 4, 0),
  localPhyErrors: bits8(53, 7, 4),
  overrunErrors: bits8(53, 3, 0),
  maxCreditHint: be16(54),
  linkRoundTripLatency: bits(56, 23, 0),
  capabilityMask2: be16(60),
  linkSpeedExtActive: bits8(62, 7, 4),
  linkSpeedExtSupported: bits8(62, 3, 0),
  linkSpeedExtEnabled: bits8(63, 4, 0),
});

/** SMInfo (14.2.5.13). */
export const SmInfo = layout("SMInfo", 21, {
  guid: half64(0),
  smKey: half64(8),
  activityCount: be32(16),
  priority: bits8(20, 7, 4),
  state: bits8(20, 3, 0),
});

/** Notice (13.4.8.2), generic form. The last 16 bytes exist only in SA reports. */
export const Notice = layout("Notice", 80, {
  isGeneric: bits8(0, 7, 7),
  type: bits8(0, 6, 0),
  producerType: bits(0, 23, 0),
  trapNumber: be16(4),
  issuerLid: be16(6),
  toggle: bits16(8, 15, 15),
  count: bits16(8, 14, 0),
  details: bytes(10, 54),
  issuerGid: bytes(64, 16),
});
export const NOTICE_DETAILS_AT = 10;

/** DataDetails of trap 128 (14.2.5.1): the switch whose link changed. */
export const NoticeLinkState = layout("Notice 128", 54, { lid: be16(0) });
/** DataDetails of traps 129, 130, 131. */
export const NoticeLinkErrors = layout("Notice 129-131", 54, { lid: be16(2), port: u8(4) });
/** DataDetails of trap 144. */
export const NoticeCapability = layout("Notice 144", 54, {
  lid: be16(2),
  localChanges: bits8(5, 0, 0),
  capabilityMask: be32(6),
  changeFlags: be16(10),
});
/** DataDetails of trap 256. */
export const NoticeBadMkey = layout("Notice 256", 54, {
  lid: be16(2),
  drSlid: be16(4),
  method: u8(6),
  attributeId: be16(8),
  attributeModifier: be32(10),
  mkey: half64(14),
  drPathTruncated: bits8(23, 7, 6),
  drHopCount: bits8(23, 5, 0),
  drReturnPath: bytes(24, 30),
});
/** DataDetails of traps 257 and 258. */
export const NoticeBadKey = layout("Notice 257-258", 54, {
  lid1: be16(2),
  lid2: be16(4),
  key: be32(6),
  sl: bits(10, 31, 28),
  qp1: bits(10, 23, 0),
  qp2: bits(14, 23, 0),
  gid1: bytes(18, 16),
  gid2: bytes(34, 16),
});
/** DataDetails of trap 259. */
export const NoticeBadPkeySwitch = layout("Notice 259", 54, {
  dataValid: be16(0),
  lid1: be16(2),
  lid2: be16(4),
  pkey: be16(6),
  sl: bits(8, 31, 28),
  qp1: bits(8, 23, 0),
  qp2: bits(12, 23, 0),
  gid1: bytes(16, 16),
  gid2: bytes(32, 16),
  switchLid: be16(48),
  port: u8(50),
});

/** SLtoVLMappingTable (14.2.5.8): 16 nibbles, SL 0 first. */
export const SL_TO_VL_BYTES = 8;

/** LedInfo (14.2.5.16). */
export const LedInfo = layout("LedInfo", 4, { mask: bits(0, 31, 31) });
