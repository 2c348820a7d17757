// A switch's linear forwarding table as the manager wants it, and which of its blocks the switch is not known to have. Routing writes in
// place: what it leaves as it was need not be compared with anything, and there is one table per switch, not two.

import { LFT_BLOCK_LIDS, LFT_DISCARD } from "../spec/mad/numbers.ts";

/** What is known of a block; a block may be under way and wanted otherwise already. */
const BlockState = { WRITTEN: 0, WANTED: 1, UNDER_WAY: 2, FAILED: 4 } as const;

export class LinearTable {
  #ports: Uint8Array = new Uint8Array(0);
  /** By block: `BlockState` bits. */
  #states: Uint8Array = new Uint8Array(0);
  /** No block before it is WANTED. */
  #firstWanted = 0;
  /** Blocks under way. */
  underWay = 0;

  /** LIDs it has entries for, from 0; a multiple of a block. */
  get length(): number {
    return this.#ports.length;
  }

  get blockCount(): number {
    return this.#states.length;
  }

  /** Makes room for LIDs up to `top`. What the switch has in new blocks is not known. */
  grow(top: number): void {
    const blocks = Math.floor(top / LFT_BLOCK_LIDS) + 1;
    if (blocks <= this.blockCount) return;
    const ports = new Uint8Array(blocks * LFT_BLOCK_LIDS).fill(LFT_DISCARD);
    ports.set(this.#ports);
    const states = new Uint8Array(blocks).fill(BlockState.WANTED);
    states.set(this.#states);
    this.#ports = ports;
    this.#states = states;
  }

  /** Output port for `lid`. */
  portOf(lid: number): number {
    return this.#ports[lid] ?? LFT_DISCARD;
  }

  /** Wants `lid` (below `length`) to leave by `port`. */
  set(lid: number, port: number): void {
    if (this.#ports[lid] === port) return;
    this.#ports[lid] = port;
    this.#want(Math.floor(lid / LFT_BLOCK_LIDS));
  }

  /** The entries of a block: a window on the table. */
  block(block: number): Uint8Array {
    return this.#ports.subarray(block * LFT_BLOCK_LIDS, (block + 1) * LFT_BLOCK_LIDS);
  }

  /** A block that is to be written, now under way; -1 if there is none. A block is under way only once, so writes cannot overtake. */
  take(): number {
    for (let block = this.#firstWanted; block < this.blockCount; block++) {
      if (this.#states[block] !== BlockState.WANTED) continue;
      this.#firstWanted = block + 1;
      this.#states[block] = BlockState.UNDER_WAY;
      this.underWay++;
      return block;
    }
    this.#firstWanted = this.blockCount;
    return -1;
  }

  /** The write of a block has come to an end; a failed one waits for `retryFailed`. */
  finish(block: number, isWritten: boolean): void {
    this.underWay--;
    const isWanted = ((this.#states[block] ?? 0) & BlockState.WANTED) !== 0;
    this.#states[block] = isWritten ? BlockState.WRITTEN : BlockState.FAILED;
    if (isWritten && isWanted) this.#want(block);
  }

  /** Blocks that could not be written are to be written again. */
  retryFailed(): void {
    for (let block = 0; block < this.blockCount; block++) {
      if (this.#states[block] === BlockState.FAILED) this.#want(block);
    }
  }

  /** What the switch has is not known. */
  rewriteAll(): void {
    for (let block = 0; block < this.blockCount; block++) this.#want(block);
  }

  /** Somebody else may have written a block (below `blockCount`) after this table was. */
  rewrite(block: number): void {
    this.#want(block);
  }

  #want(block: number): void {
    this.#states[block] = ((this.#states[block] ?? 0) & BlockState.UNDER_WAY) | BlockState.WANTED;
    if (block < this.#firstWanted) this.#firstWanted = block;
  }
}
