// A client's requests under way. The MAD layer of a host gives each program a part of the transaction ids, sends requests again that nobody
// answers, and in the end gives them back; the preload library relies on somebody to do so.
//
// Kept in slots, found by hashing and linear probing: a Map leaves tables behind that keep answered requests alive (decision 13).

import { MadHeader } from "../spec/mad/headers.ts";
import { MAX_OUTSTANDING, MAX_SENDS, RETRY_NS } from "./limits.ts";

/** A request of a client, its transaction id as the client gave it. */
export interface Request {
  readonly mad: DataView;
  readonly dlid: number;
  readonly destQp: number;
  /** The upper half of its transaction id. */
  readonly tidHi: number;
}

/** What `Requests` does with them. */
export interface RequestHandler {
  send(request: Request): void;
  /** Nobody has answered. */
  giveBack(request: Request): void;
}

/** At most half of the slots are in use. */
const LOG_SLOTS = 9;
const SLOTS = 1 << LOG_SLOTS;
const MASK = SLOTS - 1;
const GOLDEN = 0x9e3779b1;

/** The library matches answers by the lower 48 bits; the upper 16 are the server's, which says by them whose answer it is. */
const homeOf = (tidHi: number, tidLo: number): number => Math.imul(tidLo ^ (tidHi << 16), GOLDEN) >>> (32 - LOG_SLOTS);

export class Requests {
  readonly #tag: number;
  readonly #handler: RequestHandler;
  readonly #requests: (Request | undefined)[] = new Array<Request | undefined>(SLOTS).fill(undefined);
  /** The transaction id in two halves, without the tag. */
  readonly #tidHi = new Int32Array(SLOTS);
  readonly #tidLo = new Int32Array(SLOTS);
  readonly #sends = new Uint8Array(SLOTS);
  readonly #dueNs = new Float64Array(SLOTS);
  #count = 0;
  /** Nothing is due before; often too early, since answered requests do not move it. */
  #earliestNs = Number.POSITIVE_INFINITY;

  /** @param tag of this client's transaction ids, 16 bits */
  constructor(tag: number, handler: RequestHandler) {
    this.#tag = tag;
    this.#handler = handler;
  }

  get isFull(): boolean {
    return this.#count >= MAX_OUTSTANDING;
  }

  get count(): number {
    return this.#count;
  }

  /** Sends a request; one with the same transaction id that is under way is forgotten. Only while it is not full. */
  send(request: Request, nowNs: number): void {
    const { mad } = request;
    const tidHi = request.tidHi & 0xffff;
    const tidLo = MadHeader.tid.lo.get(mad, 0);
    MadHeader.tid.hi.set(mad, 0, ((this.#tag << 16) | tidHi) >>> 0);
    const slot = this.#find(tidHi, tidLo);
    if (this.#requests[slot] === undefined) this.#count++;
    this.#requests[slot] = request;
    this.#tidHi[slot] = tidHi;
    this.#tidLo[slot] = tidLo;
    this.#sends[slot] = 1;
    this.#dueNs[slot] = nowNs + RETRY_NS;
    if (this.#earliestNs > nowNs + RETRY_NS) this.#earliestNs = nowNs + RETRY_NS;
    this.#handler.send(request);
  }

  /** The request that has this transaction id on the wire; it is answered now. */
  take(tidHi: number, tidLo: number): Request | undefined {
    if (tidHi >>> 16 !== this.#tag) return undefined;
    const slot = this.#find(tidHi & 0xffff, tidLo);
    const request = this.#requests[slot];
    if (request !== undefined) this.#remove(slot);
    return request;
  }

  /** Sends again, or gives back, what has waited long enough. */
  step(nowNs: number): void {
    if (nowNs < this.#earliestNs) return;
    for (const request of this.#takeHopeless(nowNs)) this.#handler.giveBack(request);
    this.#earliestNs = Number.POSITIVE_INFINITY;
    for (let slot = 0; slot < SLOTS; slot++) {
      const request = this.#requests[slot];
      if (request === undefined) continue;
      if ((this.#dueNs[slot] ?? 0) <= nowNs) {
        this.#sends[slot] = (this.#sends[slot] ?? 0) + 1;
        this.#dueNs[slot] = nowNs + RETRY_NS;
        this.#handler.send(request);
      }
      this.#earliestNs = Math.min(this.#earliestNs, this.#dueNs[slot] ?? 0);
    }
  }

  nextDeadlineNs(): number {
    return this.#earliestNs;
  }

  #takeHopeless(nowNs: number): Request[] {
    const hopeless: Request[] = [];
    for (let slot = 0; slot < SLOTS; ) {
      const request = this.#requests[slot];
      if (request === undefined || (this.#dueNs[slot] ?? 0) > nowNs || (this.#sends[slot] ?? 0) < MAX_SENDS) slot++;
      else {
        hopeless.push(request);
        // another one may have moved here
        this.#remove(slot);
      }
    }
    return hopeless;
  }

  /** The slot of a transaction id, or the free one where it belongs. */
  #find(tidHi: number, tidLo: number): number {
    let slot = homeOf(tidHi, tidLo);
    while (this.#requests[slot] !== undefined && (this.#tidHi[slot] !== tidHi || this.#tidLo[slot] !== (tidLo | 0))) {
      slot = (slot + 1) & MASK;
    }
    return slot;
  }

  /** Frees a slot, and moves those that would not be found any more. */
  #remove(slot: number): void {
    this.#count--;
    let hole = slot;
    for (let next = (slot + 1) & MASK; this.#requests[next] !== undefined; next = (next + 1) & MASK) {
      const home = homeOf(this.#tidHi[next] ?? 0, this.#tidLo[next] ?? 0);
      // it may lie in the hole if that is not before its home, going round
      if (((next - home) & MASK) < ((next - hole) & MASK)) continue;
      this.#requests[hole] = this.#requests[next];
      this.#tidHi[hole] = this.#tidHi[next] ?? 0;
      this.#tidLo[hole] = this.#tidLo[next] ?? 0;
      this.#sends[hole] = this.#sends[next] ?? 0;
      this.#dueNs[hole] = this.#dueNs[next] ?? 0;
      hole = next;
    }
    this.#requests[hole] = undefined;
  }
}
