// Messages of the connection manager. IBA vol 1, 12.6; the section stands beside each. Offsets count from CM_DATA_AT. "Local" is
// always the sender of the message, "remote" its receiver. Annex A11: what RDMA applications that speak of IP addresses put first.

import { be16, be32, bits, bits8, bytes, half64, layout, u8 } from "../../base/layout.ts";

/** ClassVersion of the communication management class (16.7.1). */
export const CM_CLASS_VERSION = 2;
/** Where the message begins, after the common header. */
export const CM_DATA_AT = 24;

/** Attributes (16.7.2, table 243). */
export const CmAttribute = {
  CLASS_PORT_INFO: 0x0001,
  REQ: 0x0010,
  MRA: 0x0011,
  REJ: 0x0012,
  REP: 0x0013,
  RTU: 0x0014,
  DREQ: 0x0015,
  DREP: 0x0016,
  SIDR_REQ: 0x0017,
  SIDR_REP: 0x0018,
  LAP: 0x0019,
  APR: 0x001a,
} as const;

/** ConnectRequest (12.6.5). */
export const CmReq = layout("CM REQ", 232, {
  localCommId: be32(0),
  serviceId: half64(8),
  localCaGuid: half64(16),
  localQkey: be32(28),
  localQpn: bits(32, 31, 8),
  responderResources: u8(35),
  localEecn: bits(36, 31, 8),
  initiatorDepth: u8(39),
  remoteEecn: bits(40, 31, 8),
  /** Time in which the receiver should answer: 4.096 µs × 2^code, as all times here. */
  remoteResponseTimeout: bits8(43, 7, 3),
  transportType: bits8(43, 2, 1),
  flowControl: bits8(43, 0, 0),
  /** Where the receiver of this message shall begin to send, as in REP. */
  startingPsn: bits(44, 31, 8),
  /** Time in which the sender will answer. */
  localResponseTimeout: bits8(47, 7, 3),
  retryCount: bits8(47, 2, 0),
  pkey: be16(48),
  pathMtu: bits8(50, 7, 4),
  rdcExists: bits8(50, 3, 3),
  rnrRetryCount: bits8(50, 2, 0),
  maxCmRetries: bits8(51, 7, 4),
  srq: bits8(51, 3, 3),
  extendedTransportType: bits8(51, 2, 0),
  localLid: be16(52),
  remoteLid: be16(54),
  localGid: bytes(56, 16),
  remoteGid: bytes(72, 16),
  flowLabel: bits(88, 31, 12),
  packetRate: bits8(91, 5, 0),
  trafficClass: u8(92),
  hopLimit: u8(93),
  sl: bits8(94, 7, 4),
  subnetLocal: bits8(94, 3, 3),
  ackTimeout: bits8(95, 7, 3),
  alternateLocalLid: be16(96),
  alternateRemoteLid: be16(98),
  alternateLocalGid: bytes(100, 16),
  alternateRemoteGid: bytes(116, 16),
  alternateFlowLabel: bits(132, 31, 12),
  alternatePacketRate: bits8(135, 5, 0),
  alternateTrafficClass: u8(136),
  alternateHopLimit: u8(137),
  alternateSl: bits8(138, 7, 4),
  alternateSubnetLocal: bits8(138, 3, 3),
  alternateAckTimeout: bits8(139, 7, 3),
  privateData: bytes(140, 92),
});

/** Message receipt acknowledgment (12.6.6). */
export const CmMra = layout("CM MRA", 232, {
  localCommId: be32(0),
  remoteCommId: be32(4),
  /** A value of `CmMessage`. */
  message: bits8(8, 7, 6),
  serviceTimeout: bits8(9, 7, 3),
  privateData: bytes(10, 222),
});

/** Reject (12.6.7). */
export const CmRej = layout("CM REJ", 232, {
  localCommId: be32(0),
  remoteCommId: be32(4),
  /** A value of `CmMessage`. */
  message: bits8(8, 7, 6),
  infoLength: bits8(9, 7, 1),
  reason: be16(10),
  info: bytes(12, 72),
  privateData: bytes(84, 148),
});

/** ConnectReply (12.6.8). */
export const CmRep = layout("CM REP", 232, {
  localCommId: be32(0),
  remoteCommId: be32(4),
  localQkey: be32(8),
  localQpn: bits(12, 31, 8),
  localEecn: bits(16, 31, 8),
  startingPsn: bits(20, 31, 8),
  responderResources: u8(24),
  initiatorDepth: u8(25),
  targetAckDelay: bits8(26, 7, 3),
  failoverAccepted: bits8(26, 2, 1),
  flowControl: bits8(26, 0, 0),
  rnrRetryCount: bits8(27, 7, 5),
  srq: bits8(27, 4, 4),
  localCaGuid: half64(28),
  privateData: bytes(36, 196),
});

/** ReadyToUse (12.6.9). */
export const CmRtu = layout("CM RTU", 232, { localCommId: be32(0), remoteCommId: be32(4), privateData: bytes(8, 224) });

/** DisconnectRequest (12.6.10). */
export const CmDreq = layout("CM DREQ", 232, {
  localCommId: be32(0),
  remoteCommId: be32(4),
  remoteQpn: bits(8, 31, 8),
  privateData: bytes(12, 220),
});

/** DisconnectReply (12.6.11). */
export const CmDrep = layout("CM DREP", 232, { localCommId: be32(0), remoteCommId: be32(4), privateData: bytes(8, 224) });

/** Which message an MRA or REJ is about (12.6.6, 12.6.7). */
export const CmMessage = { REQ: 0, REP: 1, OTHER: 2 } as const;

/** TransportServiceType (12.6.5). */
export const CmTransport = { RC: 0, UC: 1, RD: 2 } as const;

/** Why a message was rejected (12.6.7.2, table 97). */
export const RejectReason = {
  NO_QP: 1,
  NO_EEC: 2,
  NO_RESOURCES: 3,
  TIMEOUT: 4,
  UNSUPPORTED: 5,
  INVALID_COMM_ID: 6,
  INVALID_COMM_INSTANCE: 7,
  INVALID_SERVICE_ID: 8,
  INVALID_TRANSPORT_TYPE: 9,
  STALE_CONN: 10,
  RDC_NOT_EXIST: 11,
  INVALID_GID: 12,
  INVALID_LID: 13,
  INVALID_SL: 14,
  INVALID_TRAFFIC_CLASS: 15,
  INVALID_HOP_LIMIT: 16,
  INVALID_PACKET_RATE: 17,
  INVALID_ALT_GID: 18,
  INVALID_ALT_LID: 19,
  INVALID_ALT_SL: 20,
  INVALID_ALT_TRAFFIC_CLASS: 21,
  INVALID_ALT_HOP_LIMIT: 22,
  INVALID_ALT_PACKET_RATE: 23,
  PORT_CM_REDIRECT: 24,
  PORT_REDIRECT: 25,
  INVALID_MTU: 26,
  INSUFFICIENT_RESP_RESOURCES: 27,
  CONSUMER_DEFINED: 28,
  INVALID_RNR_RETRY: 29,
  DUPLICATE_LOCAL_COMM_ID: 30,
  INVALID_CLASS_VERSION: 31,
  INVALID_FLOW_LABEL: 32,
  INVALID_ALT_FLOW_LABEL: 33,
} as const;

/** First bytes of a REQ's private data when the service is named by an IP port (annex A11, A11.4). IPv4 addresses are the last 4 bytes. */
export const IpCmHeader = layout("IP CM header", 36, {
  majorVersion: bits8(0, 7, 4),
  minorVersion: bits8(0, 3, 0),
  ipVersion: bits8(1, 7, 4),
  sourcePort: be16(2),
  source: bytes(4, 16),
  destination: bytes(20, 16),
});

/** Service ids of IP ports: a protocol number and a port below this prefix (annex A11, A11.3). */
export const IP_SERVICE_PREFIX = 0x0000000001000000n;
export const IpProtocol = { TCP: 6, UDP: 17 } as const;
/** Code of a time of 4.096 µs × 2^code, in nanoseconds. */
export const cmTimeNs = (code: number): number => 4096 * 2 ** code;
