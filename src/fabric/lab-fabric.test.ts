import assert from "node:assert/strict";
import { test } from "node:test";
import { LabFabric } from "./lab-fabric.ts";
import { SimulatedDriver } from "./simulated-driver.ts";

test("HCAs take the next free switch port and give it back", () => {
  const lab = new LabFabric({ switchPorts: 2 });
  const a = lab.addCa({ description: "vm1 HCA" });
  const b = lab.addCa({ nodeGuid: 0x0002c90300001230n, description: "vm2 HCA" });
  assert.deepEqual([a.index, b.index], [0, 1]);
  assert.equal(a.node.guid, 0x0002c90200000010n);
  assert.equal(b.guid, 0x0002c90300001231n);
  assert.throws(() => lab.addCa({ description: "vm3" }), /no free port/);
  assert.throws(() => new LabFabric().addCa({ nodeGuid: 0x001405000000ff00n, description: "" }), /already in the fabric/);
  const driver = new SimulatedDriver(a);
  a.enable();
  lab.removeCa(a);
  lab.step(0);
  assert.deepEqual(driver.events, []);
  assert.equal(lab.findPort(0), undefined);
  const c = lab.addCa({ description: "vm3 HCA" });
  assert.deepEqual([c.index, c.peer?.number], [0, 1]);
  assert.equal(c.node.guid, 0x0002c90200000020n);
  assert.equal(lab.findPort(0), c);
});

test("inspect shows nodes, links and states", () => {
  const lab = new LabFabric();
  lab.addCa({ description: "vm1 HCA" }).enable();
  lab.step(0);
  const view = lab.inspect();
  assert.deepEqual(
    view.nodes.map(({ type, description }) => [type, description]),
    [
      ["SWITCH", "vhca switch"],
      ["CA", "vm1 HCA"],
    ],
  );
  assert.equal(view.nodes[1]!.ports[0]!.state, "INIT");
  assert.equal(view.nodes[1]!.ports[0]!.link, "4X DDR");
  assert.deepEqual(
    view.links.map(({ bPort, isUp }) => [bPort, isUp]),
    [[1, true]],
  );
  assert.equal(lab.nextDeadlineNs(), Number.POSITIVE_INFINITY, "without a subnet manager nothing is pending");
});
