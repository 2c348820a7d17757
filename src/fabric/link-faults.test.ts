import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../base/random.ts";
import { PortCounter } from "../spec/ib/port-counters.ts";
import { Fabric } from "./fabric.ts";
import type { FabricNode } from "./node.ts";

/** A VL 15 packet of nothing: what a switch that it is not for counts as an error of its own makes no difference here. */
function packet(): Uint8Array {
  const bytes = new Uint8Array(8 + 20 + 256);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0xf0);
  view.setUint8(1, 2);
  view.setUint16(2, 0xffff);
  view.setUint16(4, bytes.length / 4 + 1);
  return bytes;
}

function cabled() {
  const fabric = new Fabric(new Random(3));
  const [a, b] = [1n, 2n].map((guid) => fabric.addSwitch({ guid, description: `s${guid}`, portCount: 1 }).ports[1]!) as [
    never,
    never,
  ];
  const arrived: number[] = [];
  const link = fabric.connect(a, b);
  (b as { node: FabricNode }).node.receive = () => void arrived.push(fabric.nowNs);
  return { fabric, link, arrived, send: () => fabric.transmitFrom(link.a, packet(), 0, undefined) };
}

test("management packets get lost in a faulty cable, or arrive broken and are counted there", () => {
  const { fabric, link, arrived, send } = cabled();
  fabric.setFaults(link, { loss: 0.25, corruption: 0.5, delayNs: 0 });
  assert.ok(fabric.hasFaults);
  for (let i = 0; i < 400; i++) {
    send();
    fabric.step(i);
  }
  assert.equal(arrived.length + link.counts.lost + link.counts.corrupted, 400);
  assert.ok(link.counts.lost > 60 && link.counts.lost < 140, String(link.counts.lost));
  assert.ok(link.counts.corrupted > 110 && link.counts.corrupted < 190, String(link.counts.corrupted));
  assert.equal(link.b.counters[PortCounter.rcvErrors], link.counts.corrupted);
  assert.equal(link.a.counters[PortCounter.rcvErrors] ?? 0, 0);
});

test("they take their time in a long one, and arrive in their order", () => {
  const { fabric, link, arrived, send } = cabled();
  fabric.step(1000);
  fabric.setFaults(link, { loss: 0, corruption: 0, delayNs: 300 });
  send();
  fabric.step(1100);
  send();
  assert.equal(fabric.nextDeadlineNs(), 1300);
  fabric.step(1299);
  assert.deepEqual(arrived, []);
  fabric.step(1300);
  assert.deepEqual(arrived, [1300]);
  fabric.step(1400);
  assert.deepEqual(arrived, [1300, 1400]);
  assert.equal(fabric.nextDeadlineNs(), Number.POSITIVE_INFINITY);
  assert.deepEqual(link.counts, { lost: 0, corrupted: 0, delayed: 2 });
});

test("what is in a cable that is pulled does not arrive", () => {
  const { fabric, link, arrived, send } = cabled();
  fabric.setFaults(link, { loss: 0, corruption: 0, delayNs: 300 });
  send();
  link.setPlugged(false);
  fabric.step(300);
  assert.deepEqual(arrived, []);
  assert.equal(fabric.counts.refused, 1);
});

test("a mended or removed cable is no fault of the fabric any more; faults out of bounds are refused", () => {
  const { fabric, link } = cabled();
  const faults = { loss: 0.1, corruption: 0, delayNs: 0 };
  fabric.setFaults(link, faults);
  fabric.setFaults(link, { ...faults, loss: 0 });
  assert.deepEqual([fabric.hasFaults, link.faults], [false, undefined]);
  fabric.setFaults(link, faults);
  assert.throws(() => fabric.setFaults(link, { ...faults, loss: 1.5 }), /loss: expected a part of 1, from 0 to 1, got 1.5/);
  assert.throws(() => fabric.setFaults(link, { ...faults, corruption: Number.NaN }), /corruption: expected/);
  assert.throws(() => fabric.setFaults(link, { ...faults, delayNs: -1 }), /delay: expected 0 ns to 10 s, got -1 ns/);
  assert.equal(link.faults, faults);
  fabric.disconnect(link);
  assert.equal(fabric.hasFaults, false);
});
