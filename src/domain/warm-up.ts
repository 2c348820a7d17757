// Lets the JavaScript engine compile the data path before the first guest uses it. Cold, the first thousands of messages take
// several times as long (docs "engine", Runtime). It costs some tenths of a second of processor time, which booting VMs need for
// themselves: the engine takes a step whenever nobody else has anything to do (engine-loop.ts).

import { type Clock, NS_PER_S } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { shapeTopology } from "../fabric/topology/shapes.ts";
import { newTopologyFabric } from "./engine-fabric.ts";
import { InProcessPair, PAIR_MESSAGE_BYTES, type PairOperation } from "./in-process-pair.ts";

const OPERATIONS: readonly PairOperation[] = ["send", "write", "read", "atomic"];
const SMALL = 8;
/** Per operation and size, whichever comes first. */
const ROUNDS = 2_000;
const LIMIT_NS = 30e6;
/** How long one step may take, in rounds: some milliseconds while all is cold, less than one in the end. */
const ROUNDS_PER_STEP = 100;

/** Moves messages of every kind between two guests of its own, some at each step. The first step, which makes the guests, takes the longest. */
export function* warmUpSteps(clock: Clock, random: Random): Generator<void, void> {
  const pair = new InProcessPair({ clock, random });
  for (const length of [SMALL, PAIR_MESSAGE_BYTES]) {
    for (const kind of OPERATIONS) {
      const once = pair.operation(kind, kind === "atomic" ? SMALL : length);
      let spentNs = 0;
      for (let rounds = 0; rounds < ROUNDS && spentNs < LIMIT_NS; rounds += ROUNDS_PER_STEP) {
        yield;
        const start = clock.nowNs();
        for (let i = 0; i < ROUNDS_PER_STEP; i++) once();
        spentNs += clock.nowNs() - start;
      }
    }
  }
}

/** Fabrics that come up for nothing, and packets in one step of that. */
const FABRICS = 24;
const PACKETS_PER_STEP = 256;
const FABRIC_SHAPE = "fat-tree:4";

/** The same for management of large fabrics, where a subnet manager sends thousands of packets as soon as it starts. */
export function* fabricWarmUpSteps(random: Random): Generator<void, void> {
  for (let i = 0; i < FABRICS; i++) {
    const fabric = newTopologyFabric(shapeTopology(FABRIC_SHAPE), "builtin", random);
    for (let nowNs = 1; nowNs < NS_PER_S; nowNs = Math.max(nowNs + 1, fabric.nextDeadlineNs())) {
      yield;
      fabric.step(nowNs, PACKETS_PER_STEP);
    }
  }
}

/** All of it at once. */
export function warmUp(clock: Clock, random: Random): void {
  for (const _ of warmUpSteps(clock, random));
}
