// Requests and receives at random for one direction of a connection. "Clean" ones succeed; the others may be wrong in any way that
// leads to one defined result: scatter lists do not overlap themselves, and what follows a read waits for it (9.5, table 79).

import type { Random } from "../../src/base/random.ts";
import type { SendRequest, Sge } from "../../src/driver/queue-pair.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { number64, randomBytes } from "../fuzz/values.ts";
import { NOWHERE, type Range, type RegionFacts } from "./reference-memory.ts";
import type { Service } from "./reference-qp.ts";
import { type Arena, BAD_KINDS, rangeOf } from "./regions.ts";
import { type End, isPlain, type Planned, QKEY, SGES_MAX } from "./world.ts";

const PAGE = 4096;
const GRH_BYTES = 40;
const UD_MTU = 2048;
/** What fits into every "wide" region. */
const WIDE_BYTES = 35 * PAGE;
const SLICE_BYTES = 64 * 1024;
const INLINE_BYTES = 200;

const { NOP, SEND, SEND_IMM, RDMA_WRITE, RDMA_WRITE_IMM, RDMA_READ, ATOMIC_CS, ATOMIC_FA, BIND_MW } = SendOpcode;
const TAKING: readonly number[] = [SEND, SEND_IMM, RDMA_WRITE_IMM];
const ATOMICS: readonly number[] = [ATOMIC_CS, ATOMIC_FA];
const READING: readonly number[] = [RDMA_READ, ...ATOMICS];

/** Whether a request takes a receive WQE at the other end. */
export const takesReceive = (opcode: number): boolean => TAKING.includes(opcode);

const toSge = ({ key, address, length }: Range): Sge => ({ lkey: key, address, length });

function anyLength(random: Random, max: number): number {
  if (max > SLICE_BYTES && random.chance(0.05)) return SLICE_BYTES - 1 + random.below(max - SLICE_BYTES + 1);
  const edges = [0, 1, 7, 8, 63, 64, 65, 255, 256, 257, 1024, 2048, 2049, PAGE - 1, PAGE, PAGE + 1];
  const length = random.chance(0.5) ? random.pick(edges) : random.below(random.pick([40, 300, 300, 9000]));
  return Math.min(length, max);
}

/** Where a range of `length` begins in a region: at its ends, across a page edge, or anywhere. */
function anyOffset(random: Random, { length: bytes, start, pageBytes }: RegionFacts, length: number): number {
  const room = bytes - length;
  const kind = random.below(6);
  if (kind === 0) return room;
  if (kind === 1) return 0;
  if (kind > 3) return random.below(room + 1);
  const firstEdge = pageBytes - Number(start % BigInt(pageBytes));
  const edge = firstEdge + random.below(Math.ceil(bytes / pageBytes)) * pageBytes;
  return Math.max(0, Math.min(room, edge - random.pick([0, 1, length - 1, length, random.below(length + 1)])));
}

const regionFor = (random: Random, arena: Arena, length: number): RegionFacts =>
  length <= arena.small.length && random.chance(0.4) ? arena.small : arena.wide;

function anyRange(random: Random, arena: Arena, length: number): Range {
  const region = regionFor(random, arena, length);
  return rangeOf(region, anyOffset(random, region, length), length);
}

/** How many parts a list may have. */
const partsFor = (random: Random, isPlain: boolean): number => (isPlain ? 1 : 1 + random.below(SGES_MAX - 1));

/** A total in at most `parts` lengths, some of them 0. */
function split(random: Random, total: number, parts: number): number[] {
  const cuts = Array.from({ length: parts - 1 }, () => random.below(total + 1)).sort((a, b) => a - b);
  return [...cuts, total].map((cut, i) => cut - (cuts[i - 1] ?? 0));
}

/** A scatter list whose parts do not overlap, in any order. */
function scatterList(random: Random, arena: Arena, total: number, isPlain = false): Range[] {
  const region = regionFor(random, arena, total);
  const lengths = split(random, total, partsFor(random, isPlain));
  let at = anyOffset(random, region, total);
  let room = region.length - total - at;
  const ranges = lengths.map((length) => {
    const range = rangeOf(region, at, length);
    const gap = random.below(Math.min(room, 50) + 1);
    room -= gap;
    at += length + gap;
    return range;
  });
  return ranges.sort(() => random.below(3) - 1);
}

const gatherList = (random: Random, arena: Arena, total: number, isPlain: boolean): Range[] =>
  split(random, total, partsFor(random, isPlain)).map((length) => anyRange(random, arena, length));

/** A range that is wrong: another kind of region, or out of bounds by a few bytes. */
function spoil(random: Random, arena: Arena, range: Range): Range {
  const { length } = range;
  if (random.chance(0.6)) {
    const region = arena[random.pick(BAD_KINDS)];
    const some = Math.min(length, region.length);
    return rangeOf(region, anyOffset(random, region, some), some);
  }
  const region = regionFor(random, arena, length);
  const beyond = 1 + random.below(9);
  return rangeOf(region, random.chance(0.5) ? region.length - length + beyond : -beyond, length);
}

function spoilOne(random: Random, arena: Arena, ranges: Range[]): Range[] {
  const index = random.below(ranges.length);
  return ranges.map((range, i) => (i === index ? spoil(random, arena, range) : range));
}

/** A receive for the pool of `to`; the wrong ones are too short by chance or name bad memory. Plain ones have one segment. */
export function anyReceive(random: Random, arena: Arena, service: Service, isClean: boolean, isPlain: boolean): Planned {
  const header = service === "UD" ? GRH_BYTES : 0;
  const length = header + anyLength(random, WIDE_BYTES - header);
  const ranges = scatterList(random, arena, length, isPlain);
  const isSound = isClean || random.chance(0.94);
  return { sges: (isSound ? ranges : spoilOne(random, arena, ranges)).map(toSge), length, isSound };
}

export interface Choice {
  readonly from: End;
  readonly to: End;
  readonly service: Service;
  readonly isClean: boolean;
  /** Whether requests may take a receive WQE: an SRQ serves one connection at a time. */
  readonly mayTake: boolean;
  /** Chance that a request is of the kind that the compiled program carries out: an RC send or write of one segment, or inline. */
  readonly plainness: number;
}

/** An opcode that this direction may use. */
export function anyOpcode(random: Random, { from, to, service, isClean, mayTake }: Choice): number {
  if (!isClean && random.chance(0.02)) return random.pick([BIND_MW, 0x01, 0x0c, 0x1f]);
  const allowed: number[] = [NOP];
  if (mayTake) allowed.push(SEND, SEND_IMM);
  if (service === "UD") return random.pick([...allowed, ...(!isClean && random.chance(0.1) ? [RDMA_WRITE] : [])]);
  if (!isClean || to.options?.allowsRemoteWrite !== false) allowed.push(RDMA_WRITE, ...(mayTake ? [RDMA_WRITE_IMM] : []));
  const mayRead = service === "RC" && from.options?.sendsReads !== false;
  if (!isClean ? service === "RC" || random.chance(0.05) : mayRead && to.options?.allowsRemoteRead !== false)
    allowed.push(RDMA_READ);
  const mayChange = mayRead && to.options?.allowsRemoteAtomic !== false && (from.options?.logMaxMessage ?? 31) >= 3;
  if (isClean ? mayChange : service === "RC") allowed.push(ATOMIC_CS, ATOMIC_FA);
  return random.pick(allowed);
}

/** The opcode of a plain request. */
export function plainOpcode(random: Random, { to, isClean, mayTake }: Choice): number {
  const mayWrite = !isClean || to.options?.allowsRemoteWrite !== false;
  if (!mayTake) return mayWrite ? RDMA_WRITE : NOP;
  return mayWrite && random.chance(0.5) ? RDMA_WRITE : SEND;
}

/** A request; `capacity` is what the receive WQE that it will take holds. */
export function anyRequest(random: Random, choice: Choice, opcode: number, capacity: number): SendRequest {
  const { from, service, isClean } = choice;
  const isFenced = random.chance(0.2) || (from.needsFence && opcode !== RDMA_READ);
  from.needsFence = READING.includes(opcode) || (from.needsFence && !isFenced);
  const base = {
    ...{ opcode, isFenced, immediate: random.u32() },
    ...{ isSignaled: random.chance(0.6), isSolicited: random.chance(0.4) },
  };
  if (opcode === NOP) return { ...base, sges: [], remoteQpn: 0 };
  const isWrong = !isClean && random.chance(0.2);
  if (service === "UD") return { ...base, ...datagram(random, choice, capacity, isWrong) };
  if (ATOMICS.includes(opcode)) return { ...base, ...atomic(random, choice, isWrong) };
  const messageMax = Math.min(WIDE_BYTES, 2 ** (from.options?.logMaxMessage ?? 31));
  const isTooLong = !isClean && random.chance(0.1);
  const length = lengthFor(
    random,
    Math.min(takesReceive(opcode) && opcode !== RDMA_WRITE_IMM ? capacity : WIDE_BYTES, messageMax),
    isTooLong,
  );
  const isWrongHere = isWrong && random.chance(0.5);
  const data = payload(random, choice, opcode, length, isWrongHere);
  if (opcode === SEND || opcode === SEND_IMM) return { ...base, ...data };
  return { ...base, ...data, ...remote(random, choice, length, isWrong && !isWrongHere) };
}

/** Often as long as it may be; on purpose a little longer now and then. */
function lengthFor(random: Random, max: number, isTooLong: boolean): number {
  if (isTooLong) return Math.min(WIDE_BYTES, max + 1 + random.below(3));
  return random.chance(0.2) && max < SLICE_BYTES ? max : anyLength(random, max);
}

type Payload = { inline: Buffer } | { sges: Sge[] };

function payload(random: Random, { from, plainness }: Choice, opcode: number, length: number, isWrong: boolean): Payload {
  const isRead = opcode === RDMA_READ;
  if (length <= INLINE_BYTES && !isRead && random.chance(0.25)) return { inline: randomBytes(random, length) };
  const ranges = isRead
    ? scatterList(random, from.mine, length)
    : gatherList(random, from.mine, length, isPlain(random, plainness));
  return { sges: (isWrong ? spoilOne(random, from.mine, ranges) : ranges).map(toSge) };
}

function remote(random: Random, { to }: Choice, length: number, isWrong: boolean): { remoteAddress: bigint; rkey: number } {
  const range = anyRange(random, to.theirs, length);
  const { address, key } = isWrong ? spoil(random, to.theirs, range) : range;
  return { remoteAddress: address, rkey: key };
}

/** Operands at random, a comparison that holds half of the time, and a target that is aligned unless it is wrong. */
function atomic(random: Random, { from, to }: Choice, isWrong: boolean): Partial<SendRequest> {
  const region = random.pick([to.theirs.small, to.theirs.wide]);
  let target = rangeOf(region, 8 * random.below(Math.floor(region.length / 8)), 8);
  const isWrongHere = isWrong && random.chance(0.6);
  if (isWrongHere) target = random.chance(0.3) ? { ...target, address: target.address + 4n } : spoil(random, to.theirs, target);
  const total = isWrong && !isWrongHere && random.chance(0.3) ? random.pick([0, 4, 16]) : 8;
  const local = scatterList(random, from.mine, total);
  const sges = isWrong && !isWrongHere && total === 8 ? spoilOne(random, from.mine, local) : local;
  const almost = valueAt(to, target) ^ (1n << BigInt(random.below(64)));
  const compare = random.pick([valueAt(to, target), valueAt(to, target), almost, number64(random)]);
  return { sges: sges.map(toSge), remoteAddress: target.address, rkey: target.key, swapAdd: number64(random), compare };
}

function valueAt({ station }: End, target: Range): bigint {
  const { bytes } = station.guest.node.access.memory;
  const places = [...station.memory.places([target])].reverse();
  return places.reduce((value, place) => value * 256n + BigInt(place === NOWHERE ? 0 : (bytes[place] ?? 0)), 0n);
}

function datagram(random: Random, choice: Choice, capacity: number, isWrong: boolean): Partial<SendRequest> {
  const { to, from, isClean } = choice;
  const max = Math.max(0, Math.min(UD_MTU, capacity - GRH_BYTES));
  const length = lengthFor(random, max, !isClean && random.chance(0.05));
  const data = payload(random, choice, SEND, length, isWrong && random.chance(0.4));
  const isLost = isWrong && random.chance(0.4);
  const { lid, gid } = to.station.reference;
  const dgid = random.chance(0.4) ? { dgid: isLost && random.chance(0.5) ? randomBytes(random, 16) : gid } : {};
  return {
    ...data,
    address: {
      ...{ dlid: isLost ? random.pick([lid, 77, 0]) : lid, sl: random.below(16), hopLimit: random.below(256) },
      ...{ trafficClass: random.below(256), flowLabel: random.below(2 ** 20), ...dgid },
    },
    remoteQpn: isLost ? random.pick([to.qp.number, from.qp.number + 1000]) : to.qp.number,
    qkey: isLost ? random.u32() : random.pick([QKEY, QKEY, 0x80000000 + random.below(100)]),
  };
}
