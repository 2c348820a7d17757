import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { Random } from "../base/random.ts";
import { systemClock } from "../host/clock.ts";
import { ibsimWarmUpSteps } from "./ibsim-warm-up.ts";

test("the warm-up brings a fabric up by the way that programs of the host take, every request answered", () => {
  const descriptors = (): number => readdirSync("/proc/self/fd").length;
  const before = descriptors();
  const steps = ibsimWarmUpSteps(systemClock, new Random(1));
  let next = steps.next();
  while (next.done !== true) next = steps.next();
  assert.ok(next.value);
  const { domain, program } = next.value;
  assert.ok(program.isAnswered);
  const { "ibsim.madsFrom": from, "ibsim.madsTo": to, "ibsim.timedOut": timedOut } = domain.ibsimCounts;
  assert.ok(program.sent > 1000);
  assert.deepEqual([from, to, timedOut], [program.sent, program.sent, 0]);
  const links = domain.inspectLinks(0, 128).items;
  assert.equal(links.length, 48);
  for (const { a, b } of links) assert.deepEqual([a.state, b.state], ["ACTIVE", "ACTIVE"]);
  program.close();
  domain.close();
  assert.equal(descriptors(), before, "every socket is closed, those of earlier fabrics, too");
});
