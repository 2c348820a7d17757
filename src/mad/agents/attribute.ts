// What the SMA's attribute files share.

import type { ManagedNode } from "../attributes.ts";

/** How an SMP reached the agent. */
export interface SmaContext {
  /** Port it arrived on; 0 for a switch's own port 0. */
  readonly port: number;
  /** The caller vouches for the sender (the guest's own driver). */
  readonly ignoreMkey: boolean;
  readonly nowNs: number;
}

/** One attribute: both functions leave the attribute in the MAD's data area and return a MAD status. */
export interface Attribute {
  readonly switchOnly?: boolean;
  /** The data area is zeroed before. */
  get(node: ManagedNode, mad: DataView, context: SmaContext): number;
  set?(node: ManagedNode, mad: DataView, context: SmaContext): number;
}
