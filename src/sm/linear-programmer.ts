// Brings the switches' linear forwarding tables to what routing wants, block by block. IBA vol 1, 14.2.5.10. A few switches at a time have a
// few writes under way each and are given the next one when one is answered: what waits is a bit per block, not a request, and a switch that
// does not answer holds up only its own.

import { SmAttribute } from "../spec/mad/numbers.ts";
import { type SmpClient, SmpGroup } from "./smp-client.ts";
import type { Subnet, SubnetNode } from "./subnet.ts";

/** Blocks of one switch under way at once. */
const WINDOW = 4;

export class LinearProgrammer {
  readonly #subnet: Subnet;
  readonly #smps: SmpClient;
  readonly #onFailure: (node: SubnetNode) => void;
  /** Switches that have not had their turn. */
  readonly #waiting: Set<SubnetNode> = new Set();

  constructor(subnet: Subnet, smps: SmpClient, onFailure: (node: SubnetNode) => void) {
    this.#subnet = subnet;
    this.#smps = smps;
    this.#onFailure = onFailure;
  }

  /** What differs is to be written, and once more what could not be written before: in `step`, when it is the switch's turn. */
  start(node: SubnetNode): void {
    node.switch?.linear.retryFailed();
    this.#waiting.add(node);
  }

  get isWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** Whether `step` has something to do. */
  get isReady(): boolean {
    return this.isWaiting && this.#smps.hasRoom(SmpGroup.TABLES);
  }

  step(nowNs: number): void {
    for (const node of this.#waiting) {
      if (!this.isReady) return;
      this.#waiting.delete(node);
      this.#feed(node, nowNs);
    }
  }

  #feed(node: SubnetNode, nowNs: number): void {
    const table = node.switch?.linear;
    if (table === undefined || !this.#subnet.has(node)) return;
    while (table.underWay < WINDOW) {
      const block = table.take();
      if (block < 0) return;
      const entries = (): Uint8Array => table.block(block);
      this.#smps.set(node, SmpGroup.TABLES, SmAttribute.LINEAR_FORWARDING, block, entries, nowNs, (data, now) => {
        table.finish(block, data !== undefined);
        if (!this.#subnet.has(node)) this.#writeAgain(node.guid, block);
        else if (data === undefined) this.#onFailure(node);
        this.#feed(node, now);
      });
    }
  }

  /** The switch was lost and found again while a write was under way: which of two came last is not known. */
  #writeAgain(guid: bigint, block: number): void {
    const node = this.#subnet.nodes.get(guid);
    const table = node?.switch?.linear;
    if (node === undefined || table === undefined || block >= table.blockCount) return;
    table.rewrite(block);
    this.#waiting.add(node);
  }
}
