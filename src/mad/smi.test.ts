import assert from "node:assert/strict";
import { test } from "node:test";
import { Smp } from "../spec/mad/headers.ts";
import { Method, SmAttribute } from "../spec/mad/numbers.ts";
import { bytesOf, newDirectedSmp } from "./mad.ts";
import { routeSmp, SmiRoute } from "./smi.ts";

const SWITCH = { isSwitch: true, portCount: 36 };
const CA = { isSwitch: false, portCount: 1 };
const get = (path: number[]) => newDirectedSmp(path, Method.GET, SmAttribute.NODE_INFO);
const pointer = (mad: DataView) => Smp.hopPointer.get(mad, 0);

test("a route of three hops out and back, hop pointers and return path as 14.2.2 has them", () => {
  const mad = get([1, 5, 7]);
  assert.equal(routeSmp(CA, mad, 0, 0), 1, "the requester sends by InitialPath[1]");
  assert.equal(pointer(mad), 1);
  assert.equal(routeSmp(SWITCH, mad, 0, 3), 5);
  assert.equal(routeSmp(SWITCH, mad, 0, 9), 7);
  assert.equal(pointer(mad), 3);
  assert.equal(routeSmp(CA, mad, 0, 1), SmiRoute.AGENT);
  assert.equal(pointer(mad), 4);
  assert.deepEqual([...bytesOf(mad).subarray(193, 196)], [3, 9, 1]);

  Smp.direction.set(mad, 0, 1);
  assert.equal(routeSmp(CA, mad, 0, 0), 1);
  assert.equal(routeSmp(SWITCH, mad, 0, 7), 9);
  assert.equal(routeSmp(SWITCH, mad, 0, 5), 3);
  assert.equal(pointer(mad), 1);
  assert.equal(routeSmp(CA, mad, 0, 1), SmiRoute.MANAGER);
  assert.equal(pointer(mad), 0);
});

test("no hops: for this node's own agent, and home again", () => {
  const mad = get([]);
  assert.equal(routeSmp(CA, mad, 0, 0), SmiRoute.AGENT);
  Smp.direction.set(mad, 0, 1);
  assert.equal(routeSmp(CA, mad, 0, 0), SmiRoute.MANAGER);
});

test("what is dropped: CAs in the middle, ports that are not there, pointers out of range", () => {
  const middle = get([1, 2]);
  Smp.hopPointer.set(middle, 0, 1);
  assert.equal(routeSmp(CA, middle, 0, 1), SmiRoute.DROP);
  for (const port of [0, 37, 255]) {
    const mad = get([1, port]);
    Smp.hopPointer.set(mad, 0, 1);
    assert.equal(routeSmp(SWITCH, mad, 0, 1), SmiRoute.DROP, `port ${port}`);
  }
  const unsent = get([1, 2]);
  assert.equal(routeSmp(SWITCH, unsent, 0, 4), SmiRoute.DROP, "the sender has not advanced the pointer");
  const beyond = get([1]);
  Smp.hopPointer.set(beyond, 0, 5);
  assert.equal(routeSmp(SWITCH, beyond, 0, 4), SmiRoute.DROP);
  const long = get([1]);
  Smp.hopCount.set(long, 0, 64);
  assert.equal(routeSmp(SWITCH, long, 0, 0), SmiRoute.DROP);
  const returning = get([1, 2]);
  Smp.direction.set(returning, 0, 1);
  Smp.hopPointer.set(returning, 0, 2);
  assert.equal(routeSmp(SWITCH, returning, 0, 4), SmiRoute.DROP, "an empty return path");
});

test("mixed routes: the directed part ends in a LID, on either way", () => {
  const out = get([3]);
  Smp.drDlid.set(out, 0, 9);
  Smp.hopPointer.set(out, 0, 1);
  assert.equal(routeSmp(SWITCH, out, 0, 2), SmiRoute.LID_ROUTED);
  const atCa = get([3]);
  Smp.drDlid.set(atCa, 0, 9);
  Smp.hopPointer.set(atCa, 0, 1);
  assert.equal(routeSmp(CA, atCa, 0, 1), SmiRoute.DROP);
  const back = get([3]);
  Smp.drSlid.set(back, 0, 8);
  Smp.direction.set(back, 0, 1);
  Smp.hopPointer.set(back, 0, 1);
  assert.equal(routeSmp(SWITCH, back, 0, 2), SmiRoute.LID_ROUTED);
});
