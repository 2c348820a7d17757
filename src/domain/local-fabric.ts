// vhca/in-process: HCAs, switch, subnet manager and engine inside the calling program. No thread, no socket, no privilege, no native
// module; everything happens while somebody waits, polls or serves. For tests, teaching and demonstrations.

import { randomInt } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import { Random } from "../base/random.ts";
import type { DataPath } from "../transport/network.ts";
import { Context, type ContextOptions } from "../verbs/context.ts";
import { InProcessFabric } from "./in-process-fabric.ts";

const MIB = 2 ** 20;
const NS_PER_MS = 1e6;

export interface LocalFabricOptions {
  /** Decides what time it is; the machine's by default. A simulated one makes everything repeatable. */
  readonly clock?: Clock;
  /** Of transaction numbers and the like; random by default. */
  readonly seed?: number;
  /** Engines that the HCAs are spread over, one after the other; 1 if left out. HCAs of different ones exchange packets. */
  readonly engines?: number;
  /** Whether messages are cut into packets: always ("packets"), never ("short"), or where faults want it ("auto", the default). */
  readonly dataPath?: DataPath;
}

export interface LocalDeviceOptions extends ContextOptions {
  /** Memory for queues, buffers and the HCA's tables, in bytes; 64 MiB if left out. */
  readonly memoryBytes?: number;
}

const machineClock: Clock = { nowNs: () => Math.round(performance.now() * NS_PER_MS) };

export class LocalFabric {
  readonly #fabric: InProcessFabric;
  readonly #defaults: { clock: Clock; seed: number };
  #count = 0;

  constructor(options: LocalFabricOptions = {}) {
    const { clock = machineClock, seed = randomInt(2 ** 32), engines = 1, dataPath = "auto" } = options;
    this.#defaults = { clock, seed };
    this.#fabric = new InProcessFabric({ clock, random: new Random(seed), engines, dataPath });
  }

  /** Plugs another HCA into the switch and opens it. */
  openDevice(options: LocalDeviceOptions = {}): Context {
    const { memoryBytes = 64 * MIB, ...device } = options;
    this.#count++;
    const { node } = this.#fabric.addHca(`n${this.#count}`, memoryBytes);
    const { clock, seed } = this.#defaults;
    return new Context(node.access, { clock, random: new Random(seed + this.#count), ...device });
  }

  /** Lets everything do a little; returns how much there was. Whoever waits does this by itself. */
  step(): number {
    return this.#fabric.domain.step();
  }

  /** Lets everything work until there is nothing to do at this time. */
  settle(): void {
    this.#fabric.domain.settle();
  }
}
