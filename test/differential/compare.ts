// What must be the same after a stream: every byte of both guests' memory, every CQE, states, counters and events. Nothing is
// said about the order between independent queues, so CQEs are compared queue by queue; all else is exact.

import assert from "node:assert/strict";
import { QpContext } from "../../src/spec/hca/contexts.ts";
import type { CqBook, End, Station, World } from "./world.ts";

const CQE_BYTES = 32;
const OPCODE_AT = 28;
const OWNER_AT = 31;
const SEND_FLAG_AT = 29;
const SEND_ERROR = 0xff;
const RECEIVE_ERROR = 0xfe;
const RTS = 3;
const CHUNK_BYTES = 1 << 16;
/** "Last" packets under the name of "only" ones: software tells immediate data and writes apart, nothing else (5.6). */
const LAST_AS_ONLY: Record<number, number> = { 2: 4, 3: 5, 9: 0xb };

/** Copies the guests' memory to the reference engine. */
export function copyMemory(world: World): void {
  for (const { guest, reference } of world.stations) {
    copyChanges(guest.node.access.memory.bytes, reference.memory.bytes);
    reference.unspecified = [];
  }
}

/** Most of it has not changed since the last time, and comparing is cheaper than copying. */
function copyChanges(from: Buffer, to: Buffer): void {
  for (let at = 0; at < from.length; at += CHUNK_BYTES) {
    const end = Math.min(at + CHUNK_BYTES, from.length);
    if (from.compare(to, at, end, at, end) !== 0) from.copy(to, at, at, end);
  }
}

export function compareWorld(world: World): void {
  for (const station of world.stations) {
    for (const book of station.books) compareCq(station, book);
    compareEvents(station);
    compareMemory(station, world.carrier.movesWholeMessages);
  }
}

// ---- completions --------------------------------------------------------------------------------------------------------

const slotAt = ({ cq, consumed }: CqBook, index: number): number =>
  cq.region.block.at + ((consumed + index) % (cq.capacity + 1)) * CQE_BYTES;

/** CQEs that the device has handed over and the driver has not taken. */
function countFresh(book: CqBook, bytes: Buffer): number {
  let count = 0;
  while (count <= book.cq.capacity && (bytes[slotAt(book, count) + OWNER_AT]! & 0x80) === 0) count++;
  return count;
}

/** CQEs by queue, oldest first. */
function cqesByQueue(book: CqBook, bytes: Buffer, count: number): Map<string, string[]> {
  const queues = new Map<string, string[]>();
  for (let i = 0; i < count; i++) {
    const cqe = Buffer.from(bytes.subarray(slotAt(book, i), slotAt(book, i) + CQE_BYTES));
    const opcode = cqe[OPCODE_AT]!;
    const isSend = opcode === SEND_ERROR || (opcode !== RECEIVE_ERROR && cqe[SEND_FLAG_AT] === 0x80);
    if (!isSend && opcode < RECEIVE_ERROR) cqe[OPCODE_AT] = (opcode & ~0x1f) | (LAST_AS_ONLY[opcode & 0x1f] ?? opcode & 0x1f);
    const queue = `QP ${cqe.readUInt32BE(0)} ${isSend ? "sends" : "receives"}`;
    queues.set(queue, [...(queues.get(queue) ?? []), cqe.toString("hex").replace(/.{8}/g, "$& ").trim()]);
  }
  return queues;
}

function compareCq(station: Station, book: CqBook): void {
  const { memory } = station.guest.node.access;
  const name = `${station.guest.node.name}, CQ ${book.cq.number}`;
  const count = book.reference.produced - book.consumed;
  const fresh = countFresh(book, memory.bytes);
  const actual = cqesByQueue(book, memory.bytes, fresh);
  const expected = cqesByQueue(book, station.memory.bytes, count);
  for (const queue of new Set([...expected.keys(), ...actual.keys()])) {
    assert.deepEqual(actual.get(queue) ?? [], expected.get(queue) ?? [], `${name}: completions of ${queue}`);
  }
  // They have been compared; in memory their order is free.
  for (let i = 0; i < count; i++)
    memory.bytes.copy(station.memory.bytes, slotAt(book, i), slotAt(book, i), slotAt(book, i) + CQE_BYTES);
  assert.equal(book.cq.events - book.notified, book.reference.events - book.notified, `${name}: completion events`);
  book.notified = book.cq.events;
}

// ---- events, memory -----------------------------------------------------------------------------------------------------

function compareEvents({ guest, reference }: Station): void {
  const actual = guest.device.asyncEvents.splice(0).map(({ type, number }) => `${type} ${number}`);
  assert.deepEqual(actual.sort(), reference.events.splice(0).sort(), `${guest.node.name}: asynchronous events`);
}

/** Event queues and mailboxes are not the transport's. */
function* privateBlocks({ device }: Station["guest"]): Generator<{ at: number; bytes: number }> {
  for (const { region } of device.eventQueues) yield region.block;
  yield device.commands.inbox;
  yield device.commands.outbox;
}

function compareMemory({ guest, reference }: Station, isExact: boolean): void {
  const actual = guest.node.access.memory.bytes;
  const expected = reference.memory.bytes;
  for (const { at, bytes } of privateBlocks(guest)) actual.copy(expected, at, at, at + bytes);
  if (!isExact) for (const places of reference.unspecified) for (const at of places) if (at >= 0) expected[at] = actual[at]!;
  if (actual.equals(expected)) return;
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  const end = Math.min(at + 16, actual.length);
  const seen = `${actual.subarray(at, end).toString("hex")}, expected ${expected.subarray(at, end).toString("hex")}`;
  assert.fail(`${guest.node.name}: memory differs from byte ${at} (page ${at >>> 12}): ${seen}`);
}

// ---- queue pairs ----------------------------------------------------------------------------------------------------------

/**
 * What QUERY_QP says of a QP; where the specification leaves a value open, nothing is said.
 * @param isQuiet none of its messages may have been sent in part
 * @param isReached none that comes to it may have arrived in part
 */
export function compareQp({ qp, reference }: End, isQuiet: boolean, isReached: boolean, name: string): void {
  const context = qp.query();
  const isRc = reference.service === "RC";
  const isRunning = reference.state === RTS;
  const actual = {
    state: QpContext.state.get(context, 0),
    sent: QpContext.sqWqeCounter.get(context, 0),
    received: reference.receives.isShared ? undefined : QpContext.rqWqeCounter.get(context, 0),
    // By packets, more may have been sent than has completed.
    psn: isRunning && reference.isConnected && isQuiet ? QpContext.lastAckedPsn.get(context, 0) : undefined,
    expectedPsn: isRunning && isRc && isReached ? QpContext.nextReceivePsn.get(context, 0) : undefined,
    messages: isRunning && isRc ? QpContext.responderMsn.get(context, 0) : undefined,
  };
  const expected = {
    state: reference.state,
    sent: reference.sent,
    received: reference.receives.isShared ? undefined : reference.receives.taken,
    psn: isRunning && reference.isConnected && isQuiet ? reference.psn : undefined,
    expectedPsn: isRunning && isRc && isReached ? reference.expectedPsn : undefined,
    messages: isRunning && isRc ? reference.messages : undefined,
  };
  assert.deepEqual(actual, expected, `${name}: QP ${qp.number} (${reference.service})`);
}

export function compareSrqs({ guest, pools }: Station): void {
  for (const { srq } of pools) {
    if (srq === undefined) continue;
    const { limit, available } = srq.driver.query();
    const expected = { limit: srq.reference.limit, available: srq.reference.available() };
    assert.deepEqual({ limit, available }, expected, `${guest.node.name}: SRQ ${srq.driver.number}`);
  }
}
