// The same stream of requests, mistakes and commands for two sets of guests, one served by the compiled program as far as it goes, one by
// TypeScript alone: completions, memory, PSNs, counters and events come out the same.

import { CompiledBed } from "./compiled-kit.ts";
import "./compiled.ts";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { withoutProgram } from "./compiled.ts";
import { CompiledStage, drawStep, type Step } from "./compiled-stage.ts";

const STREAMS = 14;
const STEPS = 60;

const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex").slice(0, 16);

/** All that can be compared. Completions have an order within a queue pair only. */
function stateOf(stage: CompiledStage) {
  return {
    completions: stage.takeCompletions(),
    buffers: stage.buffers.map(({ bytes }) => hash(bytes)),
    qps: stage.describeQps(),
    counters: stage.bed.guests.map(({ node, wire }) => [...node.hca.adapter.counters, ...wire.counters]),
    events: stage.bed.guests.map(({ device, cq }) => [cq.events, device.asyncEvents.map(({ type }) => type).sort()]),
  };
}

test("streams of requests fare the same with the program as without it", () => {
  let byProgram = 0;
  let messages = 0;
  for (let seed = 1; seed <= STREAMS; seed++) {
    const random = new Random(seed);
    const compiled = new CompiledStage(new CompiledBed(), seed);
    const plain = withoutProgram(() => new CompiledStage(new CompiledBed(), seed));
    const done: Step[] = [];
    for (let i = 0; i < STEPS; i++) {
      const step = drawStep(random);
      done.push(step);
      for (const stage of [compiled, plain]) stage.run(step);
      assert.deepEqual(stateOf(compiled), stateOf(plain), `seed ${seed}, step ${i}: ${JSON.stringify(done.slice(-3))}`);
    }
    byProgram += compiled.bed.compiled.messages;
    messages += compiled.messages;
    assert.equal(plain.bed.domain.network.compiled, undefined);
  }
  assert.ok(byProgram > messages / 2, `the program has carried out ${byProgram} of ${messages} messages`);
});
