// Brings the switches' linear forwarding tables to what routing wants, block by block. IBA vol 1, 14.2.5.10. Each switch has a few writes
// under way and is given the next one when one is answered: what waits is a bit per block, not a request, and a switch that does
// not answer holds up only its own.

import { SmAttribute } from "../spec/mad/numbers.ts";
import { type SmpClient, SmpGroup } from "./smp-client.ts";
import type { SubnetNode } from "./subnet.ts";

/** Blocks of one switch under way at once. */
const WINDOW = 4;

export class LinearProgrammer {
  readonly #smps: SmpClient;
  readonly #onFailure: (node: SubnetNode) => void;

  constructor(smps: SmpClient, onFailure: (node: SubnetNode) => void) {
    this.#smps = smps;
    this.#onFailure = onFailure;
  }

  /** Writes what differs, and once more what could not be written before. */
  start(node: SubnetNode, nowNs: number): void {
    node.switch?.linear.retryFailed();
    this.#feed(node, nowNs);
  }

  #feed(node: SubnetNode, nowNs: number): void {
    const table = node.switch?.linear;
    if (table === undefined) return;
    while (table.underWay < WINDOW) {
      const block = table.take();
      if (block < 0) return;
      const entries = (): Uint8Array => table.block(block);
      this.#smps.set(node.path, SmpGroup.TABLES, SmAttribute.LINEAR_FORWARDING, block, entries, nowNs, (data, now) => {
        table.finish(block, data !== undefined);
        if (data === undefined) this.#onFailure(node);
        this.#feed(node, now);
      });
    }
  }
}
