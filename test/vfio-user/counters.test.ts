// What a server counts of clients that are wrong: each kind of mistake in a counter of its own, so that whoever writes a client
// sees which it was (`vhca hca <host>/<hca>` shows them under "vfio-user").

import assert from "node:assert/strict";
import { test } from "node:test";
import { countersObject } from "../../src/base/counters.ts";
import { Errno } from "../../src/host/system-error.ts";
import { DmaMap, RegionInfo, Version } from "../../src/spec/vfio-user/messages.ts";
import { Command, DmaMapFlag, IrqIndex, MessageType } from "../../src/spec/vfio-user/numbers.ts";
import { ServerCounter } from "../../src/vfio-user/index.ts";
import { message, type Rig, record, rig } from "./raw-peer.ts";

/** Kinds of mistakes, and how often each was seen; zeros left out. */
function mistakes({ server }: Rig): Record<string, number> {
  const counted = countersObject(ServerCounter, server.counters, false);
  const kinds = ServerCounter.names.slice(ServerCounter.errors);
  return Object.fromEntries(Object.entries(counted).filter(([name]) => kinds.includes(name as (typeof kinds)[number])));
}

test("counters: a client without a mistake leaves all of them at zero but that of sessions", (t) => {
  const made = rig(t);
  made.ready().expect(Command.DEVICE_RESET);
  assert.deepEqual(mistakes(made), { sessions: 1 });
});

test("counters: refusals, by what was wrong", (t) => {
  const made = rig(t);
  const one = made.ready();
  one.expectErrno(Errno.EINVAL, Command.DEVICE_GET_REGION_INFO, record(RegionInfo, { index: 99 }));
  assert.deepEqual(mistakes(made), { sessions: 1, errors: 1, refusedInvalid: 1 });
  one.expectErrno(Errno.ENOTSUP, Command.MIG_DATA_READ);
  assert.deepEqual(mistakes(made), { sessions: 1, errors: 2, refusedInvalid: 1, refusedUnsupported: 1 });
  const unreachable = record(DmaMap, { flags: DmaMapFlag.READ, offset: 0n, address: 0n, size: 4096n });
  one.expect(Command.DMA_MAP, unreachable);
  one.expectErrno(Errno.EEXIST, Command.DMA_MAP, unreachable);
  const expected = { errors: 3, refusedInvalid: 1, refusedUnsupported: 1, refusedOther: 1, unreachableRanges: 1 };
  assert.deepEqual(mistakes(made), { sessions: 1, ...expected });
});

test("counters: replies nobody asked for are counted and not answered", (t) => {
  const made = rig(t);
  const one = made.ready();
  one.send(message(Command.DMA_READ, new Uint8Array(0), { type: MessageType.REPLY }));
  one.send(message(Command.DEVICE_RESET, new Uint8Array(0), { type: MessageType.REPLY }));
  assert.equal(one.receive(), undefined);
  assert.deepEqual(mistakes(made), { sessions: 1, unexpectedReplies: 2 });
  assert.ok(!made.device.events.includes("reset"));
});

test("counters: a client that goes in the middle of a message, and one that goes between two", (t) => {
  const made = rig(t);
  const whole = message(Command.VERSION, record(Version, { major: 0, minor: 0 }));
  const cut = made.peer();
  cut.send(whole.subarray(0, 5));
  cut.close();
  assert.deepEqual(mistakes(made), { truncatedMessages: 1 });
  made.ready().close();
  assert.deepEqual(mistakes(made), { sessions: 1, truncatedMessages: 1 });
});

test("counters: interrupts of vectors that there are not", (t) => {
  const made = rig(t);
  made.ready();
  assert.equal(made.device.interrupts?.signal(IrqIndex.MSIX, 4711), false);
  assert.equal(made.device.interrupts?.signal(99, 0), false);
  assert.equal(made.device.interrupts?.signal(IrqIndex.MSIX, -1), false);
  assert.deepEqual(mistakes(made), { sessions: 1, interruptsUnroutable: 3 });
});
