// Destinations of datagrams. IBA vol 1, 10.2.2.2.

import type { Memory } from "../base/bytes.ts";
import { newAddressVector } from "../driver/address-vector.ts";
import { Grh } from "../spec/ib/headers.ts";
import { isMulticastLid } from "../spec/ib/numbers.ts";
import { VerbsError } from "./error.ts";
import { VerbsObject } from "./object.ts";
import type { ProtectionDomain } from "./protection-domain.ts";
import type { WorkCompletion } from "./work-completion.ts";

export interface GlobalRoute {
  /** Destination GID, 16 bytes. */
  readonly dgid: Uint8Array;
  readonly sgidIndex?: number;
  readonly hopLimit?: number;
  readonly trafficClass?: number;
  readonly flowLabel?: number;
}

export interface AddressHandleAttributes {
  /** Destination LID. */
  readonly dlid: number;
  readonly sl?: number;
  readonly srcPathBits?: number;
  /** Of what the port's link has: 0 all, 1 a quarter, 2 an eighth, 3 half. Shapes traffic with `--data-path lanes` only. */
  readonly staticRate?: number;
  /** Global routing; multicast needs it. */
  readonly grh?: GlobalRoute;
}

export class AddressHandle extends VerbsObject {
  readonly attributes: AddressHandleAttributes;
  /** @internal the vector as requests carry it */
  readonly vector: Memory;

  /** Use `pd.createAh`. */
  constructor(pd: ProtectionDomain, attributes: AddressHandleAttributes) {
    super([pd]);
    const { dlid, grh, sl = 0, srcPathBits = 0, staticRate = 0 } = attributes;
    if (!(dlid > 0 && dlid <= 0xffff)) throw new VerbsError("EINVAL", `address handle: dlid ${dlid} is no LID (1 to 65535)`);
    if (isMulticastLid(dlid) && grh === undefined) {
      throw new VerbsError("EINVAL", `address handle: dlid ${dlid} is a multicast LID, which needs a grh with the group's MGID`);
    }
    this.attributes = attributes;
    this.vector = newAddressVector(pd.number, { ...grh, dlid, sl, staticRate, pathBits: srcPathBits });
    this.holdOwners();
  }

  /** Attributes of the way back to the sender of a received datagram. */
  static attributesOf(wc: WorkCompletion, grh?: Uint8Array): AddressHandleAttributes {
    const way = { dlid: wc.slid, sl: wc.sl, srcPathBits: wc.dlidPathBits };
    if (!wc.hasGrh) return way;
    if (grh === undefined) throw new VerbsError("EINVAL", "the datagram came with a GRH: give its first 40 bytes");
    const view = new DataView(grh.buffer, grh.byteOffset, grh.byteLength);
    return {
      ...way,
      grh: {
        dgid: Uint8Array.from(Grh.sgid.get(view, 0)),
        hopLimit: 0xff,
        trafficClass: Grh.trafficClass.get(view, 0),
        flowLabel: Grh.flowLabel.get(view, 0),
      },
    };
  }

  get label(): string {
    return `AH to LID ${this.attributes.dlid}`;
  }

  protected release(): void {}
}
