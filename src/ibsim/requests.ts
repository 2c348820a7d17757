// A client's requests under way. The MAD layer of a host gives each program a part of the transaction ids, sends requests again that nobody
// answers, and in the end gives them back; the preload library relies on somebody to do so.

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

interface Sent {
  readonly request: Request;
  sends: number;
  dueNs: number;
}

/** The library matches answers by 48 bits; the upper 16 are the server's, which says by them whose answer it is. */
const keyOf = (tidHi: number, tidLo: number): number => (tidHi & 0xffff) * 2 ** 32 + tidLo;

/** What `Requests` does with them. */
export interface RequestHandler {
  send(request: Request): void;
  /** Nobody has answered. */
  giveBack(request: Request): void;
}

export class Requests {
  readonly #tag: number;
  readonly #handler: RequestHandler;
  /** In the order in which they become due. */
  readonly #sent = new Map<number, Sent>();

  /** @param tag of this client's transaction ids, 16 bits */
  constructor(tag: number, handler: RequestHandler) {
    this.#tag = tag;
    this.#handler = handler;
  }

  get isFull(): boolean {
    return this.#sent.size >= MAX_OUTSTANDING;
  }

  get count(): number {
    return this.#sent.size;
  }

  /** Sends a request; one with the same transaction id that is under way is forgotten. */
  send(request: Request, nowNs: number): void {
    const { mad, tidHi } = request;
    MadHeader.tid.hi.set(mad, 0, ((this.#tag << 16) | (tidHi & 0xffff)) >>> 0);
    const key = keyOf(tidHi, MadHeader.tid.lo.get(mad, 0));
    this.#sent.delete(key);
    this.#sent.set(key, { request, sends: 1, dueNs: nowNs + RETRY_NS });
    this.#handler.send(request);
  }

  /** The request that has this transaction id on the wire; it is answered now. */
  take(tidHi: number, tidLo: number): Request | undefined {
    if (tidHi >>> 16 !== this.#tag) return undefined;
    const key = keyOf(tidHi, tidLo);
    const sent = this.#sent.get(key);
    this.#sent.delete(key);
    return sent?.request;
  }

  /** Sends again, or gives back, what has waited long enough. */
  step(nowNs: number): void {
    for (const [key, sent] of this.#sent) {
      if (sent.dueNs > nowNs) return;
      this.#sent.delete(key);
      if (sent.sends >= MAX_SENDS) {
        this.#handler.giveBack(sent.request);
        continue;
      }
      sent.sends++;
      sent.dueNs = nowNs + RETRY_NS;
      this.#sent.set(key, sent);
      this.#handler.send(sent.request);
    }
  }

  nextDeadlineNs(): number {
    for (const { dueNs } of this.#sent.values()) return dueNs;
    return Number.POSITIVE_INFINITY;
  }
}
