// Tables of ports that the manager fills: P_Keys, GUIDs, SLtoVL, VL arbitration. IBA vol 1, 14.2.5.5, 14.2.5.7 to 14.2.5.9. Plans say what is wanted,
// here it is compared with what was written since the port's link came up, and the difference is sent. A port becomes ACTIVE when its tables are
// written. Where no plan wants anything, nothing is sent and nothing is kept.

import { type SmpClient, SmpGroup } from "./smp-client.ts";
import type { SubnetPort } from "./subnet.ts";

/** One block of a table: the Set that writes it. */
export interface TableBlock {
  readonly attribute: number;
  readonly modifier: number;
  /** At most 64 bytes. */
  readonly data: Uint8Array;
}

/** Somebody who knows what tables are to hold. */
export interface TablePlan {
  /** Blocks that `port` is to have; those that are not mentioned are left as they are. */
  blocksOf(port: SubnetPort): Iterable<TableBlock>;
}

/** What has been written to a port since its link came up, by attribute and modifier. */
export class WrittenTables {
  readonly blocks: Map<number, Uint8Array> = new Map();
  /** Writes under way. */
  pending = 0;
  /** Writes that failed since the manager last forgot that (`Discovery.sweepLight`). */
  failures = 0;
}

/** Writes of one port that fail before it is left alone for a while. */
const MAX_FAILURES = 8;

const MODIFIERS = 2 ** 32;

export class PortTables {
  readonly #smps: SmpClient;
  readonly #onDone: (port: SubnetPort, nowNs: number) => void;
  readonly #onFailure: () => void;
  readonly #plans: TablePlan[] = [];

  /**
   * @param onDone all that was under way for a port is written
   * @param onFailure a write has failed; it is repeated with the next `start`
   */
  constructor(smps: SmpClient, onDone: (port: SubnetPort, nowNs: number) => void, onFailure: () => void) {
    this.#smps = smps;
    this.#onDone = onDone;
    this.#onFailure = onFailure;
  }

  addPlan(plan: TablePlan): void {
    this.#plans.push(plan);
  }

  /** Sends what `port` does not have. Returns whether it has all that it is to have. */
  start(port: SubnetPort, nowNs: number): boolean {
    if (port.tables !== undefined && port.tables.failures >= MAX_FAILURES) return false;
    for (const plan of this.#plans) for (const block of plan.blocksOf(port)) this.#write(port, block, nowNs);
    return port.tables === undefined || port.tables.pending === 0;
  }

  #write(port: SubnetPort, { attribute, modifier, data }: TableBlock, nowNs: number): void {
    port.tables ??= new WrittenTables();
    const { tables } = port;
    const key = attribute * MODIFIERS + modifier;
    const written = tables.blocks.get(key);
    if (written !== undefined && isEqual(written, data)) return;
    tables.blocks.set(key, data);
    tables.pending++;
    // a repeated write must not bring back what has been replaced meanwhile
    const latest = (): Uint8Array => tables.blocks.get(key) ?? data;
    this.#smps.set(port, SmpGroup.PORTS, attribute, modifier, latest, nowNs, (answer, now) => {
      tables.pending--;
      // the link has gone down meanwhile: all that was written is forgotten
      if (port.tables !== tables) return;
      if (answer === undefined) {
        if (tables.blocks.get(key) === data) tables.blocks.delete(key);
        tables.failures++;
        this.#onFailure();
      }
      if (tables.pending === 0) this.#onDone(port, now);
    });
  }
}

const isEqual = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i]);
