// The engine and its short path against the reference engine: the same streams of WQEs must leave the same memory, completions,
// states, counters and events. docs/fuzzing.md.

import type { Random } from "../../src/base/random.ts";
import { fuzz } from "../fuzz/kit.ts";
import { TestBed } from "../in-process/pair.ts";
import { Streams } from "./streams.ts";
import { type Carrier, MEMORY_BYTES } from "./world.ts";

/** All retries of the shortest timers, several times over. */
const ALL_RETRIES_NS = 4_000_000;
/** More than the shortest wait for a receive. */
const RNR_NS = 100_000;
const RNR_STEPS = 4;
/** All retries of the timers that the packet path is given (world.ts). */
const SLOW_RETRIES_NS = 2e9;
const ELAPSE_STEPS = 16;
/** Rounds after the counters were brought near their end. */
const WORN_ROUNDS = 8;

/** Doorbells are stores that the device polls, or accesses that are trapped. */
const shortPath = (random: Random): Carrier => carrierOf(random, false);
const packetPath = (random: Random): Carrier => carrierOf(random, true);

function carrierOf(random: Random, packets: boolean): Carrier {
  const bed = new TestBed(2, { memoryBytes: MEMORY_BYTES, isMapped: random.chance(0.7), packets });
  return {
    guests: bed.guests,
    settle: () => (packets ? bed.elapse(RNR_NS, RNR_STEPS) : bed.domain.settle()),
    elapse: () => bed.elapse(packets ? SLOW_RETRIES_NS : ALL_RETRIES_NS, ELAPSE_STEPS),
    movesWholeMessages: !packets,
  };
}

/** Twice as long as other targets: a case is a long one. */
fuzz("engine/streams", (random, budget) => new Streams(random, budget, shortPath(random)).run(), { share: 2 });

fuzz("engine/wrap", (random, budget) => new Streams(random, budget, shortPath(random), { lanes: 1 }).runWorn(WORN_ROUNDS));

/** The packet path, held to the same reference as the short one. */
fuzz("engine/packets", (random, budget) => new Streams(random, budget, packetPath(random)).run(), { share: 2 });

fuzz("engine/packets-wrap", (random, budget) =>
  new Streams(random, budget, packetPath(random), { lanes: 1 }).runWorn(WORN_ROUNDS),
);
