// LIDs by port GUID. A port keeps its LIDs as long as the manager lives, whether it is there or not; a manager that starts on
// a running subnet takes over the LIDs it finds. With LMC a port has 2^LMC of them, the lowest a multiple of that (14.2.5.6).

import { isUnicastLid, Lid } from "../spec/ib/numbers.ts";
import { PortInfo } from "../spec/mad/sm-attributes.ts";
import type { Subnet } from "./subnet.ts";

export class LidTable {
  /** Lowest LID. */
  readonly #byGuid: Map<bigint, number> = new Map();
  /** Every LID that is given away. */
  readonly #owners: Map<number, bigint> = new Map();
  /** By number of LIDs: no lower ones are free. */
  readonly #next: Map<number, number> = new Map();

  /**
   * LIDs for `guid`.
   * @param current the lowest LID the port has now; kept if they are free. 0: none.
   * @param count how many: a power of two, the same at every call for this GUID.
   * @param isInUse whether a GUID is in the subnet; the LIDs of others may be given away when none are free.
   * @returns the lowest, 0 if not enough are left.
   */
  assign(guid: bigint, current: number, count: number, isInUse: (guid: bigint) => boolean): number {
    const known = this.#byGuid.get(guid);
    if (known !== undefined) return known;
    const lid = this.#isFree(current, count, () => false) ? current : this.#findFree(count, isInUse);
    if (lid === 0) return 0;
    for (let i = 0; i < count; i++) {
      const before = this.#owners.get(lid + i);
      if (before !== undefined) this.#release(before);
    }
    this.#byGuid.set(guid, lid);
    for (let i = 0; i < count; i++) this.#owners.set(lid + i, guid);
    return lid;
  }

  #findFree(count: number, isInUse: (guid: bigint) => boolean): number {
    for (let lid = this.#next.get(count) ?? count; lid <= Lid.UNICAST_LAST; lid += count) {
      if (!this.#isFree(lid, count, () => false)) continue;
      this.#next.set(count, lid);
      return lid;
    }
    this.#next.set(count, Lid.UNICAST_LAST + 1);
    for (let lid = count; lid <= Lid.UNICAST_LAST; lid += count) {
      if (this.#isFree(lid, count, (owner) => !isInUse(owner))) return lid;
    }
    return 0;
  }

  /** Whether `count` LIDs from `lid` can be had; `mayTake` says whose may be taken away. */
  #isFree(lid: number, count: number, mayTake: (owner: bigint) => boolean): boolean {
    if (lid % count !== 0 || !isUnicastLid(lid) || !isUnicastLid(lid + count - 1)) return false;
    for (let i = 0; i < count; i++) {
      const owner = this.#owners.get(lid + i);
      if (owner !== undefined && !mayTake(owner)) return false;
    }
    return true;
  }

  #release(guid: bigint): void {
    const first = this.#byGuid.get(guid);
    if (first === undefined) return;
    this.#byGuid.delete(guid);
    for (let lid = first; this.#owners.get(lid) === guid; lid++) this.#owners.delete(lid);
  }
}

/**
 * Gives LIDs to the end ports that have none, 2^lmc to each host's port.
 * @returns how many got none because all are in use
 */
export function assignLids(subnet: Subnet, table: LidTable, lmc: number): number {
  const isInUse = (guid: bigint): boolean => subnet.byGuid.has(guid);
  const { root } = subnet;
  let without = 0;
  // the manager first: it gets LID 1 in a new subnet
  for (const node of root === undefined ? [] : [root, ...subnet.nodes.values()]) {
    for (const port of node.presentPorts()) {
      if (!port.hasInfo || port.lid !== 0) continue;
      // switches keep LMC 0: only management goes to them
      port.lidCount = node.isSwitch ? 1 : 1 << lmc;
      port.lid = table.assign(port.guid, PortInfo.lid.get(port.info, 0), port.lidCount, isInUse);
      if (port.lid === 0) without++;
    }
  }
  return without;
}
