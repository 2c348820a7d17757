// Access rights, with libibverbs' numbers (ibv_access_flags).

import { Access } from "../spec/hca/contexts.ts";

/** What others may do with a region, or with a QP. Local read is always allowed. Combine with `|`. */
export const AccessFlag = { LOCAL_WRITE: 1, REMOTE_WRITE: 2, REMOTE_READ: 4, REMOTE_ATOMIC: 8 } as const;

export const ALL_ACCESS = AccessFlag.LOCAL_WRITE | AccessFlag.REMOTE_WRITE | AccessFlag.REMOTE_READ | AccessFlag.REMOTE_ATOMIC;

const pairs: readonly (readonly [flag: number, bit: number])[] = [
  [AccessFlag.LOCAL_WRITE, Access.LOCAL_WRITE],
  [AccessFlag.REMOTE_WRITE, Access.REMOTE_WRITE],
  [AccessFlag.REMOTE_READ, Access.REMOTE_READ],
  [AccessFlag.REMOTE_ATOMIC, Access.REMOTE_ATOMIC],
];

/** The same as bits of the device. */
export const deviceAccess = (flags: number): number =>
  pairs.reduce((bits, [flag, bit]) => bits | ((flags & flag) === 0 ? 0 : bit), 0);

/** Bits of the device as flags. */
export const accessFlags = (bits: number): number =>
  pairs.reduce((flags, [flag, bit]) => flags | ((bits & bit) === 0 ? 0 : flag), 0);
