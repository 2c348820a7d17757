import assert from "node:assert/strict";
import { test } from "node:test";
import { idlePolicy, measureSleepCostNs } from "./engine-loop.ts";

test("with a core of its own the engine spins; where VMs need the cores, as long as a sleep costs, and then sleeps longer", () => {
  const own = idlePolicy(4, 2, 20_000);
  const shared = idlePolicy(2, 2, 20_000);
  assert.ok(own.spinNs > shared.spinNs);
  assert.equal(shared.spinNs, 20_000);
  assert.ok(own.eagerSleepNs < own.shortSleepNs && own.eagerUntilNs < own.shortUntilNs);
  assert.equal(own.shortSleepNs, 40_000, "the scheduler may let a VM share even that core");
  assert.deepEqual([shared.eagerSleepNs, shared.shortSleepNs], [40_000, 40_000]);
  assert.deepEqual([own.hops, shared.hops], [false, true]);
  assert.deepEqual(idlePolicy(1, 4, 20_000), { ...shared, hops: false }, "one core: nowhere to hop to");
  // a sleep that costs next to nothing is still no spinning
  assert.ok(idlePolicy(2, 2, 500).shortSleepNs >= 10_000);
  for (const policy of [own, shared]) {
    assert.ok(policy.shortSleepNs < policy.mediumSleepNs && policy.mediumSleepNs < policy.longSleepNs);
    assert.ok(policy.longSleepNs < policy.quietSleepNs && policy.quietSleepNs < policy.unusedSleepNs);
    assert.ok(policy.mediumUntilNs < policy.longUntilNs);
    assert.ok(policy.spinNs < policy.shortUntilNs && policy.shortUntilNs < policy.mediumUntilNs);
  }
});

test("what a sleep costs is more than nothing and bounded", () => {
  const cost = measureSleepCostNs();
  assert.ok(Number.isInteger(cost) && cost > 0 && cost <= 40_000, `${cost} ns`);
});
