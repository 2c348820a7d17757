// VFIO_USER_DEVICE_SET_IRQS.

import assert from "node:assert/strict";
import { test } from "node:test";
import { drainEventfd, signalEventfd } from "../../src/host/eventfd.ts";
import { Fcntl, fcntl, write } from "../../src/host/libc.ts";
import { allocateNative } from "../../src/host/mapping.ts";
import { Errno } from "../../src/host/system-error.ts";
import { IrqSet } from "../../src/spec/vfio-user/messages.ts";
import { Command, IrqIndex, IrqSetFlag } from "../../src/spec/vfio-user/numbers.ts";
import { ServerCounter } from "../../src/vfio-user/index.ts";
import { MAX_MESSAGE_DESCRIPTORS } from "../../src/vfio-user/limits.ts";
import { testEveryMessage } from "./every-message.ts";
import { openDescriptors, record, rig } from "./raw-peer.ts";
import { MSIX_VECTORS } from "./toy-device.ts";

const { INTX, MSIX, REQ, ERR } = IrqIndex;
const { DATA_NONE, DATA_BOOL, DATA_EVENTFD, ACTION_MASK, ACTION_UNMASK, ACTION_TRIGGER } = IrqSetFlag;
const SET = Command.DEVICE_SET_IRQS;

const irqSet = (flags: number, index: number, start: number, count: number, bools: readonly number[] = []): Buffer =>
  record(IrqSet, { flags, index, start, count }, Uint8Array.from(bools));

const drained = (fds: readonly number[]): number[] => fds.map(drainEventfd);

testEveryMessage({
  name: "DEVICE_SET_IRQS",
  command: SET,
  leastArgsz: IrqSet.byteLength,
  example: ({ eventfds }) => ({ payload: irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 2, 3), descriptors: eventfds(3) }),
  // what the server has been given is open here a second time, and would be counted as left behind
  prepare: (one) => void one.expect(SET, irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, 0, 0)),
});

test("SET_IRQS: MSI-X vectors set in several messages, one signalled, one replaced, all taken away", (t) => {
  const { ready, device, server, eventfds } = rig(t);
  const events = eventfds(4);
  const one = ready();
  const before = openDescriptors();
  assert.equal(one.expect(SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 1), events.slice(0, 1)).payload.length, 0);
  one.expect(SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 1, 2), events.slice(1, 3));
  assert.equal(openDescriptors(), before + 3);
  assert.equal(device.interrupts?.signal(MSIX, 1), true);
  assert.equal(device.interrupts?.signal(MSIX, 2), true);
  assert.equal(device.interrupts?.signal(MSIX, 2), true);
  assert.deepEqual(drained(events), [0, 1, 2, 0]);
  one.expect(SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 1, 1), events.slice(3));
  assert.equal(openDescriptors(), before + 3, "the replaced eventfd is closed");
  device.interrupts?.signal(MSIX, 1);
  assert.deepEqual(drained(events), [0, 0, 0, 1]);
  one.expect(SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 1, 2));
  assert.equal(openDescriptors(), before + 1);
  one.expect(SET, irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, 0, 0));
  assert.equal(openDescriptors(), before);
  assert.equal(server.counters[ServerCounter.interrupts], 4);
  assert.equal(device.interrupts?.signal(MSIX, MSIX_VECTORS), false);
  assert.equal(device.interrupts?.signal(MSIX, -1), false);
  assert.equal(device.interrupts?.signal(7, 0), false);
});

test("SET_IRQS: an interrupt without eventfd waits for one, like a bit of the PBA; a reset forgets it", (t) => {
  const { ready, device, eventfds } = rig(t);
  const [event = -1] = eventfds(1);
  const one = ready();
  assert.equal(device.interrupts?.signal(MSIX, 5), false);
  assert.equal(device.interrupts?.isPending(MSIX, 5), true);
  one.expect(SET, irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, 0, 0));
  one.expect(SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 5, 1), [event]);
  assert.equal(drainEventfd(event), 1);
  assert.equal(device.interrupts?.isPending(MSIX, 5), false);
  device.interrupts?.signal(MSIX, 6);
  one.expect(Command.DEVICE_RESET);
  one.expect(SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 6, 1), [event]);
  assert.equal(drainEventfd(event), 0);
  device.interrupts?.signal(MSIX, 5);
  assert.equal(drainEventfd(event), 1, "a reset leaves the eventfds");
});

test("SET_IRQS: masks hold interrupts back, one by one or chosen by booleans", (t) => {
  const { ready, device, eventfds } = rig(t);
  const events = eventfds(3);
  const one = ready();
  one.expect(SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 3), events);
  one.expect(SET, irqSet(DATA_BOOL | ACTION_MASK, MSIX, 0, 3, [1, 0, 1]));
  for (let vector = 0; vector < 3; vector++) device.interrupts?.signal(MSIX, vector);
  assert.deepEqual(drained(events), [0, 1, 0]);
  one.expect(SET, irqSet(DATA_NONE | ACTION_UNMASK, MSIX, 0, 1));
  assert.deepEqual(drained(events), [1, 0, 0]);
  one.expect(SET, irqSet(DATA_BOOL | ACTION_UNMASK, MSIX, 0, 3, [0, 0, 1]));
  assert.deepEqual(drained(events), [0, 0, 1]);
  one.expect(SET, irqSet(DATA_NONE | ACTION_UNMASK, MSIX, 0, 3));
  assert.deepEqual(drained(events), [0, 0, 0], "nothing is delivered twice");
});

test("SET_IRQS: a client can trigger a device's interrupts", (t) => {
  const { ready, eventfds } = rig(t);
  const events = eventfds(3);
  const one = ready();
  one.expect(SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 3), events);
  one.expect(SET, irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, 1, 2));
  one.expect(SET, irqSet(DATA_BOOL | ACTION_TRIGGER, MSIX, 0, 3, [1, 0, 1]));
  assert.deepEqual(drained(events), [1, 1, 2]);
});

test("INTx: delivered once, masked until unmasked, delivered again while the pin is still asserted", (t) => {
  const { ready, device, eventfds } = rig(t);
  const [event = -1] = eventfds(1);
  const one = ready();
  const unmask = (): void => void one.expect(SET, irqSet(DATA_NONE | ACTION_UNMASK, INTX, 0, 1));
  device.interrupts?.setIntx(true);
  one.expect(SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, INTX, 0, 1), [event]);
  assert.equal(drainEventfd(event), 1, "asserted before there was an eventfd");
  device.interrupts?.setIntx(true);
  assert.equal(drainEventfd(event), 0);
  unmask();
  assert.equal(drainEventfd(event), 1, "still asserted");
  device.interrupts?.setIntx(false);
  unmask();
  assert.equal(drainEventfd(event), 0);
  device.interrupts?.setIntx(true);
  assert.equal(drainEventfd(event), 1);
  device.interrupts?.setIntx(false);
  device.interrupts?.setIntx(true);
  device.interrupts?.setIntx(false);
  unmask();
  assert.equal(drainEventfd(event), 0, "deasserted while masked");
});

test("SET_IRQS: descriptors that are not eventfds, too few or too many of them, or where none belong", (t) => {
  const { ready, device, eventfds } = rig(t);
  const events = eventfds(3);
  const one = ready();
  const notEvent = device.shared.descriptor;
  const before = openDescriptors();
  one.expectErrno(Errno.EINVAL, SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 1), [notEvent]);
  one.expectErrno(Errno.EINVAL, SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 2), [events[0] ?? -1, notEvent]);
  one.expectErrno(Errno.EINVAL, SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 2), events);
  one.expectErrno(Errno.EINVAL, SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 4), events);
  one.expectErrno(Errno.EINVAL, SET, irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, 0, 1), events);
  one.expectErrno(Errno.ENOTSUP, SET, irqSet(DATA_EVENTFD | ACTION_UNMASK, INTX, 0, 1), events.slice(0, 1));
  one.expectErrno(Errno.ENOTSUP, SET, irqSet(DATA_EVENTFD | ACTION_MASK, INTX, 0, 1), events.slice(0, 1));
  assert.equal(openDescriptors(), before);
  device.interrupts?.signal(MSIX, 0);
  assert.deepEqual(drained(events), [0, 0, 0]);
});

test("SET_IRQS: a descriptor of every kind that is no eventfd is refused, with and without right ones beside it", (t) => {
  const { ready, device, eventfds, strange } = rig(t);
  const { event: _, ...kinds } = strange();
  const [event = -1] = eventfds(1);
  const one = ready();
  const before = openDescriptors();
  for (const fd of [...Object.values(kinds), device.shared.descriptor]) {
    one.expectErrno(Errno.EINVAL, SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 1), [fd]);
    one.expectErrno(Errno.EINVAL, SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 2), [event, fd]);
    one.expectErrno(Errno.EINVAL, SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 2), [fd, event]);
  }
  assert.equal(openDescriptors(), before);
  for (let vector = 0; vector < 2; vector++) device.interrupts?.signal(MSIX, vector);
  assert.equal(drainEventfd(event), 0, "the right one was not taken either");
});

test("SET_IRQS: one eventfd for all vectors, set again and again: the server keeps one descriptor for each", (t) => {
  const { ready, device, eventfds } = rig(t);
  const [event = -1] = eventfds(1);
  const one = ready();
  const before = openDescriptors();
  for (let round = 0; round < 100; round++) {
    const flags = DATA_EVENTFD | ACTION_TRIGGER;
    one.expect(SET, irqSet(flags, MSIX, 0, MSIX_VECTORS), new Array<number>(MSIX_VECTORS).fill(event));
    assert.equal(openDescriptors(), before + MSIX_VECTORS);
  }
  for (let vector = 0; vector < MSIX_VECTORS; vector++) device.interrupts?.signal(MSIX, vector);
  assert.equal(drainEventfd(event), MSIX_VECTORS);
});

test("SET_IRQS: as many descriptors as one message may have, each at its vector", (t) => {
  const { ready, device, eventfds } = rig(t);
  const events = eventfds(MAX_MESSAGE_DESCRIPTORS);
  ready().expect(SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, events.length), events);
  for (const vector of events.keys()) {
    device.interrupts?.signal(MSIX, vector);
    assert.deepEqual(
      drained(events),
      events.map((_, i) => (i === vector ? 1 : 0)),
    );
  }
});

test("SET_IRQS: an eventfd that its owner fills and makes blocking again holds nobody up", (t) => {
  const { ready, device, eventfds } = rig(t);
  const [event = -1] = eventfds(1);
  const one = ready();
  one.expect(SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 1), [event]);
  const most = allocateNative(8);
  most.view.setBigUint64(0, 2n ** 64n - 2n, true);
  assert.equal(write(event, most.address, 8), 8);
  assert.equal(fcntl(event, Fcntl.SETFL, 0), 0);
  for (let i = 0; i < 3; i++) assert.equal(device.interrupts?.signal(MSIX, 0), true);
  one.expect(SET, irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, 0, 1));
  one.expect(Command.DEVICE_RESET);
  most.mapping.release();
});

test("SET_IRQS: every wrong value", (t) => {
  const one = rig(t).ready();
  const wrong = (bytes: Buffer): void => one.expectErrno(Errno.EINVAL, SET, bytes);
  wrong(irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, 0, 1).subarray(0, 19));
  wrong(record(IrqSet, { argsz: 19, flags: DATA_NONE | ACTION_TRIGGER, index: MSIX, count: 1 }));
  for (const flags of [0, DATA_NONE, ACTION_MASK, DATA_NONE | DATA_BOOL | ACTION_MASK, DATA_NONE | ACTION_MASK | ACTION_UNMASK]) {
    wrong(irqSet(flags, MSIX, 0, 1));
  }
  for (const flag of [64, 2 ** 31]) wrong(irqSet((DATA_NONE | ACTION_TRIGGER | flag) >>> 0, MSIX, 0, 1));
  wrong(irqSet(0xffff_ffff, MSIX, 0, 1));
  wrong(irqSet(DATA_NONE | ACTION_TRIGGER, 0xffff_ffff, 0, 1));
  wrong(irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, 0x8000_0000, 0x8000_0000));
  wrong(irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, 0xffff_ffff, 0xffff_ffff));
  wrong(irqSet(DATA_NONE | ACTION_TRIGGER, 5, 0, 1));
  wrong(irqSet(DATA_NONE | ACTION_TRIGGER, ERR, 0, 1));
  wrong(irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, 0, MSIX_VECTORS + 1));
  wrong(irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, MSIX_VECTORS, 1));
  wrong(irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, 0xffffffff, 2));
  wrong(irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, 1, 0xffffffff));
  wrong(irqSet(DATA_NONE | ACTION_TRIGGER, MSIX, 1, 0));
  wrong(irqSet(DATA_NONE | ACTION_MASK, MSIX, 0, 0));
  wrong(irqSet(DATA_BOOL | ACTION_TRIGGER, MSIX, 0, 0));
  wrong(irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 0));
  wrong(irqSet(DATA_BOOL | ACTION_MASK, MSIX, 0, 3, [1, 1]));
  wrong(irqSet(DATA_NONE | ACTION_MASK, REQ, 0, 1));
  one.expect(SET, irqSet(DATA_NONE | ACTION_TRIGGER, ERR, 0, 0));
});

test("SET_IRQS: an eventfd that is full already does not stop the device", (t) => {
  const { ready, device, eventfds } = rig(t);
  const [event = -1] = eventfds(1);
  const one = ready();
  one.expect(SET, irqSet(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 1), [event]);
  for (let i = 0; i < 3; i++) assert.equal(device.interrupts?.signal(MSIX, 0), true);
  assert.equal(signalEventfd(event), true);
  assert.equal(drainEventfd(event), 4);
});
