// A connection that has been used for long: as many posts as bring its 16-bit counters just below their end, of the cheapest kind.
// Nobody compares anything meanwhile; the reference engine is told afterwards where everything stands.

import type { Random } from "../../src/base/random.ts";
import type { SendRequest } from "../../src/driver/queue-pair.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { rangeOf } from "./regions.ts";
import { type End, type Lane, QKEY, type World } from "./world.ts";

const COUNTS = 2 ** 16;
const PSNS = 2 ** 24;
const GRH_BYTES = 40;
/** Posts that are left before the counters wrap, at most. */
const LEFT_MAX = 10;
/** Rings smaller than this take too long. */
const CHUNK_MIN = 4;

/** Wears the first end's send queue and the second end's receive queue; false if this connection cannot be. */
export function wear(random: Random, world: World, { ends: [from, to] }: Lane): boolean {
  const chunk = Math.min(1 << from.qp.logSqSize, to.pool.slots);
  const canTalk = from.reference.service !== "RC" || from.reference.psn === to.reference.expectedPsn;
  if (chunk < CHUNK_MIN || !canTalk) return false;
  const count = COUNTS - 1 - random.below(LEFT_MAX);
  for (let done = 0; done < count; done += chunk) exchange(world, from, to, Math.min(chunk, count - done));
  settleBooks(world, from, to, count);
  return true;
}

function exchange(world: World, from: End, to: End, count: number): void {
  const request = emptyRequest(to);
  for (let i = 0; i < count; i++) {
    postReceive(to);
    from.qp.writeSend(request);
  }
  from.qp.publishSends();
  from.qp.sends.ring();
  world.carrier.settle();
  for (const { books } of world.stations) for (const book of books) world.poll(book);
}

function emptyRequest(to: End): SendRequest {
  const request = { opcode: SendOpcode.SEND, sges: [], isSignaled: false };
  if (to.reference.isConnected) return request;
  return { ...request, address: { dlid: to.station.reference.lid }, remoteQpn: to.qp.number, qkey: QKEY };
}

/** Returns where the WQE lies. */
function postReceive({ qp, pool, reference }: End): number {
  const { key, address, length } = rangeOf(pool.arena.wide, 0, GRH_BYTES);
  const sges = reference.isConnected ? [] : [{ lkey: key, address, length }];
  if (pool.srq === undefined) return qp.postReceive(sges);
  pool.lent++;
  return pool.srq.driver.postReceive(sges);
}

function settleBooks(world: World, from: End, to: End, count: number): void {
  from.reference.sent = count;
  from.reference.psn = (from.reference.psn + count) % PSNS;
  to.reference.expectedPsn = (to.reference.expectedPsn + count) % PSNS;
  to.reference.messages = count;
  from.sentBefore = count;
  to.pool.takenBefore = count;
  // Whoever stood in RTR has been told by now that the connection works.
  to.reference.noteArrival();
  for (const { guest, reference } of world.stations) {
    guest.device.asyncEvents.length = 0;
    reference.events = [];
  }
  for (const { books } of world.stations) for (const { reference, consumed } of books) reference.resume(consumed);
  // The list of an SRQ has been round many times: the next WQE is the one that the driver posts next.
  to.reference.receives.resume(count, postReceive(to));
  to.pool.posted.push({ sges: [], length: to.reference.isConnected ? 0 : GRH_BYTES, isSound: true });
}
