// Address vectors of datagrams. Docs "infinihost" 7.2.

import { type Memory, newMemory } from "../base/bytes.ts";
import { AddressVector } from "../spec/hca/queues.ts";

/** Where a datagram goes. */
export interface AddressHandle {
  dlid: number;
  sl?: number;
  /** Of what the port's link has: 0 all, 1 a quarter, 2 an eighth, 3 half. */
  staticRate?: number;
  /** Global routing: destination GID and the index of the source GID. */
  dgid?: Uint8Array;
  sgidIndex?: number;
  hopLimit?: number;
  trafficClass?: number;
  flowLabel?: number;
  /** Bits of the source LID below the LMC. */
  pathBits?: number;
}

/** The 32 bytes that a UD request carries. */
export function newAddressVector(pd: number, address: AddressHandle): Memory {
  const memory = newMemory(AddressVector.byteLength);
  const { view } = memory;
  AddressVector.port.set(view, 0, 1);
  AddressVector.pd.set(view, 0, pd);
  AddressVector.grh.set(view, 0, address.dgid === undefined ? 0 : 1);
  AddressVector.pathBits.set(view, 0, address.pathBits ?? 0);
  AddressVector.dlid.set(view, 0, address.dlid);
  AddressVector.gidIndex.set(view, 0, address.sgidIndex ?? 0);
  AddressVector.hopLimit.set(view, 0, address.hopLimit ?? 0);
  AddressVector.sl.set(view, 0, address.sl ?? 0);
  AddressVector.staticRate.set(view, 0, address.staticRate ?? 0);
  AddressVector.trafficClass.set(view, 0, address.trafficClass ?? 0);
  AddressVector.flowLabel.set(view, 0, address.flowLabel ?? 0);
  if (address.dgid !== undefined) AddressVector.dgid.set(view, 0, address.dgid);
  return memory;
}
