// Two guests, what the reference engine knows of them, and connections between them. The drivers set everything up and post;
// the facts that the reference is given are the drivers'.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { type ConnectOptions, DriverQueuePair, type Sge } from "../../src/driver/queue-pair.ts";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { mtuBytes, Service as ServiceNumber } from "../../src/spec/ib/numbers.ts";
import type { Guest } from "../in-process/pair.ts";
import { ReferenceEngine } from "./reference-engine.ts";
import { ReferenceMemory, Right } from "./reference-memory.ts";
import { ReferenceHca, ReferenceQp, type Service } from "./reference-qp.ts";
import { ReceiveRing, ReferenceCq, type Ring, type SharedReceives } from "./reference-queues.ts";
import { type Arena, newArena } from "./regions.ts";

/** What carries the messages: two guests with a driver each on one fabric. A second transport gives another one of these. */
export interface Carrier {
  readonly guests: readonly Guest[];
  /** Lets everything happen that can happen without time passing. */
  settle(): void;
  /** Lets so much time pass that all retries are used up. */
  elapse(): void;
  /** A message that fails leaves no byte that it may leave (true for the short path, which checks before it moves). */
  readonly movesWholeMessages: boolean;
}

export const MEMORY_BYTES = 7 << 19;
const PAGE = 4096;
const PSNS = 2 ** 24;
export const QKEY = 0x1234;
const INLINE_BYTES_MAX = 200;
export const SGES_MAX = 6;

/** Draws nothing where there is no choice. */
export const isPlain = (random: Random, plainness: number): boolean => plainness > 0 && random.chance(plainness);

/** A CQ with how far its driver has looked. */
export interface CqBook {
  readonly cq: DriverCompletionQueue;
  readonly reference: ReferenceCq;
  readonly owner: Station;
  consumed: number;
  /** Events the driver has had. */
  notified: number;
}

/** A receive as it was made. */
export interface Planned {
  readonly sges: Sge[];
  readonly length: number;
  /** Its memory may be written. */
  readonly isSound: boolean;
}

/** Receive buffers of a receive queue, oldest first: how long each is, posted and still to be posted. */
export interface Pool {
  readonly slots: number;
  readonly arena: Arena;
  readonly srq: { driver: DriverSharedReceiveQueue; reference: SharedReceives } | undefined;
  posted: Planned[];
  planned: Planned[];
  /** WQEs taken when the rest was last looked at. */
  takenBefore: number;
  /** WQEs that the driver has not had back (SRQ). */
  lent: number;
}

/** One guest. */
export class Station {
  readonly guest: Guest;
  readonly reference: ReferenceHca;
  readonly books: CqBook[] = [];
  /** SRQs, each used by any number of QPs. */
  readonly pools: Pool[] = [];
  readonly qps = new Map<number, End>();
  /** Regions of lanes that have gone, for the next ones. */
  readonly #spares: Arena[] = [];

  constructor(guest: Guest) {
    this.guest = guest;
    const { wire, node } = guest;
    const memory = new ReferenceMemory(Buffer.alloc(node.access.memory.bytes.length));
    this.reference = new ReferenceHca(memory, wire.lid, Buffer.from(wire.gids.subarray(0, 16)));
  }

  get memory(): ReferenceMemory {
    return this.reference.memory;
  }

  /** A queue's own buffer, as a region that starts at address 0. */
  registerBuffer({ lkey, length, block }: DriverQueuePair["region"], rights: number): void {
    const pages = Array.from({ length: Math.ceil(length / PAGE) }, (_, i) => block.at + i * PAGE);
    this.memory.register({ key: lkey, pd: this.guest.pd, rights, start: 0n, length, pageBytes: PAGE, pages });
  }

  takeArena(random: Random): Arena {
    return this.#spares.pop() ?? newArena(random, this.guest, this.memory);
  }

  giveArena(arena: Arena): void {
    this.#spares.push(arena);
  }

  addCq(entries: number): void {
    const cq = new DriverCompletionQueue(this.guest.device, entries, this.guest.pd);
    this.registerBuffer(cq.region, Right.LOCAL_WRITE);
    const facts = { number: cq.number, key: cq.region.lkey, slots: cq.capacity + 1, armRecordAt: cq.armRecord.at };
    const reference = new ReferenceCq(this.memory, facts, 0, 0);
    this.reference.cqs.push(reference);
    this.books.push({ cq, reference, owner: this, consumed: 0, notified: 0 });
  }

  addSrq(random: Random, wqes: number): void {
    const { device, pd } = this.guest;
    const driver = new DriverSharedReceiveQueue(device, { pd, wqes, sges: SGES_MAX });
    this.registerBuffer(driver.region, Right.LOCAL_READ);
    const ring = {
      ...{ key: driver.region.lkey, base: 0, strideBytes: 1 << driver.logStride },
      ...{ slots: driver.size, recordAt: driver.record.at },
    };
    const reference = this.reference.newSrq(ring, { number: driver.number, pd, taken: 0, next: 0 });
    const arena = this.takeArena(random);
    this.pools.push({
      slots: driver.capacity,
      arena,
      srq: { driver, reference },
      posted: [],
      planned: [],
      takenBefore: 0,
      lent: 0,
    });
  }
}

/** One end of a connection. */
export interface End {
  readonly station: Station;
  readonly qp: DriverQueuePair;
  readonly reference: ReferenceQp;
  /** Where its own requests read from and what they read goes. */
  readonly mine: Arena;
  /** Where requests of the other end go. */
  readonly theirs: Arena;
  readonly pool: Pool;
  readonly options: ConnectOptions | undefined;
  /** For each send WQE outstanding, oldest first, whether it takes a receive WQE. */
  pending: boolean[];
  /** Send WQEs retired when `pending` was last looked at. */
  sentBefore: number;
  /** A read or atomic may be under way: what comes next must wait for it. */
  needsFence: boolean;
}

export interface Lane {
  readonly service: Service;
  readonly ends: readonly [End, End];
}

export class World {
  readonly carrier: Carrier;
  readonly stations: readonly Station[];
  readonly engine: ReferenceEngine;
  readonly lanes: Lane[] = [];
  readonly #random: Random;
  readonly #plainness: number;

  /** @param plainness chance that a connection is one of those whose requests the compiled program carries out */
  constructor(random: Random, carrier: Carrier, lanes: number, plainness = 0) {
    this.#random = random;
    this.#plainness = plainness;
    this.carrier = carrier;
    this.stations = carrier.guests.map((guest) => new Station(guest));
    this.engine = new ReferenceEngine(this.stations.map(({ reference }) => reference));
    for (const station of this.stations) this.#furnish(station);
    for (let i = 0; i < lanes; i++) this.lanes.push(this.newLane());
  }

  /** CQs that hold all that may complete in two rounds, whatever happens; sometimes in the middle of an MTT page. */
  #furnish(station: Station): void {
    const random = this.#random;
    const { device } = station.guest;
    device.commands.useEvents(false);
    if (random.chance(0.5)) device.icm.writeMttRun(0, PAGE, 1 + random.below(500));
    for (let i = 0; i < 3; i++) station.addCq(255);
    station.addSrq(random, 7);
  }

  newLane(): Lane {
    const random = this.#random;
    const service = isPlain(random, this.#plainness) ? "RC" : random.pick(["RC", "RC", "UC", "UD"] as const);
    const [a, b] = random.chance(0.2) ? [0, 0] : [0, 1];
    const stations = [this.stations[a]!, this.stations[b]!] as const;
    const qps = [this.#newQp(stations[0], service), this.#newQp(stations[1], service)] as const;
    if (service === "UD") for (const { qp } of qps) prepareDatagrams(qp);
    const options = service === "UD" ? undefined : this.#connect(service, stations, qps);
    const isHalf = random.chance(0.15);
    qps.forEach(({ qp }, i) => {
      if (!isHalf || i === 0) qp.readyToSend(options?.[i]);
    });
    const ends = [0, 1].map((i) => this.#newEnd(stations[i]!, qps[i]!, service, options?.[i])) as unknown as [End, End];
    return { service, ends };
  }

  #newQp(station: Station, service: Service): { qp: DriverQueuePair; pool: Pool; books: CqBook[]; signalsAll: boolean } {
    const random = this.#random;
    const { device, pd } = station.guest;
    const books = [random.pick(station.books), random.pick(station.books)];
    const shared = random.chance(0.3) ? random.pick(station.pools) : undefined;
    const signalsAll = random.chance(0.3);
    const qp = new DriverQueuePair(device, {
      ...{ service: ServiceNumber[service], pd, sendCq: books[0]!.cq, receiveCq: books[1]!.cq, signalAll: signalsAll },
      ...{ sendWqes: random.pick([1, 2, 8, 16]), receiveWqes: random.pick([1, 4, 16]) },
      ...{ sges: SGES_MAX, inlineBytes: INLINE_BYTES_MAX },
      ...(shared === undefined ? {} : { srq: shared.srq!.driver }),
    });
    station.registerBuffer(qp.region, Right.LOCAL_READ);
    const arena = shared?.arena ?? station.takeArena(random);
    const own = { slots: 1 << qp.logRqSize, arena, srq: undefined, posted: [], planned: [], takenBefore: 0, lent: 0 };
    return { qp, pool: shared ?? own, books, signalsAll };
  }

  /** Both ends of an RC or UC connection up to RTR, with PSNs near the end of their range more often than not. */
  #connect(
    service: Service,
    stations: readonly [Station, Station],
    qps: readonly [{ qp: DriverQueuePair }, { qp: DriverQueuePair }],
  ): ConnectOptions[] {
    const random = this.#random;
    const psn = [this.#psn(), this.#psn()] as const;
    // In packets, a request behind what is expected is a duplicate, and acknowledged (9.7.5.1.5).
    const isWrong = service === "RC" && random.chance(0.02) && this.carrier.movesWholeMessages;
    const isShort = this.carrier.movesWholeMessages;
    // By packets, whoever waits for a receive hears of one when a timer runs out, before any other timer does.
    const ackTimeout = isShort ? 1 : 12;
    const shared = { mtuCode: 1 + random.below(4), ackTimeout, retryCount: random.below(8), minRnrTimer: 1 };
    return [0, 1].map((i) => {
      const other = 1 - i;
      const options = {
        ...shared,
        ...{ remoteQpn: qps[other]!.qp.number, dlid: stations[other]!.guest.wire.lid },
        ...{ sendPsn: psn[i]!, receivePsn: (psn[other]! + (isWrong ? 1 : 0)) % PSNS },
        ...{ rnrRetry: isShort ? random.pick([0, 1, 6, 7, 7]) : 7, logMaxMessage: random.chance(0.1) ? 8 + random.below(8) : 31 },
        ...{ allowsRemoteRead: random.chance(0.95), allowsRemoteWrite: random.chance(0.95) },
        ...{ allowsRemoteAtomic: random.chance(0.95), sendsReads: random.chance(0.95) },
      };
      qps[i]!.qp.init();
      qps[i]!.qp.readyToReceive(options);
      return options;
    });
  }

  #psn(): number {
    return this.#random.chance(0.7) ? PSNS - 1 - this.#random.below(40) : this.#random.below(PSNS);
  }

  #newEnd(
    station: Station,
    made: { qp: DriverQueuePair; pool: Pool; books: CqBook[]; signalsAll: boolean },
    service: Service,
    options: ConnectOptions | undefined,
  ): End {
    const { qp, pool, books, signalsAll } = made;
    const { pd } = station.guest;
    const key = qp.region.lkey;
    const sendRing: Ring = {
      ...{ key, base: qp.sqBase, strideBytes: 1 << qp.logSqStride, slots: 1 << qp.logSqSize, recordAt: qp.sqRecord.at },
    };
    const receiveRing: Ring = {
      ...{ key, base: 0, strideBytes: 1 << qp.logRqStride, slots: 1 << qp.logRqSize, recordAt: qp.rqRecord.at },
    };
    const reference = new ReferenceQp(station.reference, {
      ...{ number: qp.number, service, pd, sendRing, signalsAll, qkey: QKEY, sent: 0, messages: 0 },
      ...{ sendCq: books[0]!.reference, receiveCq: books[1]!.reference },
      receives: pool.srq?.reference ?? new ReceiveRing(station.memory, receiveRing, pd, 0),
      connection: options === undefined ? undefined : connectionOf(options),
      state: qp.describe().state,
      psn: options?.sendPsn ?? 0,
      expectedPsn: options?.receivePsn ?? 0,
    });
    station.reference.qps.set(qp.number, reference);
    const mine = station.takeArena(this.#random);
    const theirs = pool.srq === undefined ? pool.arena : station.takeArena(this.#random);
    const end = { station, qp, reference, mine, theirs, pool, options, pending: [], sentBefore: 0, needsFence: false };
    station.qps.set(qp.number, end);
    return end;
  }

  /** Takes a lane away; everything of it must have been polled. */
  dropLane(lane: Lane): void {
    this.lanes.splice(this.lanes.indexOf(lane), 1);
    for (const { station, qp, mine, theirs, pool, reference } of lane.ends) {
      station.giveArena(mine);
      station.giveArena(theirs);
      station.qps.delete(qp.number);
      station.reference.qps.delete(qp.number);
      station.memory.forget(qp.region.lkey);
      qp.destroy();
      // The WQE of a message that never ended goes back with its QP.
      if (pool.srq !== undefined && reference.inHand !== undefined) this.#recycle(pool, reference.inHand.offset);
    }
  }

  #recycle(pool: Pool, offset: number): void {
    pool.srq?.driver.recycle(offset);
    pool.lent--;
  }

  /** Gives the driver its completions, and the SRQs their WQEs back. */
  poll(book: CqBook): void {
    for (const { isSend, wqe, qpn } of book.cq.poll()) {
      book.consumed++;
      const pool = book.owner.qps.get(qpn)?.pool;
      if (!isSend && pool?.srq !== undefined) this.#recycle(pool, wqe);
    }
  }
}

function prepareDatagrams(qp: DriverQueuePair): void {
  qp.init({ qkey: QKEY });
  qp.readyToReceive();
}

function connectionOf(options: ConnectOptions): ReferenceQp["connection"] {
  assert.ok(options.mtuCode !== undefined && options.logMaxMessage !== undefined && options.rnrRetry !== undefined);
  return {
    ...{ lid: options.dlid, qpn: options.remoteQpn, mtu: mtuBytes(options.mtuCode) },
    ...{ messageMax: 2 ** options.logMaxMessage, rnrRetry: options.rnrRetry },
    mayRead: options.sendsReads !== false,
    allowsRead: options.allowsRemoteRead !== false,
    allowsWrite: options.allowsRemoteWrite !== false,
    allowsAtomic: options.allowsRemoteAtomic !== false,
  };
}
