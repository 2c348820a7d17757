import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CoreHopper } from "./core-hop.ts";

/** Cores that this thread may use, as the kernel says it. */
const allowed = (): string => /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync("/proc/thread-self/status", "utf8"))![1]!;

test("CoreHopper: on to the next core and round, and afterwards every core is allowed as before", (t) => {
  const hopper = new CoreHopper();
  if (hopper.coreCount < 2) return t.skip("one core");
  const before = allowed();
  const seen = new Set<number>();
  let changes = 0;
  for (let i = 0; i < 20 * hopper.coreCount; i++) {
    const from = hopper.core;
    assert.ok(hopper.hop());
    if (hopper.core !== from) changes++;
    seen.add(hopper.core);
    assert.equal(allowed(), before);
  }
  // The scheduler may move the thread between two of these lines, but hardly ever does.
  assert.ok(changes > 10 * hopper.coreCount, `${changes} of ${20 * hopper.coreCount}`);
  assert.equal(seen.size, hopper.coreCount);
});
