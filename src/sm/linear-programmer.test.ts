import assert from "node:assert/strict";
import { test } from "node:test";
import { LFT_BLOCK_LIDS, NodeType } from "../spec/mad/numbers.ts";
import { NodeInfo } from "../spec/mad/sm-attributes.ts";
import { LinearProgrammer } from "./linear-programmer.ts";
import type { SmpClient, SmpDone } from "./smp-client.ts";
import { Subnet, SubnetNode } from "./subnet.ts";

const GUID = 0x10n;

function newSwitch(): SubnetNode {
  const info = new DataView(new ArrayBuffer(NodeInfo.byteLength));
  NodeInfo.nodeType.set(info, 0, NodeType.SWITCH);
  NodeInfo.nodeGuid.setBig(info, 0, GUID);
  NodeInfo.portCount.set(info, 0, 4);
  return new SubnetNode(new Uint8Array(info.buffer));
}

/** Writes that wait for their answers. */
function world() {
  const writes: { port: number; done: SmpDone }[] = [];
  const smps = {
    hasRoom: () => true,
    set: (
      _to: unknown,
      _group: number,
      _attribute: number,
      _block: number,
      data: () => Uint8Array,
      _now: number,
      done: SmpDone,
    ) => void writes.push({ port: data()[1]!, done }),
  };
  const subnet = new Subnet();
  const failed: SubnetNode[] = [];
  const programmer = new LinearProgrammer(subnet, smps as unknown as SmpClient, (node) => failed.push(node));
  const add = (port: number): SubnetNode => {
    const node = newSwitch();
    subnet.add(node);
    node.switch!.linear.grow(LFT_BLOCK_LIDS - 1);
    node.switch!.linear.set(1, port);
    programmer.start(node);
    programmer.step(0);
    return node;
  };
  return { writes, subnet, failed, programmer, add };
}

test("a switch lost and found again is written once more when the writes of its former life have ended, answered or not", () => {
  for (const answer of [new DataView(new ArrayBuffer(64)), undefined]) {
    const { writes, subnet, failed, programmer, add } = world();
    add(3);
    subnet.forget();
    const found = add(4);
    assert.deepEqual(
      writes.map(({ port }) => port),
      [3, 4],
    );
    writes[1]!.done(new DataView(new ArrayBuffer(64)), 1);
    assert.equal(programmer.isReady, false);
    writes[0]!.done(answer, 2);
    assert.ok(programmer.isReady);
    programmer.step(3);
    assert.deepEqual(
      writes.map(({ port }) => port),
      [3, 4, 4],
    );
    assert.deepEqual(failed, [], "what fails of a former life is nothing to try again there");
    assert.equal(found.switch!.linear.underWay, 1);
  }
});
