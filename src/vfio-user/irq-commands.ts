// DEVICE_GET_IRQ_INFO and DEVICE_SET_IRQS: from messages to the IrqTable. Requests are checked as a whole before anything
// changes.

import { adoptEventfd } from "../host/eventfd.ts";
import { Errno } from "../host/system-error.ts";
import { IrqInfo, IrqSet } from "../spec/vfio-user/messages.ts";
import {
  IRQ_INDEX_COUNT,
  IRQ_SET_ACTION_FLAGS,
  IRQ_SET_DATA_FLAGS,
  IrqIndex,
  IrqInfoFlag,
  IrqSetFlag,
} from "../spec/vfio-user/numbers.ts";
import { type Connection, PAYLOAD } from "./connection.ts";
import { VfioUserError } from "./error.ts";
import type { IrqTable } from "./irq-table.ts";
import { assertArgsz, assertPayload } from "./payload.ts";

/** Answers DEVICE_GET_IRQ_INFO; returns the length of the reply's payload. */
export function getIrqInfo(connection: Connection, irqs: IrqTable): number {
  const request = connection.incoming.view;
  assertPayload(connection, IrqInfo.byteLength);
  assertArgsz(IrqInfo.argsz.get(request, PAYLOAD), IrqInfo.byteLength);
  const index = IrqInfo.index.get(request, PAYLOAD);
  if (index >= IRQ_INDEX_COUNT) throw invalid(`interrupt index ${index}`);
  const reply = connection.outgoing.view;
  IrqInfo.argsz.set(reply, PAYLOAD, IrqInfo.byteLength);
  // not NORESIZE: a VMM may add vectors one by one, without a moment in which the others are off
  const intx = index === IrqIndex.INTX ? IrqInfoFlag.MASKABLE | IrqInfoFlag.AUTOMASKED : 0;
  IrqInfo.flags.set(reply, PAYLOAD, IrqInfoFlag.EVENTFD | intx);
  IrqInfo.index.set(reply, PAYLOAD, index);
  IrqInfo.count.set(reply, PAYLOAD, irqs.countOf(index));
  return IrqInfo.byteLength;
}

/** Executes DEVICE_SET_IRQS; its reply has no payload. */
export function setIrqs(connection: Connection, irqs: IrqTable): number {
  const request = connection.incoming.view;
  assertPayload(connection, IrqSet.byteLength);
  assertArgsz(IrqSet.argsz.get(request, PAYLOAD), IrqSet.byteLength);
  const flags = IrqSet.flags.get(request, PAYLOAD);
  const index = IrqSet.index.get(request, PAYLOAD);
  const start = IrqSet.start.get(request, PAYLOAD);
  const count = IrqSet.count.get(request, PAYLOAD);
  const data = flags & IRQ_SET_DATA_FLAGS;
  const action = flags & IRQ_SET_ACTION_FLAGS;
  if ((flags & ~(IRQ_SET_DATA_FLAGS | IRQ_SET_ACTION_FLAGS)) !== 0 || !isOneBit(data) || !isOneBit(action)) {
    throw invalid(`SET_IRQS flags 0x${flags.toString(16)}: expected one kind of data and one action`);
  }
  if (index >= IRQ_INDEX_COUNT) throw invalid(`interrupt index ${index}`);
  const limit = irqs.countOf(index);
  if (start + count > limit) throw invalid(`vectors ${start} to ${start + count} of ${limit} of interrupt index ${index}`);
  if (connection.descriptorCount > 0 && data !== IrqSetFlag.DATA_EVENTFD)
    throw invalid("SET_IRQS: descriptors without DATA_EVENTFD");
  if (count === 0) {
    if (start !== 0 || data !== IrqSetFlag.DATA_NONE || action !== IrqSetFlag.ACTION_TRIGGER)
      throw invalid("SET_IRQS of no vector");
    irqs.disable(index);
    return 0;
  }
  if (data === IrqSetFlag.DATA_EVENTFD) setEventfds(connection, irqs, action, index, start, count);
  else act(connection, irqs, action, data === IrqSetFlag.DATA_BOOL, index, start, count);
  return 0;
}

/** DATA_EVENTFD: one descriptor for each vector, or none at all, which takes them away. */
function setEventfds(connection: Connection, irqs: IrqTable, action: number, index: number, start: number, count: number): void {
  // eventfds that the client signals to mask or unmask are for KVM's resampling of INTx; VMMs do without
  if (action !== IrqSetFlag.ACTION_TRIGGER) throw new VfioUserError(Errno.ENOTSUP, "mask and unmask eventfds");
  const given = connection.descriptorCount;
  if (given !== 0 && given !== count) throw invalid(`SET_IRQS of ${count} vectors with ${given} descriptors`);
  for (let i = 0; i < given; i++) {
    // writing to anything else, a pipe for instance, could wait
    if (!adoptEventfd(connection.peekDescriptor(i))) throw invalid("SET_IRQS with a descriptor that is not an eventfd");
  }
  for (let i = 0; i < count; i++) irqs.setDescriptor(index, start + i, given === 0 ? -1 : connection.takeDescriptor(i));
}

/** DATA_NONE: the action for each vector of the range; DATA_BOOL: for those whose byte is not zero. */
function act(
  connection: Connection,
  irqs: IrqTable,
  action: number,
  isSelective: boolean,
  index: number,
  start: number,
  count: number,
): void {
  if (isSelective) assertPayload(connection, IrqSet.byteLength + count);
  if (action !== IrqSetFlag.ACTION_TRIGGER && (index === IrqIndex.ERR || index === IrqIndex.REQ)) {
    throw invalid(`interrupt index ${index} cannot be masked`);
  }
  for (let i = 0; i < count; i++) {
    if (isSelective && connection.incoming.bytes[PAYLOAD + IrqSet.byteLength + i] === 0) continue;
    if (action === IrqSetFlag.ACTION_TRIGGER) irqs.signal(index, start + i);
    else irqs.setMasked(index, start + i, action === IrqSetFlag.ACTION_MASK);
  }
}

const isOneBit = (flags: number): boolean => flags !== 0 && (flags & (flags - 1)) === 0;
const invalid = (message: string): VfioUserError => new VfioUserError(Errno.EINVAL, message);
