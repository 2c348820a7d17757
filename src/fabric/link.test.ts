import assert from "node:assert/strict";
import { test } from "node:test";
import { processSmp } from "../mad/agents/sma.ts";
import { newRequest } from "../mad/mad.ts";
import { MadHeader, SMP_DATA_AT } from "../spec/mad/headers.ts";
import { MadStatus, Method, MgmtClass, SmAttribute } from "../spec/mad/numbers.ts";
import { PortInfo } from "../spec/mad/sm-attributes.ts";
import { Fabric } from "./fabric.ts";
import { inspectLink } from "./inspect-links.ts";
import { addPhantom, cableOf } from "./topology/build.ts";
import { SPEEDS, WIDTHS } from "./topology/topology.ts";

function world() {
  const fabric = new Fabric();
  const sw = fabric.addSwitch({ guid: 1n, description: "s", portCount: 2 });
  const host = addPhantom(fabric, { kind: "host", name: "h", portCount: 1 }, 0x10n);
  return { fabric, near: sw.ports[1]!, far: host.ports[1]! };
}

test("switches and phantoms are as wide and as fast as their cable", () => {
  for (const width of Object.keys(WIDTHS) as (keyof typeof WIDTHS)[]) {
    for (const speed of Object.keys(SPEEDS) as (keyof typeof SPEEDS)[]) {
      const { fabric, near, far } = world();
      const view = inspectLink(fabric.connect(near, far, cableOf({ width, speed })));
      assert.deepEqual([view.state, view.width, view.speed], ["UP", width, speed]);
    }
  }
});

test("without a word about the cable, and where an HCA is at its end, it is 4X DDR", () => {
  const { fabric, near, far } = world();
  const plain = inspectLink(fabric.connect(near, far));
  assert.deepEqual([plain.width, plain.speed], ["4X", "DDR"]);
  const hca = fabric.addCa({ nodeGuid: 0x20n, description: "hca" }).ports[1]!;
  const link = fabric.connect(hca, near.node.ports[2]!, cableOf({ width: "12X", speed: "NDR" }));
  hca.enable();
  assert.deepEqual([inspectLink(link).width, inspectLink(link).speed], ["4X", "DDR"]);
});

test("a subnet manager may slow an extended speed down, and let it be again; what is not supported is refused", () => {
  const { fabric, near, far } = world();
  const link = fabric.connect(near, far, cableOf({ width: "4X", speed: "HDR" }));
  const set = (extended: number): number => {
    const mad = newRequest(MgmtClass.SUBN_LID_ROUTED, Method.SET, SmAttribute.PORT_INFO, 1);
    new Uint8Array(mad.buffer).set(new Uint8Array(near.info.buffer, near.info.byteOffset, near.info.byteLength), SMP_DATA_AT);
    PortInfo.portState.set(mad, SMP_DATA_AT, 0);
    PortInfo.physState.set(mad, SMP_DATA_AT, 0);
    PortInfo.linkSpeedExtEnabled.set(mad, SMP_DATA_AT, extended);
    processSmp(near.node, mad, { port: 0, ignoreMkey: true, nowNs: 0 });
    return MadHeader.status.get(mad, 0) & 0x7fff;
  };
  assert.equal(set(0x08), MadStatus.INVALID_FIELD, "NDR");
  assert.equal(set(0x02), MadStatus.OK);
  link.retrain();
  assert.equal(inspectLink(link).speed, "EDR");
  assert.equal(set(0x1f), MadStatus.OK);
  link.retrain();
  assert.equal(inspectLink(link).speed, "HDR");
});
