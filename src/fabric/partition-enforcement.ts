// Partition enforcement at the ports of switches. IBA vol 1, 10.9.4, 14.2.5.6 (PartitionEnforcementInbound and …Outbound): packets with a P_Key that
// the port's table does not have are dropped there. Data on the short path sends no packets: it uses only those P_Keys of a host's table that
// the switch it hangs on would let pass.

import type { PortAttributes } from "../mad/attributes.ts";
import { Bth, Grh, Lrh, LrhNextHeader } from "../spec/ib/headers.ts";
import { isFullMember, pkeyBase } from "../spec/ib/numbers.ts";
import { PortInfo } from "../spec/mad/sm-attributes.ts";
import type { Port } from "./port.ts";

/** Whether a packet may enter the switch here: nobody claims a full membership that the table does not have. */
export function mayEnter(port: PortAttributes, packet: DataView): boolean {
  return PortInfo.partitionEnforcementIn.get(port.info, 0) === 0 || isClaimed(port, pkeyOf(packet));
}

/** Whether a packet may leave the switch here: one of the two is a full member (10.9.3). */
export function mayLeave(port: PortAttributes, packet: DataView): boolean {
  if (PortInfo.partitionEnforcementOut.get(port.info, 0) === 0) return true;
  const pkey = pkeyOf(packet);
  return port.pkeys.some((own) => isSame(own, pkey) && isFullMember(own | pkey));
}

function isClaimed({ pkeys }: PortAttributes, pkey: number): boolean {
  return pkeys.some((own) => isSame(own, pkey) && (isFullMember(own) || !isFullMember(pkey)));
}

const isSame = (a: number, b: number): boolean => pkeyBase(a) !== 0 && pkeyBase(a) === pkeyBase(b);

/** P_Key of a packet; 0, which nobody has, if it is too short for one. */
function pkeyOf(packet: DataView): number {
  const at = Lrh.byteLength + (Lrh.nextHeader.get(packet, 0) === LrhNextHeader.GRH ? Grh.byteLength : 0);
  return packet.byteLength < at + Bth.byteLength ? 0 : Bth.pkey.get(packet, at);
}

/** The P_Keys of a host's port that the switch at the other end of its cable lets pass; found anew when anything in the fabric changes. */
export class UsablePkeys {
  readonly #port: Port;
  #epoch = -1;
  #pkeys: Uint16Array;

  constructor(port: Port) {
    this.#port = port;
    this.#pkeys = port.pkeys;
  }

  /** As long as the port's own table; 0 where a P_Key may not be used. */
  get(): Uint16Array {
    const { epoch } = this.#port.node.fabric;
    if (this.#epoch !== epoch) {
      this.#epoch = epoch;
      this.#pkeys = this.#find();
    }
    return this.#pkeys;
  }

  #find(): Uint16Array {
    const { pkeys, peer } = this.#port;
    if (peer === undefined || PortInfo.partitionEnforcementIn.get(peer.info, 0) === 0) return pkeys;
    return pkeys.map((pkey) => (isClaimed(peer, pkey) ? pkey : 0));
  }
}
