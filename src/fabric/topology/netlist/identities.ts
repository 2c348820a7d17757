// GUIDs and what else NodeInfo says of a node, in statements before it, as ibsim reads them.
//
//   switchguid=0x100       the next switch's; those that follow have the next ones, a host's ports lie between
//   switchguid+0x10        the next switch's, counted from the last one that was said
//   vendid= sysimgguid=    of the next node; devid= of all that follow
//
// Who is not told begins where ibsim begins.

import type { TopologyIdentity } from "../topology.ts";
import { failAt, type Place, parseNumber } from "./place.ts";

export type NetlistKind = "switch" | "host";

const FIRST_GUID = { switch: 0x20_0000n, host: 0x10_0000n };
const GUID_STATEMENTS: Readonly<Record<string, NetlistKind>> = {
  switchguid: "switch",
  caguid: "host",
  caguids: "host",
  hcaguid: "host",
  hcaguids: "host",
};

export class NetlistIdentities {
  readonly #base: Record<NetlistKind, bigint> = { ...FIRST_GUID };
  readonly #next: Record<NetlistKind, bigint> = { ...FIRST_GUID };
  #vendorId = 0;
  #deviceId = 0;
  #systemImageGuid = 0n;

  /** Takes a statement; false if it is none of these. @param sign "=", or "+" */
  take(name: string, sign: string, value: string, place: Place): boolean {
    const kind = GUID_STATEMENTS[name];
    const number = parseNumber(value);
    if (kind !== undefined) {
      if (sign === "+") this.#next[kind] = this.#base[kind] + number;
      else if (sign === "=") {
        this.#base[kind] = number;
        this.#next[kind] = number;
      } else failAt(place, `expected ${name}=GUID, or ${name}+NUMBER counted from the last GUID, got: ${name}${sign}`);
    } else if (name === "vendid") this.#vendorId = Number(number & 0xffffffn);
    else if (name === "devid") this.#deviceId = Number(number & 0xffffn);
    else if (name === "sysimgguid") this.#systemImageGuid = number;
    else return false;
    return true;
  }

  /** Of the next node. */
  next(kind: NetlistKind, portCount: number): { guid: bigint; identity: TopologyIdentity } {
    const guid = this.#next[kind];
    this.#next[kind] += kind === "switch" ? 1n : BigInt(portCount + 1);
    const systemImageGuid = this.#systemImageGuid === 0n ? guid : this.#systemImageGuid;
    const identity = { vendorId: this.#vendorId, deviceId: this.#deviceId, systemImageGuid };
    this.#vendorId = 0;
    this.#systemImageGuid = 0n;
    return { guid, identity };
  }
}
