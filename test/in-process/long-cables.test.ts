// Cables so long that all the room in them is taken: senders wait for time to pass, nobody turns round in circles meanwhile, and a command of a driver
// is carried out though the clock stands still.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { CabledHosts } from "./cabled-hosts.ts";
import { Buffer64, connect, datagramQp, type End, fill } from "./pair.ts";

const PAIR = `
switches: { s1: { ports: 8 } }
hosts: { a: { switch: s1 }, b: { switch: s1 } }
`;
const MS = 1e6;
const DELAY_NS = 50 * MS;
/** More than the fabric has room for: 4096 packets, and a ring in front of them. */
const SENDERS = 30;
const MESSAGE_BYTES = 512 << 10;
const MTU = 2048;
const GRH = 40;
const PATH = { retryCount: 7, rnrRetry: 7, ackTimeout: 20, mtuCode: 4 };

function longCable(): { world: CabledHosts; a: End; b: End } {
  const world = new CabledHosts(PAIR, ["a", "b"], 1, 64 << 20);
  world.setFaults("a", "s1", { delayNs: DELAY_NS });
  const [a, b] = world.hosts as [End, End];
  return { world, a, b };
}

const ways = { RC: Service.RC, UC: Service.UC };
for (const [name, service] of Object.entries(ways)) {
  test(`${name}: full long cables make senders wait; commands go on, and all arrives`, () => {
    const { world, a, b } = longCable();
    const source = new Buffer64(a, MESSAGE_BYTES);
    fill(source.bytes, 7);
    const targets = Array.from({ length: SENDERS }, () => {
      const target = new Buffer64(b, MESSAGE_BYTES);
      const [qp] = connect(a, b, service, PATH);
      qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge()], ...target.remote() });
      return target;
    });
    world.system.domain.settle();
    assert.ok(world.network.isLateFull);
    a.device.allocatePd();
    let done = 0;
    for (let i = 0; i < 200; i++) {
      world.elapse(DELAY_NS / 2, 1);
      done += a.cq.poll().filter(({ syndrome }) => syndrome === 0).length;
    }
    assert.equal(done, SENDERS);
    for (const target of targets) assert.ok(target.bytes.equals(source.bytes));
  });
}

test("UD: the same, in order", () => {
  const { world, a, b } = longCable();
  const count = 100;
  const source = new Buffer64(a, MTU);
  const target = new Buffer64(b, GRH + MTU);
  const senders: DriverQueuePair[] = [];
  const receiver = datagramQp(b, 0x1234, { receiveWqes: count });
  for (let i = 0; i < count; i++) receiver.postReceive([target.sge()]);
  for (let i = 0; i < 60; i++) {
    const qp = datagramQp(a, 0x1234, { sendWqes: count });
    senders.push(qp);
    // The last one's are for somebody who listens.
    const remoteQpn = i === 59 ? receiver.number : 0xabc;
    for (let k = 0; k < count; k++)
      qp.postSend({
        ...{ opcode: SendOpcode.SEND_IMM, immediate: k, sges: [source.sge()] },
        ...{ address: { dlid: b.wire.lid }, remoteQpn, qkey: 0x1234 },
        isSignaled: false,
      });
  }
  world.system.domain.settle();
  assert.ok(world.network.isLateFull);
  b.device.allocatePd();
  const arrived: number[] = [];
  for (let i = 0; i < 20; i++) {
    world.elapse(DELAY_NS / 2, 1);
    arrived.push(...b.cq.poll().map(({ immediate }) => immediate));
  }
  assert.deepEqual(arrived, [...new Array(count).keys()]);
});

test("UC goes back to the short path when its packets have come out of the cable, and not sooner", () => {
  const { world, a, b } = longCable();
  const [source, target] = [new Buffer64(a, 64), new Buffer64(b, 64)];
  const [qp] = connect(a, b, Service.UC, PATH);
  const write = (value: number): void => {
    source.bytes.fill(value);
    qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge()], ...target.remote() });
    world.system.domain.settle();
  };
  write(1);
  assert.equal(world.network.hasLate, true);
  world.setFaults("a", "s1", undefined);
  write(2);
  a.device.allocatePd();
  assert.deepEqual([target.bytes[0], a.cq.poll().length], [0, 1], "nothing overtakes what is under way");
  world.elapse(DELAY_NS, 4);
  assert.deepEqual([target.bytes[0], a.cq.poll().length], [2, 1]);
});
