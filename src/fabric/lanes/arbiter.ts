// Which virtual lane of a port sends next. IBA vol 1, 7.6.9: two tables of turns [lane, weight]; a turn ends when the lane has nothing that may go or
// has sent its weight, in units of 64 bytes. The table of high priority goes first, but after PortInfo.VLHighLimit x 4 KiB of it (0: one
// packet, 255: no limit) one packet of low priority has its chance. The packet that uses a weight up is sent whole and is not held against
// the next turn, so weights share a link as they say if they are several packets' worth.
//
// Lanes that no table names, which the specification leaves open, are served when no other has anything, one packet each.

import { VL_ARB_BLOCK } from "../../spec/mad/numbers.ts";

export const LANE_COUNT = 16;
const UNIT_BYTES_SHIFT = 6;
const LIMIT_BYTES = 4096;
const NO_LIMIT = 255;
const NONE = -1;
const VL_MASK = 0xf;

/** Which lanes have a packet at their head that has the credits it needs: 1 for each. */
export type Eligible = Uint8Array;

/** One table, and whose turn it is. */
class Turns {
  readonly #vls = new Uint8Array(4 * VL_ARB_BLOCK);
  readonly #weights = new Uint8Array(4 * VL_ARB_BLOCK);
  #count = 0;
  #at = 0;
  /** Units that the turn at hand may still send; not more than 0: the next turn. */
  #left = 0;

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  clear(): void {
    this.#count = 0;
    this.#at = 0;
    this.#left = 0;
  }

  add(vl: number, weight: number): void {
    if (weight === 0 || this.#count === this.#vls.length) return;
    this.#vls[this.#count] = vl;
    this.#weights[this.#count] = weight;
    if (this.#count++ === 0) this.#left = weight;
  }

  has(vl: number): boolean {
    for (let i = 0; i < this.#count; i++) if (this.#vls[i] === vl) return true;
    return false;
  }

  /** The lane whose turn it is, now or next, and that may send; NONE if none may. */
  choose(eligible: Eligible): number {
    if (this.#count === 0) return NONE;
    if (this.#left > 0 && eligible[this.#vls[this.#at]!] === 1) return this.#vls[this.#at]!;
    for (let i = 1; i <= this.#count; i++) {
      const at = (this.#at + i) % this.#count;
      if (eligible[this.#vls[at]!] !== 1) continue;
      this.#at = at;
      this.#left = this.#weights[at]!;
      return this.#vls[at]!;
    }
    return NONE;
  }

  /** The lane chosen sends `bytes`. */
  charge(bytes: number): void {
    this.#left -= (bytes + 63) >> UNIT_BYTES_SHIFT;
  }
}

export class Arbiter {
  readonly #high = new Turns();
  readonly #low = new Turns();
  /** Lanes in no table. */
  readonly #rest = new Turns();
  #highLimit = 0;
  /** Bytes of high priority since low priority has had its chance. */
  #highBytes = 0;
  #chosen: Turns = this.#rest;

  /**
   * Takes the tables of a port.
   * @param block a VLArbitration block by its number: 1 and 2 low priority, 3 and 4 high (14.2.5.9)
   * @param highLimit PortInfo.VLHighLimit
   * @param laneCount data lanes of the link
   */
  program(block: (number: number) => Uint8Array, highLimit: number, laneCount: number): void {
    this.#highLimit = highLimit;
    this.#highBytes = 0;
    load(this.#low, block(1), block(2), laneCount);
    load(this.#high, block(3), block(4), laneCount);
    this.#rest.clear();
    for (let vl = 0; vl < laneCount; vl++) if (!this.#low.has(vl) && !this.#high.has(vl)) this.#rest.add(vl, 1);
  }

  /** The lane that sends next, or -1; `charge` says what it has sent. */
  choose(eligible: Eligible): number {
    const isLimited = this.#highLimit !== NO_LIMIT && this.#highBytes > 0 && this.#highBytes >= this.#highLimit * LIMIT_BYTES;
    if (isLimited) {
      // Its chance, whether it has anything or not.
      this.#highBytes = 0;
      const low = this.#chooseFrom(this.#low, eligible);
      if (low !== NONE) return low;
    }
    const high = this.#chooseFrom(this.#high, eligible);
    if (high !== NONE) return high;
    const low = this.#chooseFrom(this.#low, eligible);
    return low === NONE ? this.#chooseFrom(this.#rest, eligible) : low;
  }

  /** The lane that `choose` has named sends a packet of so many bytes. */
  charge(bytes: number): void {
    this.#chosen.charge(bytes);
    if (this.#chosen === this.#high) this.#highBytes += bytes;
    else this.#highBytes = 0;
  }

  #chooseFrom(turns: Turns, eligible: Eligible): number {
    this.#chosen = turns;
    return turns.choose(eligible);
  }
}

function load(turns: Turns, first: Uint8Array, second: Uint8Array, laneCount: number): void {
  turns.clear();
  for (const table of [first, second]) {
    for (let i = 0; i + 1 < table.length; i += 2) {
      const vl = table[i]! & VL_MASK;
      if (vl < laneCount) turns.add(vl, table[i + 1]!);
    }
  }
}
