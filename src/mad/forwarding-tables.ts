// Forwarding tables of a switch. IBA vol 1: linear 14.2.5.10, multicast 14.2.5.12. Blocks are what Get and Set carry; the
// tables grow as blocks are written, so an unused switch costs nothing.

import { Lid } from "../spec/ib/numbers.ts";
import { LFT_BLOCK_LIDS, LFT_DISCARD, MFT_BLOCK_LIDS, MFT_POSITION_PORTS } from "../spec/mad/numbers.ts";

/** Output port by unicast LID. */
export class LinearForwardingTable {
  /** LIDs it can hold, from 0. */
  readonly capacity: number;
  #ports: Uint8Array = new Uint8Array(0);

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get blockCount(): number {
    return Math.ceil(this.capacity / LFT_BLOCK_LIDS);
  }

  /** Output port of `lid`, LFT_DISCARD where nothing is set. */
  portOf(lid: number): number {
    return this.#ports[lid] ?? LFT_DISCARD;
  }

  /** Copies block `block` to `to`. */
  readBlock(block: number, to: Uint8Array): void {
    for (let i = 0; i < LFT_BLOCK_LIDS; i++) to[i] = this.portOf(block * LFT_BLOCK_LIDS + i);
  }

  /** Makes room for LIDs below `length` (at most `capacity`), where a manager has said how many there will be. */
  reserve(length: number): void {
    if (length <= this.#ports.length) return;
    const grown = new Uint8Array(Math.ceil(length / LFT_BLOCK_LIDS) * LFT_BLOCK_LIDS).fill(LFT_DISCARD);
    grown.set(this.#ports);
    this.#ports = grown;
  }

  /** Writes block `block` (below `blockCount`); returns whether anything changed. */
  writeBlock(block: number, from: Uint8Array): boolean {
    const first = block * LFT_BLOCK_LIDS;
    this.reserve(first + LFT_BLOCK_LIDS);
    let changed = false;
    for (let i = 0; i < LFT_BLOCK_LIDS; i++) {
      const port = from[i] ?? LFT_DISCARD;
      if (this.#ports[first + i] !== port) changed = true;
      this.#ports[first + i] = port;
    }
    return changed;
  }
}

/** Output ports by multicast LID, 16 ports to a position. */
export class MulticastForwardingTable {
  /** Multicast LIDs it can hold, from 0xc000. */
  readonly capacity: number;
  readonly positions: number;
  #masks: Uint16Array = new Uint16Array(0);

  /** @param portCount external ports of the switch. */
  constructor(capacity: number, portCount: number) {
    this.capacity = capacity;
    this.positions = Math.ceil((portCount + 1) / MFT_POSITION_PORTS);
  }

  get blockCount(): number {
    return Math.ceil(this.capacity / MFT_BLOCK_LIDS);
  }

  /** Ports 16·position… of multicast LID `mlid` as a bit mask. */
  maskOf(mlid: number, position: number): number {
    return this.#masks[(mlid - Lid.MULTICAST_FIRST) * this.positions + position] ?? 0;
  }

  readBlock(block: number, position: number, to: DataView, at: number): void {
    for (let i = 0; i < MFT_BLOCK_LIDS; i++) {
      to.setUint16(at + i * 2, this.#masks[(block * MFT_BLOCK_LIDS + i) * this.positions + position] ?? 0);
    }
  }

  /** Writes block `block` (below `blockCount`) of `position`; returns whether anything changed. */
  writeBlock(block: number, position: number, from: DataView, at: number): boolean {
    const end = (block + 1) * MFT_BLOCK_LIDS * this.positions;
    if (this.#masks.length < end) {
      const grown = new Uint16Array(end);
      grown.set(this.#masks);
      this.#masks = grown;
    }
    let changed = false;
    for (let i = 0; i < MFT_BLOCK_LIDS; i++) {
      const slot = (block * MFT_BLOCK_LIDS + i) * this.positions + position;
      const mask = from.getUint16(at + i * 2);
      if (this.#masks[slot] !== mask) changed = true;
      this.#masks[slot] = mask;
    }
    return changed;
  }
}
