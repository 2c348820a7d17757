// The fabric as the device domain makes it: LabFabric with the built-in subnet manager.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SimClock } from "../base/clock.ts";
import { Random } from "../base/random.ts";
import { LabFabric } from "../fabric/lab-fabric.ts";
import { SimulatedDriver } from "../fabric/simulated-driver.ts";
import { subnetManager } from "./subnet-manager.ts";

test("two HCAs, the loop a domain runs: active within a few steps, then quiet until the next sweep", () => {
  const clock = new SimClock();
  const lab = new LabFabric({ subnetManager: subnetManager({ random: new Random(1) }) });
  const drivers = [1, 2].map((n) => new SimulatedDriver(lab.addCa({ description: `vm${n} HCA` })));
  for (const { port } of drivers) port.enable();
  let steps = 0;
  while (lab.nextDeadlineNs() <= clock.nowNs()) {
    lab.step(clock.nowNs(), 64);
    steps++;
  }
  assert.ok(steps < 20, `${steps} steps of 64 packets`);
  assert.ok(drivers.every(({ port }) => port.isActive));
  assert.equal(drivers[0]!.port.resolve(drivers[1]!.port.lid), 1);
  assert.ok(lab.nextDeadlineNs() > 10e6, "nothing due but time-outs and sweeps");
  const late = new SimulatedDriver(lab.addCa({ description: "vm3 HCA" }));
  late.port.enable();
  assert.ok(lab.nextDeadlineNs() <= clock.nowNs(), "there is work at once");
  while (lab.nextDeadlineNs() <= clock.nowNs()) lab.step(clock.nowNs());
  assert.ok(late.port.isActive);
  lab.removeCa(late.port);
  clock.advanceNs(1e9);
  lab.step(clock.nowNs());
  assert.deepEqual(
    lab.inspect().nodes.map(({ description }) => description),
    ["vhca switch", "vm1 HCA", "vm2 HCA"],
  );
});

test("steps of one packet each come to the same end", () => {
  const lab = new LabFabric({ subnetManager: subnetManager({ random: new Random(1) }), switchPorts: 8 });
  const driver = new SimulatedDriver(lab.addCa({ description: "vm1 HCA" }));
  driver.port.enable();
  for (let i = 0; i < 2000; i++) assert.ok(lab.step(0, 1) <= 1);
  assert.ok(driver.port.isActive);
  assert.deepEqual(driver.events, [true]);
});
