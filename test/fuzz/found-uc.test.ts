// What fuzzing has found in UC. docs/fuzzing.md.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";
import { Buffer64, connect, TestBed } from "../in-process/pair.ts";
import { syndromes, takePageAway } from "./found-kit.ts";

test("UC refuses what it does not have, whether or not somebody is at the other end", () => {
  const bed = new TestBed(2);
  for (const isThere of [true, false]) {
    const [qpA, qpB] = connect(bed[0], bed[1], Service.UC);
    const result = new Buffer64(bed[0], 8);
    const target = new Buffer64(bed[1], 8);
    if (!isThere) qpB.reset();
    qpA.postSend({ opcode: SendOpcode.ATOMIC_FA, sges: [result.sge()], swapAdd: 1n, ...target.remote() });
    bed.domain.settle();
    assert.deepEqual(syndromes(bed[0]), [Syndrome.LOCAL_QP_OPERATION], `peer ${isThere}`);
  }
});

for (const isShared of [false, true]) {
  const queue = isShared ? "an SRQ" : "a receive queue";
  test(`UC: a message that breaks off at its source leaves its receive WQE, from ${queue}, to the next one`, () => {
    const bed = new TestBed(2);
    const srq = new DriverSharedReceiveQueue(bed[1].device, { pd: bed[1].pd, wqes: 4, sges: 2 });
    const [qpA, qpB] = connect(bed[0], bed[1], Service.UC, {}, {}, isShared ? { srq } : {});
    const source = new Buffer64(bed[0], 8192);
    const target = new Buffer64(bed[1], 8192);
    if (isShared) srq.postReceive([target.sge()]);
    else qpB.postReceive([target.sge()]);
    takePageAway(bed[0], source, 1);
    qpA.postSend({ opcode: SendOpcode.SEND, sges: [source.sge()] });
    bed.domain.settle();
    assert.deepEqual([syndromes(bed[0]), syndromes(bed[1])], [[Syndrome.LOCAL_PROTECTION], []]);
    qpA.transition(Command.SQERR2RTS_QP, QpState.RTS, 0);
    qpA.postSend({ opcode: SendOpcode.SEND, inline: Uint8Array.of(0x5a) });
    bed.domain.settle();
    assert.deepEqual([syndromes(bed[0]), syndromes(bed[1])], [[0], [0]]);
    assert.equal(target.bytes[0], 0x5a);
  });
}
