// Attributes of the performance management class, and ClassPortInfo, which every general class has. IBA vol 1, 13.4.8.1
// and 16.1.3 to 16.1.4. Offsets count from the attribute's first byte.

import { be16, be32, bits, bits8, bits16, bytes, half64, layout, u8 } from "../../base/layout.ts";

/** ClassPortInfo (13.4.8.1). */
export const ClassPortInfo = layout("ClassPortInfo", 72, {
  baseVersion: u8(0),
  classVersion: u8(1),
  capabilityMask: be16(2),
  capabilityMask2: bits(4, 31, 5),
  responseTime: bits(4, 4, 0),
  redirectGid: bytes(8, 16),
  redirectTrafficClass: bits(24, 31, 24),
  redirectSl: bits(24, 23, 20),
  redirectFlowLabel: bits(24, 19, 0),
  redirectLid: be16(28),
  redirectPkey: be16(30),
  redirectQp: bits(32, 23, 0),
  redirectQkey: be32(36),
  trapGid: bytes(40, 16),
  trapTrafficClass: bits(56, 31, 24),
  trapSl: bits(56, 23, 20),
  trapFlowLabel: bits(56, 19, 0),
  trapLid: be16(60),
  trapPkey: be16(62),
  trapHopLimit: bits(64, 31, 24),
  trapQp: bits(64, 23, 0),
  trapQkey: be32(68),
});

/** PortCounters (16.1.3.5). Each counter sticks at its highest value. */
export const PortCounters = layout("PortCounters", 44, {
  portSelect: u8(1),
  counterSelect: be16(2),
  symbolErrors: be16(4),
  linkErrorRecovery: u8(6),
  linkDowned: u8(7),
  rcvErrors: be16(8),
  rcvRemotePhysicalErrors: be16(10),
  rcvSwitchRelayErrors: be16(12),
  xmitDiscards: be16(14),
  xmitConstraintErrors: u8(16),
  rcvConstraintErrors: u8(17),
  counterSelect2: u8(18),
  localLinkIntegrityErrors: bits8(19, 7, 4),
  excessiveBufferOverrunErrors: bits8(19, 3, 0),
  vl15Dropped: be16(22),
  xmitData: be32(24),
  rcvData: be32(28),
  xmitPackets: be32(32),
  rcvPackets: be32(36),
  xmitWait: be32(40),
});

/** PortCountersExtended (16.1.4.11). */
export const PortCountersExtended = layout("PortCountersExtended", 72, {
  portSelect: u8(1),
  counterSelect: be16(2),
  xmitData: half64(8),
  rcvData: half64(16),
  xmitPackets: half64(24),
  rcvPackets: half64(32),
  unicastXmitPackets: half64(40),
  unicastRcvPackets: half64(48),
  multicastXmitPackets: half64(56),
  multicastRcvPackets: half64(64),
});

/** PortSamplesControl (16.1.3.2), the parts a port without sampling needs. */
export const PortSamplesControl = layout("PortSamplesControl", 64, {
  opcode: u8(0),
  portSelect: u8(1),
  tick: u8(2),
  counterWidth: bits8(3, 2, 0),
  counterMask0: bits8(4, 5, 3),
  sampleMechanisms: u8(10),
  sampleStatus: bits16(10, 1, 0),
  optionMask: half64(12),
  vendorMask: half64(20),
  sampleStart: be32(28),
  sampleInterval: be32(32),
  tag: be16(36),
  counterSelect0: be16(38),
});

/** PortExtendedSpeedsCounters (16.1.4), the parts that are not counters. */
export const ExtendedSpeedsCounters = layout("PortExtendedSpeedsCounters", 16, { portSelect: u8(1), counterSelect: half64(8) });
