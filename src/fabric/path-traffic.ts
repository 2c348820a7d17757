// What the ports of switches count of messages that go from memory to memory. Such a message asks the forwarding tables once and crosses nothing;
// a host's port adds up what it has sent to each destination, and the ports on the way, or on the tree of a group, count it when somebody looks,
// or before the way may change. So a message pays for two sums, and not for its hops. A trunk does the same for unicast packets that have come from
// another engine, whose switches have counted them up to there. IBA vol 1, 16.1.3.5.

import { PortKind } from "../mad/attributes.ts";
import { isMulticastLid } from "../spec/ib/numbers.ts";
import { PortCounter } from "../spec/ib/port-counters.ts";
import { MAX_HOPS } from "./limits.ts";
import type { Port } from "./port.ts";
import { count, countData, countInactiveDiscard, countRelayError } from "./port-counts.ts";
import { outputPort } from "./trace.ts";

/** Destinations that are added up at a time; a power of two. */
const SLOTS = 64;
const SL_BITS = 4;
const NO_KEY = -1;

export class PathTraffic {
  readonly #from: Port;
  /** The destination of the last message, which is usually that of the next one: LID and service level. */
  #key = NO_KEY;
  #words = 0;
  #packets = 0;
  /** The others. */
  readonly #keys = new Int32Array(SLOTS).fill(NO_KEY);
  readonly #wordsTo = new Float64Array(SLOTS);
  readonly #packetsTo = new Float64Array(SLOTS);
  /** Is in the fabric's list of those that have something to settle. */
  #isNoted = false;

  constructor(from: Port) {
    this.#from = from;
  }

  /** Adds packets to `dlid`, of unicast or of a group. */
  add(dlid: number, sl: number, words: number, packets: number): void {
    const key = (dlid << SL_BITS) | sl;
    if (key !== this.#key) this.#turnTo(key);
    this.#words += words;
    this.#packets += packets;
  }

  /** The ports on the ways count what has been added. */
  settle(): void {
    this.#turnTo(NO_KEY);
    for (let slot = 0; slot < SLOTS; slot++) this.#settle(slot);
    this.#isNoted = false;
  }

  #turnTo(key: number): void {
    this.#put();
    this.#key = key;
    if (this.#isNoted || key === NO_KEY) return;
    this.#isNoted = true;
    this.#from.node.fabric.noteTraffic(this);
  }

  /** Puts the last message's sums among the others. */
  #put(): void {
    if (this.#packets === 0) return;
    const slot = ((this.#key >>> SL_BITS) + this.#key) & (SLOTS - 1);
    if (this.#keys[slot] !== this.#key) this.#settle(slot);
    this.#keys[slot] = this.#key;
    this.#wordsTo[slot] = (this.#wordsTo[slot] ?? 0) + this.#words;
    this.#packetsTo[slot] = (this.#packetsTo[slot] ?? 0) + this.#packets;
    this.#words = 0;
    this.#packets = 0;
  }

  #settle(slot: number): void {
    const packets = this.#packetsTo[slot] ?? 0;
    if (packets === 0) return;
    const key = this.#keys[slot] ?? NO_KEY;
    const dlid = key >>> SL_BITS;
    const sl = key & ((1 << SL_BITS) - 1);
    const words = this.#wordsTo[slot] ?? 0;
    if (isMulticastLid(dlid)) this.#from.node.fabric.multicastTracer.count(this.#from, dlid, sl, words, packets);
    else countAlong(this.#from, dlid, sl, words, packets);
    this.#wordsTo[slot] = 0;
    this.#packetsTo[slot] = 0;
  }
}

/** Ports of switches, and of cables to other engines, on the way to unicast `dlid` count what crosses them; hosts have counted theirs. */
function countAlong(from: Port, dlid: number, sl: number, words: number, packets: number): void {
  if (from.ownsLid(dlid)) return;
  let egress: Port | undefined = from;
  for (let hops = 0; hops < MAX_HOPS && egress !== undefined; hops++) {
    const arrival: Port | undefined = egress.peer;
    if (egress.kind !== PortKind.CA) countData(egress, "xmit", sl, words, packets);
    if (arrival === undefined || arrival.kind === PortKind.CA) return;
    countData(arrival, "rcv", sl, words, packets);
    if (arrival.node.switch === undefined) return;
    const out = outputPort(arrival.node.switch, dlid);
    egress = out === 0 ? undefined : arrival.node.ports[out];
  }
}

/**
 * A packet ends on its way to unicast `dlid`: ports up to there count it, and the last one why. Where the way leads on into another engine, there was
 * no room for it in that cable.
 * @param isLoop it has gone round, and the first switch does not forward it once more
 */
export function countLost(from: Port, dlid: number, sl: number, words: number, isLoop: boolean): void {
  let egress = from;
  for (let hops = 0; hops < MAX_HOPS; hops++) {
    const arrival = egress.peer;
    if (arrival === undefined || !egress.isActive || !arrival.canReceiveData) {
      countInactiveDiscard(egress);
      return;
    }
    const tables = arrival.node.switch;
    if (tables === undefined && arrival.kind !== PortKind.CA) {
      count(egress, PortCounter.xmitDiscards);
      return;
    }
    countData(egress, "xmit", sl, words, 1);
    if (tables === undefined) return;
    countData(arrival, "rcv", sl, words, 1);
    const out = outputPort(tables, dlid);
    const next = arrival.node.ports[out];
    const isRound = isLoop || next === arrival;
    if (out === 0 || next === undefined || isRound) {
      countRelayError(arrival, isRound);
      return;
    }
    egress = next;
  }
}
