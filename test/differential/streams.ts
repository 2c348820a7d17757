// Streams of WQEs through an engine and through the reference engine: rounds of posts on several connections, each followed by a
// comparison. docs/fuzzing.md. What carries the messages comes from a factory, so that another transport is held to the same.

import type { Random } from "../../src/base/random.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { QpState } from "../../src/spec/ib/numbers.ts";
import type { Budget } from "../fuzz/kit.ts";
import { compareQp, compareSrqs, compareWorld, copyMemory } from "./compare.ts";
import { anyOpcode, anyReceive, anyRequest, type Choice, plainOpcode, takesReceive } from "./requests.ts";
import { wear } from "./wear.ts";
import { type Carrier, type CqBook, type End, isPlain, type Lane, type Pool, World } from "./world.ts";

/** Rounds of one case, and requests of one direction in a round. */
const ROUNDS = 20;
const REQUESTS_MAX = 8;
const LANES_MAX = 3;
const COUNTS = 2 ** 16;

export type CarrierFactory = (memoryBytes: number) => Carrier;

export interface StreamOptions {
  /** Connections, and pairs of queues for datagrams. */
  readonly lanes?: number;
  /** Chance that a connection, a request or a receive is of the kind that the compiled program carries out; 0 if left out. */
  readonly plainness?: number;
}

/** Slots of a send ring that are free. */
const freeSends = ({ qp, reference }: End): number => (1 << qp.logSqSize) - outstanding(qp, reference.sent);
const outstanding = (qp: DriverQueuePair, sent: number): number => (qp.sendPosted + COUNTS - sent) % COUNTS;

const isSound = ({ posted, planned }: Pool): boolean => [...posted, ...planned].every((receive) => receive.isSound);

/** CQEs that a driver may leave for a round without any risk that the queue overruns in the next. */
const BACKLOG_MAX = 40;
const backlog = ({ reference, consumed }: CqBook): number => reference.produced - consumed;
const isPolled = (book: CqBook): boolean => backlog(book) === 0;

export class Streams {
  readonly world: World;
  readonly #random: Random;
  readonly #budget: Budget;
  readonly #plainness: number;
  /** SRQs that serve a connection in this round. */
  #claimed = new Set<Pool>();

  constructor(random: Random, budget: Budget, carrier: Carrier, { lanes, plainness = 0 }: StreamOptions = {}) {
    this.#random = random;
    this.#budget = budget;
    this.#plainness = plainness;
    this.world = new World(random, carrier, lanes ?? 1 + random.below(LANES_MAX), plainness);
  }

  run(rounds = ROUNDS): void {
    for (let i = 0; i < rounds; i++) this.#round();
  }

  /** Runs with 16-bit counters that are about to wrap. */
  runWorn(rounds = ROUNDS): void {
    const { world } = this;
    while (!wear(this.#random, world, world.lanes[0]!)) this.#renew(world.lanes[0]!);
    // Nothing was compared meanwhile: the reference's memory still has the counters of before.
    copyMemory(world);
    this.run(rounds);
  }

  #round(): void {
    const { world } = this;
    const random = this.#random;
    if (world.lanes.some(({ ends }) => ends.some(({ reference }) => reference.state === QpState.ERR))) this.#poll();
    for (const lane of [...world.lanes]) this.#care(lane);
    this.#claimed = this.#claimedByWaiting();
    for (const { books } of world.stations) {
      for (const book of books) if (isPolled(book) && random.chance(this.#armChance)) book.cq.arm(random.chance(0.5));
    }
    for (const { pools } of world.stations) for (const pool of pools) if (random.chance(0.1)) this.#watchLimit(pool);
    for (const lane of world.lanes) this.#post(lane);
    this.#compare(() => world.engine.run());
    if (random.chance(0.4)) {
      copyMemory(world);
      world.engine.runOutOfTime();
      world.carrier.elapse();
      this.#compareAll();
    }
    for (const { books } of world.stations) {
      for (const book of books) if (backlog(book) > BACKLOG_MAX || random.chance(0.8)) world.poll(book);
    }
  }

  /** The reference engine does what it does first, on a copy; then the device. */
  #compare(refer: () => void, act: () => void = () => {}): void {
    copyMemory(this.world);
    refer();
    act();
    this.world.carrier.settle();
    this.#compareAll();
  }

  #compareAll(): void {
    const { world } = this;
    compareWorld(world);
    for (const [i, { ends }] of world.lanes.entries()) {
      const [a, b] = ends;
      const isQuiet = (sender: End): boolean =>
        world.carrier.movesWholeMessages || (sender.reference.posted === 0 && sender.reference.state === QpState.RTS);
      compareQp(a, isQuiet(a), isQuiet(b), `connection ${i}`);
      compareQp(b, isQuiet(b), isQuiet(a), `connection ${i}`);
    }
    // By packets, a write takes the receive WQE of its immediate data with its last packet, not before.
    if (world.carrier.movesWholeMessages) for (const station of world.stations) compareSrqs(station);
    for (const { ends } of world.lanes) for (const end of ends) this.#account(end);
  }

  /** Brings the books of what is outstanding up to date. */
  #account(end: End): void {
    const { reference, pool } = end;
    end.pending.splice(0, (reference.sent + COUNTS - end.sentBefore) % COUNTS);
    end.sentBefore = reference.sent;
    // A WQE in hand has not completed: its slot is not free, and the next message may have it.
    const isInHand = reference.inHand !== undefined && !reference.receives.isShared;
    const taken = (reference.receives.taken + COUNTS - (isInHand ? 1 : 0)) % COUNTS;
    pool.posted.splice(0, (taken + COUNTS - pool.takenBefore) % COUNTS);
    pool.takenBefore = taken;
    this.#budget.note(`${reference.service} ${reference.state} ${reference.waitsFor ?? ""}`);
  }

  #poll(): void {
    for (const { books } of this.world.stations) for (const book of books) this.world.poll(book);
  }

  /** An armed completion queue is nothing for the compiled program. */
  get #armChance(): number {
    return 0.5 * (1 - this.#plainness);
  }

  // ---- what a driver does between streams ---------------------------------------------------------------------------------

  /** Restarts, renews, drains and fails connections. */
  #care(lane: Lane): void {
    const random = this.#random;
    const [a, b] = lane.ends;
    const isFailed = [a, b].some(({ reference }) => reference.state === QpState.ERR);
    if (isFailed) {
      if (random.chance(0.6)) this.#renew(lane);
      return;
    }
    for (const end of lane.ends) {
      const { reference } = end;
      if (reference.state === QpState.SQE && random.chance(0.7)) this.#command(end, Command.SQERR2RTS_QP);
      else if (reference.state === QpState.SQD && random.chance(0.6)) this.#command(end, Command.SQD2RTS_QP);
      else if (reference.state === QpState.RTS && reference.posted === 0 && random.chance(0.03)) this.#drain(end);
      else if (random.chance(0.01)) this.#fail(end);
    }
  }

  /** An event when the SRQ runs low, asked for while it does not. */
  #watchLimit({ srq }: Pool): void {
    const available = srq?.reference.available() ?? 0;
    if (srq === undefined || available === 0) return;
    srq.reference.limit = 1 + this.#random.below(available);
    srq.driver.armLimit(srq.reference.limit);
  }

  #renew(lane: Lane): void {
    this.world.dropLane(lane);
    this.world.lanes.push(this.world.newLane());
  }

  /** A transition to RTS; what is posted goes on at once. */
  #command({ qp, reference }: End, command: number): void {
    const refer = (): void => {
      reference.state = QpState.RTS;
      this.world.engine.run();
    };
    this.#compare(refer, () => qp.transition(command, QpState.RTS, 0));
    this.#poll();
  }

  #drain({ qp, reference }: End): void {
    this.#compare(
      () => reference.drain(),
      () => qp.modify(QpState.RTS, QpState.SQD, {}, true),
    );
  }

  #fail({ qp, reference }: End): void {
    const refer = (): void => {
      reference.enterError();
      this.world.engine.run();
    };
    this.#compare(refer, () => qp.toError());
    this.#poll();
  }

  // ---- posting ------------------------------------------------------------------------------------------------------------

  /** An SRQ goes on serving the connection whose request waits for it. */
  #claimedByWaiting(): Set<Pool> {
    const claimed = new Set<Pool>();
    for (const { ends } of this.world.lanes) {
      for (const [i, end] of ends.entries()) {
        const { pool } = ends[1 - i]!;
        if (pool.srq !== undefined && end.pending.includes(true)) claimed.add(pool);
      }
    }
    return claimed;
  }

  /** One direction with anything in it, or both with requests that must succeed: their order in time is open. */
  #post(lane: Lane): void {
    const random = this.#random;
    const [a, b] = lane.ends;
    const choice = { service: lane.service, isClean: true, plainness: lane.service === "RC" ? this.#plainness : 0 };
    const areFresh = [a, b].every(({ reference, pending }) => reference.state === QpState.RTS && pending.length === 0);
    const areSound = [a, b].every(({ reference, pool }) => reference.inHand === undefined && isSound(pool));
    if (areFresh && areSound && random.chance(0.25)) {
      this.#postDirection({ ...choice, from: a, to: b, mayTake: this.#claim(b.pool, a) }, true);
      this.#postDirection({ ...choice, from: b, to: a, mayTake: this.#claim(a.pool, b) }, true);
      return;
    }
    const able = [a, b].filter(({ reference }) => reference.state !== QpState.RTR);
    const waiting = able.find(({ pending }) => pending.length > 0);
    const from = waiting ?? random.pick(able);
    const to = from === a ? b : a;
    // By packets, an error inside a message comes when its packet does, and what is wrong at both ends is found at the sender's first.
    const isClean = !this.world.carrier.movesWholeMessages || random.chance(0.5);
    this.#postDirection({ ...choice, isClean, from, to, mayTake: this.#claim(to.pool, from) }, false);
  }

  #claim(pool: Pool, from: End): boolean {
    if (pool.srq === undefined || from.pending.includes(true)) return true;
    if (this.#claimed.has(pool)) return false;
    this.#claimed.add(pool);
    return true;
  }

  #postDirection(choice: Choice, isAllPosted: boolean): void {
    const random = this.#random;
    const { from, to, service } = choice;
    const count = Math.min(freeSends(from), 1 + random.below(REQUESTS_MAX));
    for (let i = 0; i < count; i++) {
      let opcode = isPlain(random, choice.plainness) ? plainOpcode(random, choice) : anyOpcode(random, choice);
      const capacity = takesReceive(opcode) ? this.#capacityFor(choice) : 0;
      if (capacity === undefined) opcode = 0;
      const request = anyRequest(random, choice, opcode, capacity ?? 0);
      this.#budget.trace(service, from.qp.number, "→", to.qp.number, request);
      this.#budget.note(`${service} ${opcode}`);
      from.qp.writeSend(request);
      from.pending.push(takesReceive(opcode));
    }
    from.qp.publishSends();
    if (random.chance(0.7)) from.qp.sends.ring();
    if (choice.mayTake) this.#postReceives(to, !isAllPosted && random.chance(0.3));
  }

  /** Bytes of the receive WQE that the next request will find; plans one if there is none. Undefined if there cannot be one. */
  #capacityFor({ from, to, service, isClean, plainness }: Choice): number | undefined {
    const { pool } = to;
    const index = from.pending.filter((takes) => takes).length;
    const lengths = [...pool.posted, ...pool.planned].map(({ length }) => length);
    while (lengths.length <= index) {
      if (Math.max(pool.posted.length + pool.planned.length, pool.lent + pool.planned.length) >= pool.slots) {
        return isClean ? undefined : 0;
      }
      const receive = anyReceive(this.#random, pool.arena, service, isClean, isPlain(this.#random, plainness));
      pool.planned.push(receive);
      lengths.push(receive.length);
    }
    return lengths[index];
  }

  /** Posts what is planned, or only some of it: the rest comes a round later. */
  #postReceives({ qp, pool }: End, isPartly: boolean): void {
    const count = isPartly ? this.#random.below(pool.planned.length + 1) : pool.planned.length;
    for (const receive of pool.planned.splice(0, count)) {
      const { sges } = receive;
      this.#budget.trace("receive", qp.number, sges);
      if (pool.srq === undefined) qp.postReceive(sges);
      else {
        pool.srq.driver.postReceive(sges);
        pool.lent++;
      }
      pool.posted.push(receive);
    }
  }
}
