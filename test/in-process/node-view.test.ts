// vhca fabric node NAME: what is shown of a node's lanes while a receiver takes nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeText } from "../../src/cli/fabric/node.ts";
import { inspectNodeNamed } from "../../src/fabric/inspect-node.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { CabledHosts } from "./cabled-hosts.ts";
import { Buffer64, connect, type End } from "./pair.ts";

const TOPOLOGY = "switches: { s1: { ports: 4 } }\nhosts: { a: { switch: s1 }, b: { switch: s1 } }\n";
const MS = 1e6;

function busy(more: string): CabledHosts {
  const world = new CabledHosts(TOPOLOGY + more, ["a", "b"]);
  const [a, b] = world.hosts as [End, End];
  const [qp] = connect(a, b, Service.RC, { retryCount: 7, rnrRetry: 7, ackTimeout: 20, mtuCode: 4, sl: 2 });
  world.system.guests.find(({ name }) => name === "b")!.port.setFrozen(true);
  qp.postSend({
    ...{ opcode: SendOpcode.RDMA_WRITE, sges: [new Buffer64(a, 64 * 1024).sge()] },
    ...new Buffer64(b, 64 * 1024).remote(),
  });
  world.elapse(3000 * MS, 30);
  return world;
}

test("a switch whose host has stopped: credits used up, packets queued, and those that were too old", () => {
  const world = busy("lanes: { head-of-queue: 1s }\nqos: { vl: [0, 0, 1] }\n");
  const node = inspectNodeNamed(world.fabric, "s1");
  assert.equal(node.hasLanes, true);
  const [toA, toB] = node.ports.filter(({ number }) => number > 0).map(({ lanes }) => lanes);
  assert.deepEqual([toB?.bufferBytes, toB?.lanes.length], [16384, 1]);
  const [lane] = toB!.lanes;
  // Seven packets of 2 KiB fill the buffer of b; at least one has been the first of the queue for more than a second.
  assert.deepEqual([lane?.vl, lane?.sentPackets], [1, 7]);
  assert.ok(lane!.discardedPackets > 0 && lane!.creditBytes < 2112 && lane!.packets > 0);
  assert.equal(lane!.queuedBytes, lane!.packets * 2112);
  assert.equal(toA!.lanes[0]!.bufferedBytes, lane!.queuedBytes, "they lie in the buffer of the port that they came by");
  const waiting = inspectNodeNamed(world.fabric, "a").ports[0]!.lanes!.lanes[0]!;
  assert.deepEqual(world.system.fabric.inspect().lanes, {
    packets: waiting.packets + lane!.packets + lane!.sentPackets,
    bufferBytes: 16384,
    counts: { tooOld: lane!.discardedPackets, stalled: 0, withoutLane: 0, unroutable: 0, copiesLost: 0 },
  });
  const lines = nodeText(node).split("\n");
  assert.match(lines[0]!, /^s1 {2}switch, node GUID 0x[0-9a-f]{16}, receive buffers of 16384 B for each lane$/);
  assert.match(lines[1]!, /^port +peer +LID +link +state +VLs +VL +sent +queued +bytes +credits +buffered +waited +discarded$/);
  assert.match(lines.find((line) => line.includes("b:1"))!, /4X DDR +ACTIVE +4 +1 +7 +[1-9]/);
  assert.match(nodeText(inspectNodeNamed(world.fabric, "a")), /^a {2}host/);
  assert.throws(() => inspectNodeNamed(world.fabric, "s11"), /no node s11; did you mean s1/);
});

test("without lanes there are none to show", () => {
  const { fabric, system } = busy("");
  assert.equal(system.fabric.inspect().lanes, undefined);
  const node = inspectNodeNamed(fabric, "s1");
  assert.ok(!node.hasLanes && node.ports.every(({ lanes }) => lanes === undefined));
  assert.match(nodeText(node).split("\n")[1]!, /^port +peer +LID +link +state$/);
});
