// When the sockets of a domain are looked at: a look is a system call, a sweep is not.

import { Poller } from "../host/poller.ts";
import type { IbsimServer } from "../ibsim/server.ts";
import type { PluggedHca } from "./plugged-hca.ts";

/** Whose sockets have something, as bits: what a sleep that they have ended tells. */
export const Ready = { NONE: 0, HCAS: 1, PROGRAMS: 2, ALL: 3 } as const;

/** Sockets are looked at this often while the engine is awake. */
const SOCKET_LOOK_NS = 50_000;
/**
 * … and this often where guests have been at work lately and no message has come for some time: the look takes as long as several small
 * messages, and few enough of them must meet one (decision 10, "The slowest in a thousand").
 */
const HASTY_SOCKET_LOOK_NS = 5_000_000;
const SOCKET_CALM_NS = 20_000_000;
/** After so long without work of guests the engine has time for their sockets. */
const SOCKET_HASTE_NS = 1_000_000;
/** Sleeps between two looks at what makes no socket ready. */
const SLEEPS_PER_SERVER = 32;
/** After a message the next one is waited for this long, at every sweep: one whose registers are trapped sends one after the other. */
const SOCKET_EAGER_NS = 100_000;

export class SocketLooks {
  readonly #hcas: readonly PluggedHca[];
  readonly #poller = new Poller();
  /** Where the sockets of the HCAs are in the set that `watch` was last given. */
  #firstPlace = 0;
  #endPlace = 0;
  #nextNs = 0;
  #nextHastyNs = 0;
  #lastMessageNs = Number.NEGATIVE_INFINITY;
  #serverCursor = 0;
  #sleepsToServer = SLEEPS_PER_SERVER;
  #nextIbsimNs = 0;
  #lastIbsimNs = Number.NEGATIVE_INFINITY;

  /** @param hcas those of the domain, which come and go in this array */
  constructor(hcas: readonly PluggedHca[]) {
    this.#hcas = hcas;
  }

  /** Adds the sockets of all HCAs to a poller. */
  watch(poller: Poller): void {
    this.#firstPlace = poller.count;
    for (let i = 0; i < this.#hcas.length; i++) this.#hcas[i]!.server.watch(poller);
    this.#endPlace = poller.count;
  }

  /** Whose sockets have something, after a wait on the set that `watch` was last given and to which those of programs were added. */
  readyIn(poller: Poller): number {
    const hcas = poller.hasEvents(this.#firstPlace, this.#endPlace) ? Ready.HCAS : Ready.NONE;
    const programs = poller.hasEvents(this.#endPlace, poller.count) ? Ready.PROGRAMS : Ready.NONE;
    return hcas | programs;
  }

  /** A sleep on all sockets has just found that those of the HCAs have nothing. */
  noteQuiet(nowNs: number): void {
    this.#nextNs = nowNs + SOCKET_LOOK_NS;
    if (--this.#sleepsToServer > 0) return;
    this.#sleepsToServer = SLEEPS_PER_SERVER;
    this.#pollNextServer();
  }

  /**
   * Looks at the sockets of the HCAs, if it is time; returns the messages handled. One system call says whether any socket has something; only
   * then each of them is asked.
   * @param isSure something has happened there
   * @param idleNs since the last work of guests
   */
  look(nowNs: number, isSure: boolean, idleNs: number): number {
    if (!isSure && nowNs < (idleNs < SOCKET_HASTE_NS ? this.#nextHastyNs : this.#nextNs)) return 0;
    this.#nextNs = nowNs + SOCKET_LOOK_NS;
    const isCalm = nowNs - this.#lastMessageNs > SOCKET_CALM_NS;
    this.#nextHastyNs = isCalm ? nowNs + HASTY_SOCKET_LOOK_NS : this.#nextNs;
    if (!isSure && nowNs >= this.#lastMessageNs + SOCKET_EAGER_NS && !this.#isReady()) return this.#pollNextServer();
    let work = 0;
    for (let i = 0; i < this.#hcas.length; i++) work += this.#hcas[i]!.server.poll();
    if (work > 0) this.#lastMessageNs = nowNs;
    if (nowNs < this.#lastMessageNs + SOCKET_EAGER_NS) {
      this.#nextNs = nowNs;
      this.#nextHastyNs = nowNs;
    }
    return work;
  }

  /** The same for programs that take us for ibsim. Whoever has just sent a MAD sends more, and waits for the answers. */
  lookAtIbsim(server: IbsimServer, nowNs: number, isSure: boolean): number {
    if (!isSure && nowNs < this.#nextIbsimNs) return 0;
    const work = server.poll(nowNs, isSure);
    if (work > 0) this.#lastIbsimNs = nowNs;
    this.#nextIbsimNs = this.isServing(nowNs) ? nowNs : nowNs + SOCKET_LOOK_NS;
    return work;
  }

  /** Whether programs of the host have just been served. */
  isServing(nowNs: number): boolean {
    return nowNs < this.#lastIbsimNs + SOCKET_EAGER_NS;
  }

  #isReady(): boolean {
    this.#poller.clear();
    this.watch(this.#poller);
    return this.#poller.wait(0) > 0;
  }

  /** Servers also watch for what makes no socket ready, such as a second client that waits. */
  #pollNextServer(): number {
    this.#serverCursor = this.#serverCursor + 1 < this.#hcas.length ? this.#serverCursor + 1 : 0;
    return this.#hcas[this.#serverCursor]?.server.poll() ?? 0;
  }
}
