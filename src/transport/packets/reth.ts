// The remote range that a request names. IBA vol 1, 9.3.3 (RETH), 9.7.4.1.5 (checks).

import type { QueuePair } from "../queue-pair.ts";
import { ScatterList } from "../scatter-list.ts";
import { packet } from "./packet.ts";

const range = new ScatterList(1);
/** The RETH in hand. */
export const reth = { rkey: 0, hi: 0, lo: 0, length: 0 };

/** Reads the RETH of the packet in hand. True if its range is empty or lies where the peer may go. */
export function readReth(qp: QueuePair, access: number): boolean {
  const { view } = packet.memory;
  const at = packet.bodyAt;
  reth.hi = view.getInt32(at, false);
  reth.lo = view.getInt32(at + 4, false);
  reth.rkey = view.getInt32(at + 8, false);
  reth.length = view.getInt32(at + 12, false);
  if (reth.length < 0) return false;
  if (reth.length === 0) return true;
  range.setRemote(reth.rkey, reth.hi, reth.lo, reth.length);
  return range.isAllowed(qp.adapter.regions, qp.pd, access);
}
