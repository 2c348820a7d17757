// LIDs by port GUID. A port keeps its LID as long as the manager lives, whether it is there or not; a manager that starts on
// a running subnet takes over the LIDs it finds. LMC is 0.

import { isUnicastLid, Lid } from "../spec/ib/numbers.ts";

export class LidTable {
  readonly #byGuid: Map<bigint, number> = new Map();
  readonly #byLid: Map<number, bigint> = new Map();
  #next = 1;

  /**
   * LID for `guid`.
   * @param current the LID the port has now; kept if it is free. 0: none.
   * @param isInUse whether a GUID is in the subnet; the LIDs of others may be given away when none is free.
   * @returns 0 if all LIDs are in use.
   */
  assign(guid: bigint, current: number, isInUse: (guid: bigint) => boolean): number {
    const known = this.#byGuid.get(guid);
    if (known !== undefined) return known;
    const lid = isUnicastLid(current) && !this.#byLid.has(current) ? current : this.#findFree(isInUse);
    if (lid === 0) return 0;
    this.#byGuid.set(guid, lid);
    this.#byLid.set(lid, guid);
    return lid;
  }

  #findFree(isInUse: (guid: bigint) => boolean): number {
    while (this.#byLid.has(this.#next) && this.#next <= Lid.UNICAST_LAST) this.#next++;
    if (this.#next <= Lid.UNICAST_LAST) return this.#next;
    for (const [lid, guid] of this.#byLid) {
      if (isInUse(guid)) continue;
      this.#byLid.delete(lid);
      this.#byGuid.delete(guid);
      return lid;
    }
    return 0;
  }
}
