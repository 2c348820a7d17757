// Work requests, with libibverbs' names (ibv_send_wr, ibv_recv_wr).

import { SendOpcode } from "../spec/hca/queues.ts";
import type { AddressHandle } from "./address-handle.ts";

/** A piece of registered memory. */
export interface Sge {
  /** Address in the region, as `mr.addr` plus an offset; BigInt beyond 2^53. */
  readonly addr: number | bigint;
  readonly length: number;
  readonly lkey: number;
}

/** Flags of a send request; combine with `|`. */
export const SendFlag = { FENCE: 1, SIGNALED: 2, SOLICITED: 4, INLINE: 8 } as const;

interface SendBase {
  /** Comes back in the completion; an integer below 2^53. */
  readonly wrId?: number;
  readonly sgList?: readonly Sge[];
  /** Data copied into the request instead of `sgList`: they may change at once. At most `cap.maxInlineData` bytes. */
  readonly inlineData?: Uint8Array;
  /** Bits of `SendFlag`; SIGNALED if left out. */
  readonly sendFlags?: number;
}

interface Remote {
  readonly remoteAddr: number | bigint;
  readonly rkey: number;
}

interface Datagram {
  readonly ah: AddressHandle;
  readonly remoteQpn: number;
  readonly remoteQkey: number;
}

export type SendWr =
  | (SendBase & { readonly opcode: "SEND" } & Partial<Datagram>)
  | (SendBase & { readonly opcode: "SEND_WITH_IMM"; readonly immData: number } & Partial<Datagram>)
  | (SendBase & { readonly opcode: "RDMA_WRITE" | "RDMA_READ" } & Remote)
  | (SendBase & { readonly opcode: "RDMA_WRITE_WITH_IMM"; readonly immData: number } & Remote)
  | (SendBase & { readonly opcode: "ATOMIC_CMP_AND_SWP"; readonly compareAdd: bigint; readonly swap: bigint } & Remote)
  | (SendBase & { readonly opcode: "ATOMIC_FETCH_AND_ADD"; readonly compareAdd: bigint } & Remote);

export interface RecvWr {
  readonly wrId?: number;
  readonly sgList?: readonly Sge[];
}

/** The device's opcode of each request. */
export const deviceOpcodes: Readonly<Record<SendWr["opcode"], number>> = {
  SEND: SendOpcode.SEND,
  SEND_WITH_IMM: SendOpcode.SEND_IMM,
  RDMA_WRITE: SendOpcode.RDMA_WRITE,
  RDMA_WRITE_WITH_IMM: SendOpcode.RDMA_WRITE_IMM,
  RDMA_READ: SendOpcode.RDMA_READ,
  ATOMIC_CMP_AND_SWP: SendOpcode.ATOMIC_CS,
  ATOMIC_FETCH_AND_ADD: SendOpcode.ATOMIC_FA,
};

const TWO_32 = 2 ** 32;

/** The halves of an address or operand. */
export const highOf = (value: number | bigint): number =>
  typeof value === "number" ? Math.floor(value / TWO_32) : Number((value >> 32n) & 0xffffffffn);
export const lowOf = (value: number | bigint): number => (typeof value === "number" ? value : Number(value & 0xffffffffn));
