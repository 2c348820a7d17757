// What the differential test has found in atomics. docs/fuzzing.md.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { Buffer64, connect, newQp, TestBed } from "../in-process/pair.ts";
import { syndromes } from "./found-kit.ts";

const REQUEST = { opcode: SendOpcode.ATOMIC_FA, swapAdd: 1n };

test("an atomic whose result is not 8 bytes fails before anything is sent, also if nobody would answer", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1]);
  const [result, target] = [new Buffer64(bed[0], 16), new Buffer64(bed[1], 8)];
  qpB.reset();
  qpA.postSend({ ...REQUEST, sges: [result.sge()], ...target.remote() });
  bed.domain.settle();
  assert.deepEqual(syndromes(bed[0]), [Syndrome.LOCAL_LENGTH]);
});

test("a receiver in RTR hears nothing of it", () => {
  const bed = new TestBed(2);
  const [a, b] = [newQp(bed[0], Service.RC), newQp(bed[1], Service.RC)];
  const [result, target] = [new Buffer64(bed[0], 16), new Buffer64(bed[1], 8)];
  a.init();
  a.readyToReceive({ remoteQpn: b.number, dlid: bed[1].wire.lid });
  a.readyToSend({ remoteQpn: b.number, dlid: bed[1].wire.lid });
  b.init();
  b.readyToReceive({ remoteQpn: a.number, dlid: bed[0].wire.lid });
  a.postSend({ ...REQUEST, sges: [result.sge()], ...target.remote() });
  bed.domain.settle();
  assert.deepEqual(syndromes(bed[0]), [Syndrome.LOCAL_LENGTH]);
  assert.deepEqual(bed[1].device.asyncEvents, []);
});
