// Numbers of management datagrams. IBA vol 1: common MAD 13.4, subnet management 14.2, subnet administration 15.2,
// performance management 16.1. Names are the specification's.

/** Every MAD on the wire is this long; longer messages are RMPP segments. */
export const MAD_BYTES = 256;
export const MAD_BASE_VERSION = 1;

/** Management classes (13.4.4). */
export const MgmtClass = {
  SUBN_LID_ROUTED: 0x01,
  SUBN_DIRECTED_ROUTE: 0x81,
  SUBN_ADM: 0x03,
  PERF: 0x04,
  BASEBOARD: 0x05,
  DEV_MGT: 0x06,
  COM_MGT: 0x07,
  SNMP: 0x08,
  DEV_ADM: 0x10,
  CONGESTION_CONTROL: 0x21,
} as const;

/** ClassVersion by class; the subnet administration is at 2. */
export const SM_CLASS_VERSION = 1;
export const PERF_CLASS_VERSION = 1;
export const SA_CLASS_VERSION = 2;

/** Methods (13.4.5, 15.2.2). */
export const Method = {
  GET: 0x01,
  SET: 0x02,
  SEND: 0x03,
  TRAP: 0x05,
  REPORT: 0x06,
  TRAP_REPRESS: 0x07,
  GET_TABLE: 0x12,
  GET_TRACE_TABLE: 0x13,
  GET_MULTI: 0x14,
  DELETE: 0x15,
  GET_RESP: 0x81,
  REPORT_RESP: 0x86,
  GET_TABLE_RESP: 0x92,
  GET_MULTI_RESP: 0x94,
  DELETE_RESP: 0x95,
} as const;

/** Set in the method of every response. */
export const METHOD_RESPONSE_BIT = 0x80;

/** MAD status: the common low byte (13.4.7). */
export const MadStatus = {
  OK: 0x0000,
  BUSY: 0x0001,
  REDIRECT: 0x0002,
  BAD_VERSION: 0x0004,
  UNSUPPORTED_METHOD: 0x0008,
  UNSUPPORTED_METHOD_ATTRIBUTE: 0x000c,
  INVALID_FIELD: 0x001c,
} as const;

/** MAD status: the class-specific high byte of the subnet administration (15.2.2, table 188). */
export const SaStatus = {
  NO_RESOURCES: 0x0100,
  REQ_INVALID: 0x0200,
  NO_RECORDS: 0x0300,
  TOO_MANY_RECORDS: 0x0400,
  REQ_INVALID_GID: 0x0500,
  REQ_INSUFFICIENT_COMPONENTS: 0x0600,
  REQ_DENIED: 0x0700,
} as const;

/** Subnet management attributes (14.2.5). */
export const SmAttribute = {
  NOTICE: 0x0002,
  NODE_DESCRIPTION: 0x0010,
  NODE_INFO: 0x0011,
  SWITCH_INFO: 0x0012,
  GUID_INFO: 0x0014,
  PORT_INFO: 0x0015,
  P_KEY_TABLE: 0x0016,
  SL_TO_VL_MAPPING: 0x0017,
  VL_ARBITRATION: 0x0018,
  LINEAR_FORWARDING: 0x0019,
  RANDOM_FORWARDING: 0x001a,
  MULTICAST_FORWARDING: 0x001b,
  SM_INFO: 0x0020,
  VENDOR_DIAG: 0x0030,
  LED_INFO: 0x0031,
} as const;

/** Performance management attributes (16.1.3, 16.1.4). */
export const PmAttribute = {
  CLASS_PORT_INFO: 0x0001,
  PORT_SAMPLES_CONTROL: 0x0010,
  PORT_SAMPLES_RESULT: 0x0011,
  PORT_COUNTERS: 0x0012,
  PORT_RCV_ERROR_DETAILS: 0x0015,
  PORT_XMIT_DISCARD_DETAILS: 0x0016,
  PORT_OP_RCV_COUNTERS: 0x0017,
  PORT_FLOW_CTL_COUNTERS: 0x0018,
  PORT_VL_OP_PACKETS: 0x0019,
  PORT_VL_OP_DATA: 0x001a,
  PORT_VL_XMIT_FLOW_CTL_UPDATE_ERRORS: 0x001b,
  PORT_VL_XMIT_WAIT_COUNTERS: 0x001c,
  PORT_COUNTERS_EXTENDED: 0x001d,
  PORT_EXTENDED_SPEEDS_COUNTERS: 0x001f,
  SW_PORT_VL_CONGESTION: 0x0030,
  PORT_RCV_CON_CTRL: 0x0031,
  PORT_SL_RCV_FECN: 0x0032,
  PORT_SL_RCV_BECN: 0x0033,
  PORT_XMIT_CON_CTRL: 0x0034,
  PORT_VL_XMIT_TIME_CONG: 0x0035,
  PORT_XMIT_DATA_SL: 0x0036,
  PORT_RCV_DATA_SL: 0x0037,
} as const;

/** ClassPortInfo.CapabilityMask of the performance class (16.1.3.1). */
export const PmCapability = {
  ALL_PORT_SELECT: 0x0100,
  EXTENDED_WIDTH: 0x0200,
  EXTENDED_WIDTH_NO_IETF: 0x0400,
  XMIT_WAIT: 0x1000,
} as const;

/** Congestion control attributes (annex A10.4). */
export const CongestionAttribute = {
  CLASS_PORT_INFO: 0x0001,
  CONGESTION_INFO: 0x0011,
  CONGESTION_KEY_INFO: 0x0012,
  CONGESTION_LOG: 0x0013,
  SWITCH_CONGESTION_SETTING: 0x0014,
  SWITCH_PORT_CONGESTION_SETTING: 0x0015,
  CA_CONGESTION_SETTING: 0x0016,
  CONGESTION_CONTROL_TABLE: 0x0017,
  TIMESTAMP: 0x0018,
} as const;

/** PortSelect value that means every port. */
export const ALL_PORTS = 0xff;

/** Subnet administration attributes (15.2.5). */
export const SaAttribute = {
  CLASS_PORT_INFO: 0x0001,
  NOTICE: 0x0002,
  INFORM_INFO: 0x0003,
  NODE_RECORD: 0x0011,
  PORT_INFO_RECORD: 0x0012,
  SL_TO_VL_RECORD: 0x0013,
  SWITCH_INFO_RECORD: 0x0014,
  LINEAR_FORWARDING_RECORD: 0x0015,
  RANDOM_FORWARDING_RECORD: 0x0016,
  MULTICAST_FORWARDING_RECORD: 0x0017,
  SM_INFO_RECORD: 0x0018,
  LINK_RECORD: 0x0020,
  GUID_INFO_RECORD: 0x0030,
  SERVICE_RECORD: 0x0031,
  P_KEY_TABLE_RECORD: 0x0033,
  PATH_RECORD: 0x0035,
  VL_ARBITRATION_RECORD: 0x0036,
  MC_MEMBER_RECORD: 0x0038,
  MULTI_PATH_RECORD: 0x003a,
  INFORM_INFO_RECORD: 0x00f3,
} as const;

/** ClassPortInfo.CapabilityMask of the subnet administration (15.2.4). */
export const SaCapability = {
  OPTIONAL_RECORDS: 0x0100,
  UD_MULTICAST: 0x0200,
  MULTI_PATH: 0x0400,
  PORT_INFO_CAPMASK_MATCH: 0x2000,
} as const;
/** ClassPortInfo.CapabilityMask2 of the subnet administration. */
export const SaCapability2 = { SEND_ONLY_FULL_MEMBER: 1 << 12 } as const;

/** AttributeModifier bit of PortInfoRecord queries: CapabilityMask matches when the asked bits are all set. */
export const CAPMASK_MATCH = 0x80000000;

/** NodeInfo.NodeType (14.2.5.3). */
export const NodeType = { CA: 1, SWITCH: 2, ROUTER: 3 } as const;

/** PortInfo.CapabilityMask bits (14.2.5.6, table 146). */
export const PortCapability = {
  IS_SM: 1 << 1,
  NOTICE: 1 << 2,
  TRAP: 1 << 3,
  APM: 1 << 5,
  SL_MAP: 1 << 6,
  LED_INFO: 1 << 9,
  EXTENDED_SPEEDS: 1 << 14,
  SM_DISABLED: 1 << 10,
  SYSTEM_IMAGE_GUID: 1 << 11,
  COM_MGT: 1 << 16,
  VENDOR_CLASS: 1 << 20,
  CAPABILITY_NOTICE: 1 << 22,
  CLIENT_REREGISTRATION: 1 << 25,
  MULTICAST_FDB_TOP: 1 << 30,
} as const;

/** PortInfo.LinkWidth* (bit mask) and the lanes each means. */
export const LinkWidth = { W1X: 1, W4X: 2, W8X: 4, W12X: 8, W2X: 16 } as const;
/** PortInfo.LinkSpeed* (bit mask). */
export const LinkSpeed = { SDR: 1, DDR: 2, QDR: 4 } as const;
/** PortInfo.LinkSpeedExt* (bit mask). */
export const LinkSpeedExt = { FDR: 1, EDR: 2, HDR: 4, NDR: 8 } as const;

/** SMInfo.SMState (14.4.1). */
export const SmState = { NOT_ACTIVE: 0, DISCOVERING: 1, STANDBY: 2, MASTER: 3 } as const;

/** AttributeModifier of Set(SMInfo): what one manager tells another (14.4.1). */
export const SmControl = { HANDOVER: 1, ACKNOWLEDGE: 2, DISABLE: 3, STANDBY: 4, DISCOVER: 5 } as const;

/** Notice.Type (13.4.8.2). */
export const NoticeType = { FATAL: 0, URGENT: 1, SECURITY: 2, SUBNET_MANAGEMENT: 3, INFORMATIONAL: 4, EMPTY: 0x7f } as const;

/** Trap numbers of the subnet management class (14.2.5.1, table 131). */
export const Trap = {
  GID_IN_SERVICE: 64,
  GID_OUT_OF_SERVICE: 65,
  MULTICAST_CREATED: 66,
  MULTICAST_DELETED: 67,
  LINK_STATE: 128,
  LOCAL_LINK_INTEGRITY: 129,
  EXCESSIVE_OVERRUN: 130,
  FLOW_CONTROL_WATCHDOG: 131,
  CAPABILITY_CHANGE: 144,
  SYSTEM_IMAGE_GUID_CHANGE: 145,
  BAD_M_KEY: 256,
  BAD_P_KEY: 257,
  BAD_Q_KEY: 258,
  BAD_P_KEY_SWITCH: 259,
} as const;

/** RMPP (13.6.2). */
export const RMPP_VERSION = 1;
export const RmppType = { NONE: 0, DATA: 1, ACK: 2, STOP: 3, ABORT: 4 } as const;
export const RmppFlag = { ACTIVE: 1, FIRST: 2, LAST: 4 } as const;
export const RmppStatus = {
  OK: 0,
  RESOURCES: 1,
  TIME_TOO_LONG: 118,
  BAD_LENGTH: 119,
  BAD_SEGMENT: 120,
  BAD_TYPE: 121,
  WINDOW_TOO_SMALL: 122,
  SEGMENT_TOO_BIG: 123,
  BAD_VERSION: 125,
  TOO_MANY_RETRIES: 126,
  UNSPECIFIED: 127,
} as const;

/** MCMemberRecord.JoinState bits (15.2.5.17). */
export const JoinState = { FULL: 1, NON: 2, SEND_ONLY_NON: 4, SEND_ONLY_FULL: 8 } as const;

/** The …Selector components of SA records (15.2.5.16). */
export const Selector = { GREATER: 0, LESS: 1, EXACTLY: 2, BEST: 3 } as const;

/** LFT entry that discards (14.2.5.10). */
export const LFT_DISCARD = 0xff;
export const LFT_BLOCK_LIDS = 64;
export const MFT_BLOCK_LIDS = 32;
export const MFT_POSITION_PORTS = 16;
export const P_KEY_BLOCK = 32;
export const GUID_BLOCK = 8;
export const VL_ARB_BLOCK = 32;

/** Default GID prefix: link local (4.1.1). */
export const DEFAULT_GID_PREFIX = 0xfe80000000000000n;
