// The compiled requests against the reference engine, in the streams of the other targets with more of those that the program carries out: what
// it leaves to the engine, and comes back from it, is part of them. docs/fuzzing.md.

import "../in-process/compiled.ts";
import assert from "node:assert/strict";
import { after } from "node:test";
import type { Memory } from "../../src/base/bytes.ts";
import type { Random } from "../../src/base/random.ts";
import { workshop } from "../../src/domain/in-process.ts";
import { type Budget, fuzz } from "../fuzz/kit.ts";
import { CompiledBed } from "../in-process/compiled-kit.ts";
import { Streams } from "./streams.ts";
import { type Carrier, MEMORY_BYTES } from "./world.ts";

/** All retries of the shortest timers, several times over. */
const ALL_RETRIES_NS = 4_000_000;
const ELAPSE_STEPS = 16;
const WORN_ROUNDS = 8;
/** Enough for the program to have the most of it, and for the rest to come between. */
const PLAINNESS = 0.8;

/** Two guests' memory in the window, which has no room for that of thousands of cases. */
const memories = [workshop.newGuestMemory(MEMORY_BYTES), workshop.newGuestMemory(MEMORY_BYTES)];
let next = 0;
workshop.newGuestMemory = (byteLength): Memory => {
  const memory = memories[next++ % memories.length]!;
  assert.equal(byteLength, memory.bytes.length);
  memory.bytes.fill(0);
  return memory;
};

/** Cases that have run, and messages that the program has carried out in them. */
let cases = 0;
let messages = 0;
/** Each case has hundreds of requests; some cases have none for the program. */
const CASES_TO_JUDGE = 10;

function runCase(random: Random, run: (carrier: Carrier) => void): void {
  const bed = new CompiledBed(2, { memoryBytes: MEMORY_BYTES, isMapped: random.chance(0.7) });
  const { compiled, domain, guests } = bed;
  run({
    guests,
    settle: () => domain.settle(),
    elapse: () => bed.elapse(ALL_RETRIES_NS, ELAPSE_STEPS),
    movesWholeMessages: true,
  });
  cases++;
  messages += compiled.messages;
  // The window gets back what the program had of it.
  for (const { node } of guests) domain.removeNode(node);
  compiled.close();
}

const streams = (random: Random, budget: Budget): void =>
  runCase(random, (carrier) => new Streams(random, budget, carrier, { plainness: PLAINNESS }).run());
const wrapping = (random: Random, budget: Budget): void =>
  runCase(random, (carrier) => new Streams(random, budget, carrier, { plainness: PLAINNESS, lanes: 1 }).runWorn(WORN_ROUNDS));

fuzz("engine/compiled", streams, { share: 2 });

/** Longer: where counters are not brought near their end, and where nothing plain comes there, it says nothing. */
fuzz("engine/compiled-wrap", wrapping, { share: 2 });

after(() => {
  if (cases < CASES_TO_JUDGE) return;
  assert.ok(messages > cases, `the program has carried out ${messages} messages in ${cases} cases`);
});
