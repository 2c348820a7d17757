// Work completions. IBA vol 1, 11.4.2.1; docs "infinihost" 5.6. Names are libibverbs' (ibv_wc).

import { CqeErrorOpcode, SendOpcode, Syndrome } from "../spec/hca/queues.ts";

export type WcStatus =
  | "SUCCESS"
  | "LOC_LEN_ERR"
  | "LOC_QP_OP_ERR"
  | "LOC_EEC_OP_ERR"
  | "LOC_PROT_ERR"
  | "WR_FLUSH_ERR"
  | "MW_BIND_ERR"
  | "BAD_RESP_ERR"
  | "LOC_ACCESS_ERR"
  | "REM_INV_REQ_ERR"
  | "REM_ACCESS_ERR"
  | "REM_OP_ERR"
  | "RETRY_EXC_ERR"
  | "RNR_RETRY_EXC_ERR"
  | "GENERAL_ERR";

export type WcOpcode =
  | "SEND"
  | "RDMA_WRITE"
  | "RDMA_READ"
  | "COMP_SWAP"
  | "FETCH_ADD"
  | "BIND_MW"
  | "RECV"
  | "RECV_RDMA_WITH_IMM";

/** What became of a work request. `poll` writes into objects that you make once and hand in again and again. */
export class WorkCompletion {
  /** The `wrId` of the request. */
  wrId = 0;
  status: WcStatus = "SUCCESS";
  /** Means something only with SUCCESS, as all that follows but `vendorErr` and `qpNum`. */
  opcode: WcOpcode = "SEND";
  vendorErr = 0;
  /** Bytes received, read, or 8 of an atomic. */
  byteLen = 0;
  /** Immediate data, 32 bits; meaningless without `hasImm`. */
  immData = 0;
  hasImm = false;
  /** QP it belongs to. */
  qpNum = 0;
  /** Datagrams: the sender's QP, its LID and service level, the low bits of our LID it was sent to. */
  srcQp = 0;
  slid = 0;
  sl = 0;
  dlidPathBits = 0;
  /** Datagrams: the buffer begins with a GRH of 40 bytes that means something. */
  hasGrh = false;
}

/** Completions to poll into. */
export const newWorkCompletions = (count: number): WorkCompletion[] => Array.from({ length: count }, () => new WorkCompletion());

const statuses: WcStatus[] = new Array(256).fill("GENERAL_ERR");
for (const [syndrome, status] of [
  [0, "SUCCESS"],
  [Syndrome.LOCAL_LENGTH, "LOC_LEN_ERR"],
  [Syndrome.LOCAL_QP_OPERATION, "LOC_QP_OP_ERR"],
  [Syndrome.LOCAL_EEC_OPERATION, "LOC_EEC_OP_ERR"],
  [Syndrome.LOCAL_PROTECTION, "LOC_PROT_ERR"],
  [Syndrome.WR_FLUSHED, "WR_FLUSH_ERR"],
  [Syndrome.MW_BIND, "MW_BIND_ERR"],
  [Syndrome.BAD_RESPONSE, "BAD_RESP_ERR"],
  [Syndrome.LOCAL_ACCESS, "LOC_ACCESS_ERR"],
  [Syndrome.REMOTE_INVALID_REQUEST, "REM_INV_REQ_ERR"],
  [Syndrome.REMOTE_ACCESS, "REM_ACCESS_ERR"],
  [Syndrome.REMOTE_OPERATION, "REM_OP_ERR"],
  [Syndrome.TRANSPORT_RETRY, "RETRY_EXC_ERR"],
  [Syndrome.RNR_RETRY, "RNR_RETRY_EXC_ERR"],
] as const) {
  statuses[syndrome] = status;
}

/** The status of a syndrome (5.6). */
export const statusOf = (syndrome: number): WcStatus => statuses[syndrome & 0xff] as WcStatus;

const sendOpcodes: WcOpcode[] = new Array(32).fill("SEND");
for (const [opcode, name] of [
  [SendOpcode.RDMA_WRITE, "RDMA_WRITE"],
  [SendOpcode.RDMA_WRITE_IMM, "RDMA_WRITE"],
  [SendOpcode.RDMA_READ, "RDMA_READ"],
  [SendOpcode.ATOMIC_CS, "COMP_SWAP"],
  [SendOpcode.ATOMIC_FA, "FETCH_ADD"],
  [SendOpcode.BIND_MW, "BIND_MW"],
] as const) {
  sendOpcodes[opcode] = name;
}

/** Operation of a BTH opcode (IBA vol 1, 9.2): its five low bits. */
const BthOperation = { SEND_LAST_IMM: 0x03, SEND_ONLY_IMM: 0x05, WRITE_LAST_IMM: 0x09, WRITE_ONLY_IMM: 0x0b } as const;
const OPERATION_MASK = 0x1f;

/** True if the completion's opcode says that it failed. */
export const isErrorOpcode = (opcode: number): boolean => opcode >= CqeErrorOpcode.RECEIVE;

/** What a good completion was of: the send opcode, or the BTH opcode of the last packet received. */
export function opcodeOf(isSend: boolean, opcode: number): WcOpcode {
  if (isSend) return sendOpcodes[opcode & OPERATION_MASK] as WcOpcode;
  const operation = opcode & OPERATION_MASK;
  const isWrite = operation === BthOperation.WRITE_LAST_IMM || operation === BthOperation.WRITE_ONLY_IMM;
  return isWrite ? "RECV_RDMA_WITH_IMM" : "RECV";
}

/** True if the last packet received carried immediate data. */
export function hasImmediate(isSend: boolean, opcode: number): boolean {
  if (isSend) return false;
  switch (opcode & OPERATION_MASK) {
    case BthOperation.SEND_LAST_IMM:
    case BthOperation.SEND_ONLY_IMM:
    case BthOperation.WRITE_LAST_IMM:
    case BthOperation.WRITE_ONLY_IMM:
      return true;
    default:
      return false;
  }
}
