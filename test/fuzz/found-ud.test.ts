// What fuzzing has found in UD. docs/fuzzing.md.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { QpState } from "../../src/spec/ib/numbers.ts";
import { Buffer64, datagramQp, TestBed } from "../in-process/pair.ts";
import { syndromes, takePageAway } from "./found-kit.ts";

for (const isShared of [false, true]) {
  const queue = isShared ? "an SRQ" : "a receive queue";
  test(`UD: a payload without memory fails its sender and leaves ${queue} as it was`, () => {
    const bed = new TestBed(2);
    const srq = new DriverSharedReceiveQueue(bed[1].device, { pd: bed[1].pd, wqes: 4, sges: 2 });
    const qpA = datagramQp(bed[0]);
    const qpB = datagramQp(bed[1], 0x1234, isShared ? { srq } : {});
    const source = new Buffer64(bed[0], 4096);
    const target = new Buffer64(bed[1], 4096);
    if (isShared) srq.postReceive([target.sge()]);
    else qpB.postReceive([target.sge()]);
    takePageAway(bed[0], source, 0);
    const to = { address: { dlid: bed[1].wire.lid }, remoteQpn: qpB.number, qkey: 0x1234 };
    qpA.postSend({ opcode: SendOpcode.SEND, sges: [source.sge(0, 100)], ...to });
    bed.domain.settle();
    assert.deepEqual([syndromes(bed[0]), syndromes(bed[1])], [[Syndrome.LOCAL_PROTECTION], []]);
    qpA.transition(Command.SQERR2RTS_QP, QpState.RTS, 0);
    qpA.postSend({ opcode: SendOpcode.SEND, inline: Uint8Array.of(0x5a), ...to });
    bed.domain.settle();
    assert.deepEqual([syndromes(bed[0]), syndromes(bed[1])], [[0], [0]]);
    assert.equal(target.bytes[40], 0x5a);
  });
}
