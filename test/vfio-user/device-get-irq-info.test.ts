// VFIO_USER_DEVICE_GET_IRQ_INFO.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { IrqInfo } from "../../src/spec/vfio-user/messages.ts";
import { Command, IrqIndex, IrqInfoFlag } from "../../src/spec/vfio-user/numbers.ts";
import { testEveryMessage } from "./every-message.ts";
import { record, rig } from "./raw-peer.ts";
import { MSIX_VECTORS } from "./toy-device.ts";

testEveryMessage({
  name: "DEVICE_GET_IRQ_INFO",
  command: Command.DEVICE_GET_IRQ_INFO,
  leastArgsz: IrqInfo.byteLength,
  example: () => ({
    payload: record(IrqInfo, { index: IrqIndex.MSIX }),
    replyPayload: record(IrqInfo, { flags: IrqInfoFlag.EVENTFD, index: IrqIndex.MSIX, count: MSIX_VECTORS }),
  }),
});

test("DEVICE_GET_IRQ_INFO: the number of vectors, INTx masks itself, MSI-X can be resized", (t) => {
  const one = rig(t).ready();
  const seen = Array.from({ length: 5 }, (_, index) => {
    const { view, payload } = one.expect(Command.DEVICE_GET_IRQ_INFO, record(IrqInfo, { index }));
    assert.equal(payload.length, 16);
    assert.equal(IrqInfo.index.get(view, 0), index);
    return [IrqInfo.count.get(view, 0), IrqInfo.flags.get(view, 0)];
  });
  const { EVENTFD, MASKABLE, AUTOMASKED } = IrqInfoFlag;
  assert.deepEqual(seen[IrqIndex.INTX], [1, EVENTFD | MASKABLE | AUTOMASKED]);
  assert.deepEqual(seen[IrqIndex.MSIX], [MSIX_VECTORS, EVENTFD]);
  assert.deepEqual(seen[IrqIndex.ERR], [0, EVENTFD]);
});

test("DEVICE_GET_IRQ_INFO: an index beyond the last; other fields are not looked at", (t) => {
  const one = rig(t).ready();
  for (const index of [5, 6, 0x8000_0000, 0xffff_ffff]) {
    one.expectErrno(Errno.EINVAL, Command.DEVICE_GET_IRQ_INFO, record(IrqInfo, { index }));
  }
  const full = record(IrqInfo, { flags: 0xffff_ffff, index: IrqIndex.REQ, count: 0xffff_ffff });
  const { payload } = one.expect(Command.DEVICE_GET_IRQ_INFO, full);
  assert.deepEqual(payload, record(IrqInfo, { flags: IrqInfoFlag.EVENTFD, index: IrqIndex.REQ, count: 1 }));
});
