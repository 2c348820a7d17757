// What this HCA says it can do (QUERY_DEV_LIM, docs "infinihost" 2.8.6) and what the model itself bounds.
// The values are those of a real MT25204 with firmware 1.2.0 unless a comment says otherwise.

import { DevLimFlag } from "../spec/hca/commands.ts";

/** log2 of WQEs per queue; the context has four bits for it (P-31). */
export const LOG_MAX_WQES = 14;
export const LOG_MAX_CQES = 17;
export const LOG_RESERVED_QPS = 10;
export const MAX_EQS = 32;
/** MSI-X vectors; the Linux driver takes exactly three. */
export const MSIX_VECTORS = 3;
/** Bits for a table size that a driver may ask for in INIT_HCA. */
export const LOG_QPS_MAX = 20;
export const LOG_CQS_MAX = 20;
export const LOG_SRQS_MAX = 16;
export const LOG_MPTS_MAX = 22;
export const LOG_MULTICAST_MAX = 20;
export const LOG_UARS_MAX = 11;
export const LOG_UARC_PAGES_MAX = 6;

/** What one HCA may have, so that no guest takes more than its share of the domain's memory and time. */
export interface Quota {
  /** Objects at a time; more are refused with EXCEED_LIM ("no resources"). */
  readonly qps: number;
  readonly cqs: number;
  readonly srqs: number;
  readonly regions: number;
  /** Bytes in all regions together, those without translation not counted; more are refused. */
  readonly registeredBytes: number;
  /** Firmware commands per second on average; the device is busy until the next one may run. */
  readonly commandsPerSecond: number;
}

export const DEFAULT_QUOTA: Quota = {
  qps: 4096,
  cqs: 4096,
  srqs: 1024,
  regions: 65_536,
  registeredBytes: Number.POSITIVE_INFINITY,
  // five times what a driver under emulation issues at most
  commandsPerSecond: 20_000,
};

/** Fields of QUERY_DEV_LIM by the names of its layout. */
export const DEV_LIM = {
  logMaxSrqWqes: LOG_MAX_WQES,
  logMaxQpWqes: LOG_MAX_WQES,
  logReservedQps: LOG_RESERVED_QPS,
  logMaxQps: 16,
  logReservedSrqs: 6,
  logMaxSrqs: 10,
  logMaxCqes: LOG_MAX_CQES,
  logReservedCqs: 7,
  logMaxCqs: 16,
  logMaxMpts: 17,
  logReservedEqs: 0,
  logMaxEqs: 5,
  logReservedMtts: 4,
  // Newer kernels check shifts: every log stays at 30 or below (P-20).
  logMaxMrSize: 30,
  // At least 1, or the driver's first lkey would be the end-of-list marker (P-1).
  logReservedMpts: 4,
  logMaxMttSegments: 20,
  logMaxRequesterReads: 7,
  logMaxResponderReads: 7,
  logMaxResponderResources: 20,
  localCaAckDelay: 15,
  maxMtu: 4,
  portWidths: 3,
  vlCount: 4,
  logGids: 5,
  staticRates: 0x000f,
  logPkeys: 6,
  flags:
    DevLimFlag.RC |
    DevLimFlag.UC |
    DevLimFlag.UD |
    DevLimFlag.SRQ |
    DevLimFlag.PKEY_COUNTER |
    DevLimFlag.QKEY_COUNTER |
    DevLimFlag.APM |
    DevLimFlag.ATOMICS |
    DevLimFlag.UD_AV_PORT |
    DevLimFlag.UD_MULTICAST,
  reservedUars: 1,
  logUarMegabytes: 3,
  logMinPage: 12,
  maxSendSges: 28,
  maxSendDescriptorBytes: 496,
  maxReceiveSges: 28,
  maxReceiveDescriptorBytes: 496,
  logQpsPerGroup: 6,
  logMaxGroups: 13,
  reservedPds: 4,
  logMaxPds: 15,
  eecBytes: 256,
  qpcBytes: 256,
  eeecBytes: 32,
  eqpcBytes: 32,
  eqcBytes: 64,
  cqcBytes: 64,
  srqcBytes: 32,
  uarScratchBytes: 32,
  mttBytes: 8,
  mptBytes: 64,
  maxIcmBytes: 2n ** 38n,
} as const;

export const BOARD_ID = "VHCA_0000000001";
