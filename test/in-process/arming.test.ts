// The device looks at an arm record whenever it likes, also between two stores of the driver (docs "infinihost" 5.7).

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Buffer64, connect, TestBed } from "./pair.ts";

/** Runs `body` while the device sweeps after each store of a field or a published dword; `storeBig32` cannot be seen. */
function sweptBetweenStores(bed: TestBed, body: () => void): void {
  let sweeps = 0;
  let isSweeping = false;
  const sweep = (): void => {
    if (isSweeping) return;
    isSweeping = true;
    bed.domain.settle();
    isSweeping = false;
    sweeps++;
  };
  const { setUint32 } = DataView.prototype;
  const { store } = Atomics;
  const spies = [
    mock.method(DataView.prototype, "setUint32", function (this: DataView, ...args: Parameters<typeof setUint32>) {
      setUint32.apply(this, args);
      sweep();
    }),
    mock.method(Atomics, "store", (words: Int32Array, at: number, value: number) => {
      store(words, at, value);
      sweep();
      return value;
    }),
  ];
  try {
    body();
  } finally {
    for (const spy of spies) spy.mock.restore();
  }
  assert.ok(sweeps > 0);
}

test("an arm for solicited completions after one for any: at no moment are both halves of different requests seen", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1]);
  const source = new Buffer64(bed[0], 4096);
  const target = new Buffer64(bed[1], 4096);
  const { cq } = bed[1];
  const send = (isSolicited: boolean): void => {
    qpB.postReceive([target.sge(0, 64)]);
    qpA.postSend({ opcode: SendOpcode.SEND, sges: [source.sge(0, 8)], isSolicited });
    bed.domain.settle();
    assert.equal(cq.poll().length, 1);
  };
  for (let round = 1; round <= 9; round++) {
    sweptBetweenStores(bed, () => cq.arm());
    send(false);
    assert.equal(cq.events, 2 * round - 1, "the next completion raises an event");
    sweptBetweenStores(bed, () => cq.arm(true));
    send(false);
    assert.equal(cq.events, 2 * round - 1, "one that is not solicited raises none");
    send(true);
    assert.equal(cq.events, 2 * round, "a solicited one does");
  }
});
